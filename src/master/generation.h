/* A generation: the workers of one policy. A reload starts the next one; this one retires when that is ready, and is gone
 * when its last worker has ended (generation_life.h). */
#pragma once
#include "loop.h"
#include "policy.h"
#include "resolved.h"
#include <stdbool.h>
#include <sys/types.h>

struct asks;
struct child;
struct forwarding;
struct ipc_fds;
struct listening;
struct message;
struct program_table;
struct server_processes;
struct shared;
struct worker_process;

enum generation_state {
	GENERATION_STARTING,
	GENERATION_SERVING,
	GENERATION_RETIRING,
	GENERATION_KILLED, /* retires, and it is no news how its workers end */
};

enum generation_kind {
	GENERATION_OWN,
	GENERATION_ADOPTED, /* of the image before this one: not restarted */
	GENERATION_STALE,   /* likewise, and of another policy than ours: it gets no programs */
};

struct generation {
	struct generation *next; /* in the master's list */
	struct loop *loop;
	struct task burial; /* frees it after the loop's turn: events that were fetched may still name it */
	struct shared *shared;
	enum generation_state state;
	struct policy *policy;
	uint64_t privileges;         /* what the master needs for it */
	struct listening *listening; /* an array of its own; the descriptors are borrowed from the master's sockets */
	size_t n_listening;
	int log_fd;
	struct log_settings log; /* the policy's, for who reads it there */
	int connection;          /* inetd: taken over; -1: listen */
	bool leaves_workers;
	enum generation_kind kind;
	bool follows;    /* another one, whose workers have the sockets of datagrams until generation_migrate() */
	bool is_holding; /* its workers are to decide nothing */
	uint64_t hold,
		hold_most_us; /* the number of that order, or of the last one; after which time they go on by themselves */

	struct resolved *resolved; /* NULL: the policy has no names */
	pid_t resolver;
	int resolver_channel; /* -1: none */
	struct timer resolver_restart;

	struct worker_process *workers;
	unsigned n_workers, n_ready, n_running;
	unsigned n_share; /* workers that share the sockets of datagrams: as many as there were at its start */

	struct child *children; /* identifiers that run */

	/* The master's: who runs for services, and access programs. */
	struct forwarding *forwarding;
	struct program_table *programs;
	struct server_processes *servers;
	struct asks *asks;
	bool *slots; /* LIMITS_SLOTS_MAX: which are taken */

	/* What a worker says that is not of its own life. False: no worker of ours says that. */
	bool (*heard)(struct worker_process *worker, const struct message *message, struct ipc_fds *fds);

	/* To the master. `ready` once, when every worker is; `failed` when one could not start before that. */
	void *context;
	void (*ready)(struct generation *generation);
	void (*failed)(struct generation *generation);
	void (*held)(struct generation *generation);                                 /* a worker is */
	void (*reported)(struct generation *generation, uint64_t number, int error); /* a worker answers a report */
};

static inline bool generation_is_adopted(const struct generation *generation)
{
	return generation->kind >= GENERATION_ADOPTED;
}

static inline bool generation_retires(const struct generation *generation)
{
	return generation->state >= GENERATION_RETIRING;
}
