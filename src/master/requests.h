/* What a worker asks of the master, and its answers. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct asks;
struct message;
struct worker_process;

/* False for both: the policy has nothing of the kind, and nothing was done.
 *
 * MESSAGE_SPAWN, with the client's socket (-1: none). `error`: the request came without its descriptor. */
bool request_spawn(struct worker_process *worker, const struct message *request, int client, int error);

/* MESSAGE_WANT_SOCKETS. */
bool request_supply(struct worker_process *worker, const struct message *request);

/* An access program has decided; `asker` is the worker that it was begun for. */
void request_decided(struct asks *asks, void *asker, uint64_t serial, bool admitted);
