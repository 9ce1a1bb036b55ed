/* The exporter: a process that answers over HTTP how usher does, with counters that it can only read. It asks nobody anything, and no
 * request changes anything.
 *
 * /metrics (Prometheus' text format, or OpenMetrics where Accept prefers it), /status.json, /healthz, /readyz, and where the policy has a
 * page, / for people. */
#pragma once
#include "history.h"
#include "log.h"
#include "master_facts.h"
#include "shared_memory.h"
#include <stdbool.h>
#include <sys/types.h>

struct policy;
struct shared;

/* Shared by the master and one exporter after the other. */
struct exporter_memory {
	_Alignas(SHARED_PART) struct master_facts facts; /* the master's to write */
	_Alignas(SHARED_PART) struct history history;    /* the exporter's, and of no use to the master */
};

struct exporter_start {
	int socket; /* it listens */
	int memory; /* the descriptor of a struct exporter_memory */
	const struct shared *shared;
	const struct policy *policy; /* which the caller keeps for itself: the process has its own pages of it */
	int names;                   /* the descriptor of the table of its names' answers; -1: it has none */
	int log_fd;
	const struct log_settings *log;
};

/* Forks it. It ends when its channel is closed and when the caller's process ends. 0, the pid and the caller's end of the channel, or
 * -errno; the caller reaps. */
int exporter_start(const struct exporter_start *start, pid_t *ret_pid, int *ret_channel);
