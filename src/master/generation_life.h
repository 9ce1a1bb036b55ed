/* A generation from its start, or from an image that is taken over, to its end; what is asked of all of its workers. */
#pragma once
#include "generation.h"

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

/* SIGKILL to its resolver. */
void generation_kill_resolver(const struct generation *generation);

/* A child has ended: true if it was one of this generation's. */
bool generation_reap(struct generation *generation, pid_t pid, int status);

/* No process of it is left. */
bool generation_over(const struct generation *generation);
void generation_free(struct generation *generation); /* only when over; accepts NULL */
