/* A worker: one event loop in one unprivileged process, forked by the master under one policy. It accepts, decides and
 * delivers; it never forks, never opens a file, never waits. */
#pragma once
#include "capacity.h"
#include "crowd.h"
#include "decider.h"
#include "loop.h"
#include "policy.h"
#include "relay.h"
#include "report.h"
#include "resolved.h"
#include "scraps.h"
#include "shared.h"
#include "spawner.h"
#include "stock.h"

struct listening;

struct worker_start {
	const struct policy *policy;
	const struct listening *listening;
	size_t n_listening;
	int channel; /* to the master */
	int log_fd;
	struct resolved *resolved;   /* NULL: the policy has no names */
	const struct shared *shared; /* the master's */
	unsigned slot;               /* its own, among all workers of all generations */
	int connection;              /* inetd: serve this one connection and end; -1: listen */
	bool is_trial;               /* serves nobody: only whether it would start is to be known */
	bool may_be_left;            /* by a master that ends before it does: SIGTERM ends it */
};

/* The whole life of the process. Returns its exit status. */
int worker_run(const struct worker_start *start);

/* A warning that comes up again and again is told once a second, with how often it did. */
struct told {
	uint64_t last_us;
	unsigned untold;
};

/* How often since it was last told, this once included; 0: it was told a moment ago. */
unsigned told_again(struct told *told, uint64_t now_us);

struct connection;
struct emigration;
struct identifiers;
struct immigration;
struct receivers;
struct listener;
struct lookup;

struct worker {
	struct loop loop;
	const struct policy *policy;
	struct lookup *lookup;
	struct shared *shared; /* as this worker sees it */
	unsigned slot;
	pid_t master;
	struct watch channel;

	struct listener *listeners;
	size_t n_listeners;
	bool held; /* accepts and decides nothing for now: the master is to be another */
	bool told_held;
	bool draining; /* accepts no more */
	bool stopping; /* and ends what there is */

	struct connection *connections;   /* all that live */
	struct connection *spare;         /* memory for new ones */
	struct emigration *emigration;    /* connections go to the next generation; NULL */
	struct immigration *immigrations; /* and come from the one before */
	unsigned n_connections;
	struct capacity capacity;
	struct crowd *undecided;
	struct told told_undecided, told_of_one_source; /* that some were shed */

	struct spawner spawner;
	struct connection *asking;       /* whose access programs have not answered yet */
	struct identifiers *identifiers; /* NULL: the policy has none */
	struct receivers *receivers;     /* of handovers */
	struct stock *stock;             /* NULL: the policy has no transparent service */
	struct relay_pool *relay_pool;
	struct scraps scraps;               /* for connections' names */
	struct kept *recent[REPORT_RECENT]; /* evidence of connections that have ended */
	uint64_t n_recent;
	struct counter **service_counters; /* one a service; NULL: not looked up yet */
	struct findings *findings;
	uint8_t *peeked; /* EVIDENCE_MAX bytes; holds nothing between two calls */
};

/* At everybody who is undecided: what they sent meanwhile was not looked at. */
void worker_look_again(struct worker *worker);

/* There was no descriptor for a connection's backend: those who come wait with the kernel rather than fail likewise. */
void worker_starved(struct worker *worker);

/* A connection has ended: in a worker that drains, the last one ends it. */
void worker_connection_gone(struct worker *worker);
