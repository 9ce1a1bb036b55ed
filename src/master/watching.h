/* The master's side of the watcher: starts it, again where it dies, and hears from it that the configuration's files have changed. It
 * believes no more than that. */
#pragma once
#include "loop.h"
#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

struct watching {
	struct loop *loop; /* NULL: nothing is followed */
	const char *file;
	void (*changed)(void *context);
	void *context;
	struct timespec since; /* the configuration was read then, or later */
	struct watch channel;
	pid_t pid; /* 0: none runs */
	unsigned deaths;
	uint64_t started_us;
	struct timer again;
};

void watching_init(struct watching *watching, struct loop *loop, const char *file, const struct timespec *since,
	void (*changed)(void *context), void *context);
void watching_fini(struct watching *watching);  /* harmless on one that is zero */
void watching_start(struct watching *watching); /* once usher logs; harmless where it runs */

/* Its process has ended. False: it is not this one. */
bool watching_reap(struct watching *watching, pid_t pid);
