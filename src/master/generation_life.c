/* The workers of one policy, together: started or taken over, held, asked to end, and their resolver. What happens to one of them
 * is worker_process.c's, what they ask for requests.c's. Owns the policy, the table of resolved names and the array of workers. */
#include "generation_life.h"
#include "ask.h"
#include "backend_walk.h"
#include "fd.h"
#include "identifier_processes.h"
#include "kill_as.h"
#include "log.h"
#include "message.h"
#include "resolver.h"
#include "sandbox.h"
#include "takeover.h"
#include "worker.h"
#include "worker_heard.h"
#include "worker_process.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define RESOLVER_RESTART_US 1000000

/* ---- what its workers are told ---- */

unsigned generation_report(
	struct generation *generation, const struct message *request, int *files, unsigned room, bool *ret_missed)
{
	unsigned n = 0;

	for (unsigned i = 0; i < generation->n_workers; i++) {
		struct worker_process *worker = &generation->workers[i];
		if (!worker->ready || worker->channel.fd < 0)
			continue;
		int file = n < room ? memfd_create("usher-report", MFD_CLOEXEC | MFD_ALLOW_SEALING) : -1;
		int error = file < 0 ? -EMFILE : worker_process_tell(worker, request, &file, 1);
		if (error < 0) {
			fd_close(file);
			*ret_missed = *ret_missed ||
				error != -EPIPE; /* one that has closed its end is ending, and has no sessions */
			continue;
		}
		worker->asked = request->number;
		files[n++] = file;
	}
	return n;
}

void generation_hold(struct generation *generation, uint64_t most_us)
{
	generation->is_holding = true;
	generation->hold++;
	generation->hold_most_us = most_us;
	for (unsigned i = 0; i < generation->n_workers; i++)
		worker_process_hold(&generation->workers[i]);
}

/* One that it does not reach goes on by itself. */
void generation_resume(struct generation *generation)
{
	generation->is_holding = false;
	for (unsigned i = 0; i < generation->n_workers; i++)
		worker_process_tell(&generation->workers[i], &(struct message){ .kind = MESSAGE_RESUME }, NULL, 0);
}

bool generation_is_held(const struct generation *generation)
{
	for (unsigned i = 0; i < generation->n_workers; i++)
		if (generation->workers[i].pid && generation->workers[i].held != generation->hold)
			return false;
	return true;
}

void generation_log_level(struct generation *generation, unsigned level)
{
	const struct message log = { .kind = MESSAGE_LOG, .log = { .level = level } };

	for (unsigned i = 0; i < generation->n_workers; i++)
		if (worker_process_tell(&generation->workers[i], &log, NULL, 0) == -ENOMEM)
			log_error("worker %d cannot be told of the new level of the log: no memory",
				generation->workers[i].pid);
}

/* ---- the resolver ---- */

static int generation_start_resolver(struct generation *generation)
{
	const struct policy *policy = generation->policy;

	generation->resolver_channel = fd_close(generation->resolver_channel);
	return resolver_start(
		&(struct resolver_start){
			.table = generation->resolved,
			.max_age_s = policy->name_max_age_s,
			.takes = backend_walk_takes,
			.allows = policy->names_of_clients ? backend_walk_allows : NULL,
			.context = policy,
			.log_fd = generation->log_fd,
			.log = &generation->log,
			.drop = policy->drop_identity,
			.uid = policy->uid,
			.gid = policy->gid,
			.shared = generation->shared,
		},
		&generation->resolver, &generation->resolver_channel);
}

static void generation_restart_resolver(struct timer *timer)
{
	struct generation *generation = container_of(timer, struct generation, resolver_restart);
	if (generation_is_adopted(generation)) /* the table can only be read */
		return;
	if (generation_start_resolver(generation) < 0)
		loop_timer(generation->loop, timer, generation->loop->now_us + RESOLVER_RESTART_US);
}

void generation_kill_resolver(const struct generation *generation)
{
	const struct policy *policy = generation->policy;

	kill_as(generation->resolver, policy->drop_identity ? policy->uid : geteuid(), SIGKILL);
}

static int generation_make_names(struct generation *generation, const struct generation *before)
{
	const struct policy *policy = generation->policy;
	int error = resolved_new(&generation->resolved, policy->names, policy->n_names);

	if (error == 0 && before && before->resolved)
		error = resolved_inherit(generation->resolved, before->resolved);
	return error < 0 ? error : generation_start_resolver(generation);
}

/* Names are of no use to anybody once the last worker is gone. It ends by its channel; the signal, where it may be sent, is for one that
 * was taken over. */
static void generation_end_resolver(struct generation *generation)
{
	if (!generation_retires(generation) || generation->n_running > 0)
		return;
	generation->resolver_channel = fd_close(generation->resolver_channel);
	if (generation->resolver)
		generation_kill_resolver(generation);
}

static void generation_resolver_died(struct generation *generation, int status)
{
	char how[128];

	generation->resolver = 0;
	if (generation_retires(generation))
		return;
	sandbox_describe_end(how, sizeof(how), status, &generation->shared->page->slots[SHARED_RESOLVER].refused);
	if (WIFEXITED(status) && WEXITSTATUS(status) == RESOLVER_AGAIN)
		log_notice("the resolver is started again: nsswitch.conf has changed, or a helper for names is gone");
	else
		log_error("the resolver died and is started again: it %s", how);
	loop_timer(generation->loop, &generation->resolver_restart, generation->loop->now_us + RESOLVER_RESTART_US);
}

/* ---- the generation ---- */

struct generation *generation_new(const struct generation *like)
{
	struct generation *generation = calloc(1, sizeof(*generation));

	if (!generation) {
		policy_free(like->policy);
		return NULL;
	}
	*generation = *like;
	generation->heard = worker_heard;
	generation->resolver_channel = -1;
	generation->resolver_restart = (struct timer){ .fired = generation_restart_resolver };
	return generation;
}

int generation_start(struct generation *generation, const struct generation *before)
{
	const struct policy *policy = generation->policy;
	unsigned n = generation->connection >= 0 ? 1 : policy->workers;

	address_load_zones();
	generation->state = GENERATION_STARTING;
	generation->follows = before;
	generation->workers = calloc(n, sizeof(*generation->workers));
	generation->n_workers = generation->workers ? n : 0;
	generation->n_share = n;
	int error = generation->workers ? 0 : -ENOMEM;
	for (unsigned i = 0; i < generation->n_workers; i++)
		worker_process_init(&generation->workers[i], generation, i);
	if (error == 0 && (policy->n_names || policy->names_of_clients))
		error = generation_make_names(generation, before);
	for (unsigned i = 0; error == 0 && i < generation->n_workers; i++)
		error = worker_process_fork(&generation->workers[i]);
	/* The worker has it now. Held here as well it would stay open when the worker closes it. */
	if (generation->connection >= 0)
		close(generation->connection);
	if (error < 0)
		generation_kill(generation);
	return error;
}

/* The pid, its channel and the table, which can only be read from now on. */
static int generation_adopt_names(struct generation *generation, const struct takeover *takeover)
{
	generation->resolver = takeover->resolver;
	generation->resolver_channel = takeover->resolver_channel;
	if (takeover->names_fd < 0)
		return 0;
	return resolved_adopt(
		&generation->resolved, takeover->names_fd, (const char *const *)takeover->names, takeover->n_names);
}

int generation_adopt(
	struct generation *generation, const struct takeover *takeover, unsigned number, enum generation_kind kind)
{
	int error = 0;
	unsigned n = 0;

	for (size_t i = 0; i < takeover->n_workers; i++)
		n += takeover->workers[i].generation == number;
	generation->state = number == 0 ? GENERATION_SERVING : GENERATION_RETIRING;
	generation->kind = kind;
	generation->workers = calloc(n + 1, sizeof(*generation->workers));
	if (!generation->workers)
		return -ENOMEM;
	if (number == 0)
		error = generation_adopt_names(generation, takeover);
	for (size_t i = 0; error == 0 && i < takeover->n_workers; i++) {
		if (takeover->workers[i].generation != number)
			continue;
		struct worker_process *worker = &generation->workers[generation->n_workers++];
		worker_process_init(worker, generation, takeover->workers[i].number);
		generation->n_share = takeover->workers[i].workers;
		error = worker_process_adopt(worker, takeover, i);
		if (error == 0)
			error = children_adopt(worker, takeover, (int)i);
	}
	generation->n_ready = generation->n_running = generation->n_workers;
	return error;
}

static void generation_retire(struct generation *generation)
{
	if (!generation_retires(generation))
		generation->state = GENERATION_RETIRING;
	loop_timer_stop(generation->loop, &generation->resolver_restart);
	for (unsigned i = 0; i < generation->n_workers; i++)
		loop_timer_stop(generation->loop, &generation->workers[i].restart);
}

static void generation_order(struct generation *generation, enum message_kind kind)
{
	generation_retire(generation);
	for (unsigned i = 0; i < generation->n_workers; i++)
		if (generation->workers[i].pid)
			worker_process_order(&generation->workers[i], &(struct message){ .kind = kind });
	generation_end_resolver(generation);
}

void generation_migrate(struct generation *generation, struct generation *next)
{
	generation_retire(generation);
	for (unsigned i = 0; i < generation->n_workers; i++)
		if (generation->workers[i].pid)
			worker_process_migrate(&generation->workers[i], next);
	generation_end_resolver(generation);
}

void generation_receive(struct generation *generation)
{
	for (unsigned i = 0; i < generation->n_workers; i++)
		if (generation->workers[i].pid)
			worker_process_order(&generation->workers[i], &(struct message){ .kind = MESSAGE_RECEIVE });
}

void generation_drain(struct generation *generation)
{
	generation_order(generation, MESSAGE_DRAIN);
}

void generation_stop(struct generation *generation)
{
	generation_order(generation, MESSAGE_STOP);
}

void generation_kill(struct generation *generation)
{
	generation_retire(generation);
	generation->state = GENERATION_KILLED;
	for (unsigned i = 0; i < generation->n_workers; i++) {
		if (generation->workers[i].pid)
			worker_process_kill(&generation->workers[i]);
	}
}

bool generation_over(const struct generation *generation)
{
	return generation_retires(generation) && generation->n_running == 0 && generation->resolver == 0;
}

bool generation_reap(struct generation *generation, pid_t pid, int status)
{
	if (child_reap(generation, pid, status))
		return true;
	bool found = pid == generation->resolver;
	if (found)
		generation_resolver_died(generation, status);
	for (unsigned i = 0; !found && i < generation->n_workers; i++) {
		struct worker_process *worker = &generation->workers[i];
		found = worker->pid == pid;
		if (!found)
			continue;
		worker_process_died(worker, status);
		children_kill(worker);
		asks_forget(generation->asks, worker);
	}
	if (found)
		generation_end_resolver(generation);
	return found;
}

void generation_free(struct generation *generation)
{
	if (!generation)
		return;
	for (unsigned i = 0; generation->workers && i < generation->n_workers; i++)
		worker_process_fini(&generation->workers[i]);
	loop_timer_stop(generation->loop, &generation->resolver_restart);
	children_free(generation);
	fd_close(generation->resolver_channel);
	resolved_free(generation->resolved);
	policy_free(generation->policy);
	free(generation->workers);
	free(generation->listening);
	free(generation);
}
