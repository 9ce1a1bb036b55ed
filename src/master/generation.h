/* A generation: the workers of one policy. A reload starts the next one; this one retires when that is ready, and is gone
 * when its last worker has ended. */
#pragma once
#include "loop.h"
#include "policy.h"
#include "resolved.h"
#include <stdbool.h>
#include <sys/types.h>

struct asks;
struct child;
struct forwarding;
struct generation;
struct listening;
struct message;
struct program_table;
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
	struct asks *asks;
	bool *slots; /* LIMITS_SLOTS_MAX: which are taken */

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

/* One that is like this, where loop, shared, policy, log_fd, connection, context, ready and failed must be set; it takes the
 * policy over. NULL: no memory, and the policy is freed. */
struct generation *generation_new(const struct generation *like);

/* Forks the workers, in state STARTING. Names that `before` (NULL: none) has an answer for have it from the start. 0 or -errno; free it
 * either way. */
int generation_start(struct generation *generation, const struct generation *before);

/* In place of generation_start(), in an image that took over: the workers and programs of its `number` (0 is the one that
 * serves), which run already. 0 or -errno; free it either way. */
struct takeover;
int generation_adopt(
	struct generation *generation, const struct takeover *takeover, unsigned number, enum generation_kind kind);

/* Its workers are to decide nothing for a while, at most for that long; true once all of them have stopped to, from `held` on. */
void generation_hold(struct generation *generation, uint64_t most_us);
void generation_resume(struct generation *generation);
bool generation_is_held(const struct generation *generation);

/* A worker found no known address of this name to answer: the resolver asks for it again. False: there is no such name. */
bool generation_ask_anew(struct generation *generation, uint32_t name);

/* Accept no more, give every live connection to the workers of `next`, end. */
void generation_migrate(struct generation *generation, struct generation *next);

/* Its workers read the sockets of datagrams, those that wait for the flows of others when these have come. */
void generation_receive(struct generation *generation);

/* Accept no more, finish what there is, end; or end now. */
void generation_drain(struct generation *generation);
void generation_stop(struct generation *generation);
void generation_kill(struct generation *generation);

/* Asks each worker that serves, with a file of its own, until `room` files are made. Returns how many were; `ret_missed` is set where a
 * worker cannot be asked. */
unsigned generation_report(
	struct generation *generation, const struct message *request, int *files, unsigned room, bool *ret_missed);

void generation_log_level(struct generation *generation, unsigned level);

/* SIGKILL to a worker or the resolver of it. */
void generation_kill_one(const struct generation *generation, pid_t pid);

/* A child has ended: true if it was one of this generation's. */
bool generation_reap(struct generation *generation, pid_t pid, int status);

/* No process of it is left. */
bool generation_over(const struct generation *generation);
void generation_free(struct generation *generation); /* only when over; accepts NULL */
