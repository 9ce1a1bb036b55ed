/* Programs that identify connections: somebody's, that must not outlive their time, nor the worker that asked for them. */
#pragma once
#include "loop.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct generation;
struct worker_process;

struct child {
	struct child *next;
	struct generation *generation;
	pid_t pid;
	uid_t uid;                     /* as whom it runs */
	struct worker_process *worker; /* NULL: it has died, and its successor is not to hear of this one */
	uint32_t identifier;
	uint64_t number;       /* of the request that it was started for */
	struct timer patience; /* of one that runs once */
};

/* How many of this identifier run for the worker, those included that were killed and are not gone yet. */
unsigned children_of(const struct worker_process *worker, uint32_t identifier);

/* It was started for the worker's request of this number. 0 or -errno: it is killed then. */
int child_add(struct worker_process *worker, pid_t pid, uint32_t identifier, uint64_t number);

/* In an image that took over: those of this worker, which is the `number`th there. 0 or -errno. */
struct takeover;
int children_adopt(struct worker_process *worker, const struct takeover *takeover, int number);

/* True where it was one of them; the worker that waits hears of it. */
bool child_reap(struct generation *generation, pid_t pid, int status);

/* The worker is gone. */
void children_kill(const struct worker_process *worker);

void children_free(struct generation *generation); /* forgets them, when the generation is over */
