/* The checker: a process that asks backends whether they serve, as the policy's `check' says, and writes into the table of backends what came
 * of it. Workers read that there; nobody waits for it. */
#pragma once
#include "log.h"
#include <sys/types.h>

struct policy;
struct shared;

struct checker_start {
	const struct shared *shared;
	const struct policy *policy; /* some service of it has a check; the process has its own pages of it */
	int names;                   /* the descriptor of the table of its names' answers; -1: it has none */
	int log_fd;
	const struct log_settings *log;
};

/* Forks it. It ends when its channel is closed and when the caller's process ends. 0, the pid and the caller's end of the channel, or
 * -errno; the caller reaps. */
int checker_start(const struct checker_start *start, pid_t *ret_pid, int *ret_channel);
