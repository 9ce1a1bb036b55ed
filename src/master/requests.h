/* What a worker asks of the master, and its answers. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct asks;
struct ipc_fds;
struct message;
struct worker_process;

/* False: the worker's policy has nothing of the kind, nothing was done, and there is no answer.
 *
 * MESSAGE_SPAWN, with the client's socket, which stays the caller's. */
bool request_spawn(struct worker_process *worker, const struct message *request, const struct ipc_fds *beside);

bool request_identify(struct worker_process *worker, const struct message *request); /* MESSAGE_IDENTIFY */
bool request_connect(struct worker_process *worker, const struct message *request);  /* MESSAGE_CONNECT */
bool request_client(struct worker_process *worker, const struct message *request);   /* MESSAGE_WANT_CLIENT */
bool request_sockets(struct worker_process *worker, const struct message *request);  /* MESSAGE_WANT_SOCKETS */
bool request_start(struct worker_process *worker, const struct message *request);    /* MESSAGE_START */
bool request_forward(struct worker_process *worker, const struct message *request);  /* MESSAGE_FORWARD */

/* No known address of a name answers: the resolver asks for it again. No answer. */
bool request_name(const struct worker_process *worker, const struct message *request);      /* MESSAGE_ASK_ANEW */
bool request_find_name(const struct worker_process *worker, const struct message *request); /* MESSAGE_FIND_NAME */

/* An access program has decided; `asker` is the worker that it was begun for. */
void request_decided(struct asks *asks, void *asker, uint64_t number, bool admitted);
