/* What sessions need of the worker that serves them. The worker owns one (worker.h); transports, migration and what they ask of other
 * processes see no more of it than this. */
#pragma once
#include "capacity.h"
#include "list.h"
#include "log_limit.h"
#include "loop.h"
#include "policy.h"
#include "shared.h"
#include "string_pool.h"

struct admission;
struct chooser;
struct counter;
struct datagrams;
struct decider_scratch;
struct evidence_kept;
struct findings;
struct identifiers;
struct lookup;
struct measures;
struct pace_line;
struct migration_receiver;
struct migration_sender;
struct receivers;
struct requester;
struct relay_pool;
struct session;
struct socket_pool;
struct starter;
struct stream;
struct transport;
struct undecided_registry;

enum worker_state {
	WORKER_SERVING,
	WORKER_DRAINING, /* accepts no more */
	WORKER_STOPPING, /* and ends what there is */
};

struct context {
	struct loop loop;
	const struct policy *policy;
	struct shared *shared; /* as this worker sees it */
	unsigned slot;         /* its own, among all workers of all generations */
	pid_t master;
	struct capacity capacity;
	const struct transport *const
		*transports; /* by their kinds: TRANSPORT_COUNT; NULL: this worker has none of that kind */

	enum worker_state state;
	bool is_paused; /* decides nothing for now: the master is to be another. In each state */

	struct list sessions; /* all that live */
	unsigned n_sessions;
	struct undecided_registry *undecided;
	/* Of flows, whose clients' addresses may be forged (shed.h): undecided, and decided but not proven. NULL: there are no datagrams. */
	struct undecided_registry *undecided_flows, *unproven;
	struct undecided_registry *tarpit;                   /* of those that are rejected and kept waiting */
	struct log_limit told_undecided, told_of_one_source; /* that some were shed */
	struct evidence_kept *evidence;                      /* of sessions that have ended; NULL: nothing is kept */
	struct counter **service_counters;                   /* one a service; NULL: not looked up yet */
	struct measures **service_measures;                  /* the same of its histograms, or has none */
	struct string_pool strings;                          /* for sessions' names */
	struct findings *findings;
	struct decider_scratch *scratch; /* for the policy's deciders */
	uint8_t *peeked;                 /* EVIDENCE_MAX bytes; holds nothing between two calls */

	struct requester *requester;
	struct admission *asking;        /* of sessions whose access programs have not answered yet */
	struct identifiers *identifiers; /* NULL: the policy has none */
	struct receivers *receivers;     /* of handovers */
	struct lookup *lookup;           /* of backends' names; NULL: the policy has none */
	struct chooser **choosers;       /* of backends, one a service and transport */
	struct pace_line **pace_lines;   /* of services, one each way; NULL: not used yet */
	struct starter **starters;       /* of servers, one a service; NULL: not used yet */
	struct {
		struct timer again;
		uint32_t seen;                /* backend_table_downs() */
	} backends_down;                      /* backends_down.c */
	struct socket_pool *sockets;          /* for connections; NULL: the policy has no transparent service */
	struct socket_pool *datagram_sockets; /* for flows; NULL: no such service, or no UDP listener */
	struct relay_pool *relay_pool;

	struct list spare_streams;   /* memory for new ones */
	struct datagrams *datagrams; /* NULL: the policy has no UDP listener */

	struct migration_sender *sender;     /* sessions go to the next generation; NULL */
	struct migration_receiver *receiver; /* and come from the one before */

	/* There was no descriptor for a backend: who connects waits with the kernel rather than fail likewise. */
	void (*starved)(struct context *context);
	/* A session has ended: in a worker that drains, the last one ends it. */
	void (*session_gone)(struct context *context);
	/* Of those from whom sessions come one has no flows any more, or is gone. */
	void (*flows_moved)(struct context *context);
	/* Of here none moves any more, and other workers have the sockets: what is left ends. */
	void (*flows_over)(struct context *context);
	/* A session can be moved that could not before. */
	void (*session_movable)(struct context *context);
};
