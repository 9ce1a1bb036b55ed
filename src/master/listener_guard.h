/* Watches over the master's listening sockets. Workers have the same ones, and one that was taken over can shut them down for all
 * (shutdown(2)); then usher would say that it serves, and nobody could connect or would get an answer. */
#pragma once
#include "loop.h"
#include "sockets.h"
#include <stdbool.h>

struct guard_set;

struct listener_guard {
	struct loop *loop;
	struct guard_set *set; /* NULL: nothing is watched */
	struct timer again;
	uint64_t rebound_us;           /* when it was last asked for; 0: never */
	void (*rebind)(void *context); /* a UNIX or UDP socket was shut down: only a new one is of use */
	void *context;
};

void listener_guard_init(
	struct listener_guard *guard, struct loop *loop, void (*rebind)(void *context), void *context);

/* From now on, in place of those before. None of them is to be closed before the end. 0 or -ENOMEM. */
int listener_guard_begin(struct listener_guard *guard, const struct sockets *sockets);
void listener_guard_end(struct listener_guard *guard); /* before sockets are closed */
