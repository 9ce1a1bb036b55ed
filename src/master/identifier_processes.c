/* The identifiers that run for workers. Each is killed with all that it started when its time is up, when its worker has another
 * one or is gone; it is remembered until it was reaped. */
#include "identifier_processes.h"
#include "generation.h"
#include "kill_as.h"
#include "message.h"
#include "takeover.h"
#include "worker_process.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* With what it has forked: it leads a session of its own. */
static void child_kill(const struct child *child)
{
	kill_as(-child->pid, child->uid, SIGKILL);
}

static uid_t identifier_uid(const struct generation *generation, uint32_t identifier)
{
	const struct policy *policy = generation->policy;

	return identifier < policy->n_identifiers && policy->identifiers[identifier].program.own_identity
		? policy->identifiers[identifier].program.uid
		: geteuid();
}

static void child_out_of_time(struct timer *timer)
{
	child_kill(container_of(timer, struct child, patience));
}

/* A worker that asks for a kept one has given up the one before. */
static void children_kill_kept(const struct worker_process *worker, uint32_t identifier)
{
	for (struct child *child = worker->generation->children; child; child = child->next)
		if (child->worker == worker && child->identifier == identifier)
			child_kill(child);
}

unsigned children_of(const struct worker_process *worker, uint32_t identifier)
{
	unsigned n = 0;

	for (const struct child *child = worker->generation->children; child; child = child->next)
		n += child->worker == worker && child->identifier == identifier;
	return n;
}

int child_add(struct worker_process *worker, pid_t pid, uint32_t place, uint64_t number)
{
	struct generation *generation = worker->generation;
	const struct identifier *identifier = &generation->policy->identifiers[place];
	struct child *child = calloc(1, sizeof(*child));

	if (!child) {
		kill_as(-pid, identifier_uid(generation, place), SIGKILL);
		return -ENOMEM;
	}
	if (identifier->mode == IDENTIFIER_STREAM)
		children_kill_kept(worker, place);
	*child = (struct child){
		.next = generation->children,
		.generation = generation,
		.pid = pid,
		.uid = identifier_uid(generation, place),
		.worker = worker,
		.identifier = place,
		.number = number,
		.patience = { .fired = child_out_of_time },
	};
	generation->children = child;
	if (identifier->mode == IDENTIFIER_ONCE)
		loop_timer(generation->loop, &child->patience, generation->loop->now_us + identifier->timeout_us);
	return 0;
}

static void child_free(struct child *child)
{
	loop_timer_stop(child->generation->loop, &child->patience);
	free(child);
}

/* True where it was one of them; the worker that waits hears of it. */
bool child_reap(struct generation *generation, pid_t pid, int status)
{
	struct child **link = &generation->children;
	while (*link && (*link)->pid != pid)
		link = &(*link)->next;
	struct child *child = *link;
	if (!child)
		return false;
	*link = child->next;
	const struct message exited = {
		.kind = MESSAGE_EXITED, .number = child->number, .exited = { .status = status }
	};
	if (child->worker) /* where it is lost, the worker's own time for the identifier ends */
		worker_process_tell(child->worker, &exited, NULL, 0);
	child_kill(child); /* whatever it left behind */
	child_free(child);
	return true;
}

void children_kill(const struct worker_process *worker)
{
	for (struct child *child = worker->generation->children; child; child = child->next) {
		if (child->worker != worker)
			continue;
		child_kill(child);
		child->worker = NULL;
	}
}

/* Their patience was the other image's: they end with their worker, soon. */
int children_adopt(struct worker_process *worker, const struct takeover *takeover, int number)
{
	for (size_t i = 0; i < takeover->n_children; i++) {
		const struct takeover_child *from = &takeover->children[i];
		if (from->worker != number)
			continue;
		struct child *child = calloc(1, sizeof(*child));
		if (!child)
			return -ENOMEM;
		*child = (struct child){
			.next = worker->generation->children,
			.generation = worker->generation,
			.pid = from->pid,
			.uid = identifier_uid(worker->generation, from->identifier),
			.worker = worker,
			.identifier = from->identifier,
			.number = from->number,
			.patience = { .fired = child_out_of_time },
		};
		worker->generation->children = child;
	}
	return 0;
}

void children_free(struct generation *generation)
{
	for (struct child *next; generation->children; generation->children = next) {
		next = generation->children->next;
		child_free(generation->children);
	}
}
