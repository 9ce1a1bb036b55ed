/* Access programs (`access = [ ... ]`): the master's half. A worker asks (PROGRAM_ACCESS); the program has the connection's facts in its
 * environment as a service's program has them, and nothing else: standard input, output and error are /dev/null. Exit
 * status 0 admits; anything else, or no end within the time that the caller gives, refuses. */
#pragma once
#include "loop.h"
#include "message.h"
#include "target.h"
#include <stdbool.h>
#include <sys/types.h>

/* Programs at a time; more are refused. Where there are ASKS_MAX, a service may still have ASKS_KEPT of its own, so that those that wait for
 * programs that hang do not refuse the clients of others. */
#define ASKS_MAX          256
#define ASKS_OF_A_SERVICE 128
#define ASKS_OF_A_SOURCE  32 /* for one service; access_source() */
#define ASKS_KEPT         8

struct ask;

struct asks {
	struct loop *loop;
	/* Once for each that was begun: may the connection go on? `asker` and `number` are the caller's. */
	void (*answered)(struct asks *asks, void *asker, uint64_t number, bool admitted);
	struct ask *first;
	unsigned count;
};

/* 0: `answered` will be called, later. -errno: the program could not be started, or there are too many; the caller
 * refuses. The caller has set loop and answered. */
int asks_begin(struct asks *asks, const struct program *program, const char *service,
	const struct message_spawn *request, uint64_t timeout_us, void *asker, uint64_t number);

/* A child has ended: true if it was one of these; `answered` has been called unless that had happened already. */
bool asks_reap(struct asks *asks, pid_t pid, int status);

/* The asker (a worker) is gone: its programs are killed and nobody is told. */
void asks_forget(struct asks *asks, const void *asker);

/* All of them. */
void asks_fini(struct asks *asks);
