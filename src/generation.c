/* The workers of one policy: forked, watched over, replaced when they crash, asked to end. Also answers their requests for
 * programs. Owns the policy, the table of resolved names and the master's ends of the channels. */
#include "generation.h"
#include "ask.h"
#include "children.h"
#include "counters.h"
#include "fd.h"
#include "ipc.h"
#include "log.h"
#include "message.h"
#include "migrant.h"
#include "program.h"
#include "program_table.h"
#include "receivers.h"
#include "resolver.h"
#include "sandbox.h"
#include "takeover.h"
#include "transparent.h"
#include "worker.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* A worker that dies this young counts for the back-off: at once, then 100 ms, 200 ms ... 5 s. */
#define QUICK_DEATH_US      1000000
#define BACK_OFF_FIRST_US   100000
#define BACK_OFF_MOST_US    5000000
#define RESOLVER_RESTART_US 1000000

static void worker_process_start(struct worker_process *worker);

/* ---- what a worker is told ----------------------------------------------------------------------------------------------- */

/* As far as there is room. */
static void worker_process_tell_late(struct worker_process *worker)
{
	size_t sent = 0;

	while (sent < worker->n_late &&
		ipc_send(worker->channel.fd, &worker->late[sent], sizeof(*worker->late), NULL, 0) == 0)
		sent++;
	if (sent == 0)
		return;
	worker->n_late -= sent;
	memmove(worker->late, worker->late + sent, worker->n_late * sizeof(*worker->late));
}

/* Answers that somebody waits for must not be lost while the worker does not read. There are no more of them than programs
 * that were asked for. */
void worker_process_tell(struct worker_process *worker, const struct message *message)
{
	if (worker->channel.fd < 0)
		return;
	if (worker->n_late == 0 && ipc_send(worker->channel.fd, message, sizeof(*message), NULL, 0) == 0)
		return;
	struct message *late = reallocarray(worker->late, worker->n_late + 1, sizeof(*late));
	if (!late)
		return;
	worker->late = late;
	late[worker->n_late++] = *message;
}

/* ---- requests of a worker ------------------------------------------------------------------------------------------- */

static void worker_process_accuse(const struct worker_process *worker)
{
	log_error("worker %d asked for what its policy does not have, and is ended", worker->pid);
	kill(worker->pid, SIGKILL);
}

/* The program that is asked for, and the service whose it is (NULL: none); NULL: the policy has none there. */
static const struct program *requested_program(
	const struct policy *policy, const struct message *request, const struct service **ret_service)
{
	*ret_service = NULL;
	if (request->program == PROGRAM_IDENTIFIER)
		return request->index < policy->n_identifiers ? &policy->identifiers[request->index].program : NULL;
	if (request->index >= policy->n_services)
		return NULL;
	const struct service *service = *ret_service = &policy->services[request->index];
	if (request->program == PROGRAM_ACCESS)
		return service->asks;
	return request->program == PROGRAM_SERVICE && service->target.delivery == DELIVERY_EXEC
		? &service->target.exec
		: NULL;
}

/* A service's program, within its limits. */
static int service_start(struct generation *generation, const struct service *service, const struct message *request,
	int client, struct message *answer, int fds[2])
{
	uint64_t now_us = clock_monotonic_us();
	bool greeted = false;
	pid_t pid = 0;

	const char *limit =
		program_table_admit(generation->programs, service->name, service->access, &request->client, now_us);
	if (limit) {
		strncpy(answer->refused, limit, sizeof(answer->refused) - 1);
		return -EACCES;
	}
	int error = program_start(&service->target.exec, service->name, request, client, fds, &pid, &greeted);
	answer->greeted = greeted;
	if (error < 0)
		return error;
	log_debug("connection %lu: %s is process %d", (unsigned long)request->connection,
		service->target.exec.argv[0], pid);
	program_table_add(generation->programs, pid, service->name, &request->client, 0, now_us);
	return 0;
}

static int identifier_start(
	struct worker_process *worker, const struct program *program, const struct message *request, int fds[2])
{
	pid_t pid = 0;
	int error = program_start(program, NULL, request, -1, fds, &pid, NULL);
	return error < 0 ? error : child_add(worker, pid, request);
}

static int receiver_open(const struct policy *policy, const struct message *request, int fds[2])
{
	fds[0] = receiver_connect(&policy->services[request->index].target.handover.address);
	return fds[0] < 0 ? fds[0] : 0;
}

/* Of a worker's own policy, or it is not to be believed. */
static bool request_is_sound(const struct policy *policy, const struct message *request)
{
	const struct service *service;

	if (request->program == PROGRAM_RECEIVER)
		return request->index < policy->n_services &&
			policy->services[request->index].target.delivery == DELIVERY_HANDOVER;
	return requested_program(policy, request, &service) != NULL;
}

/* `error`: the request came without its descriptor. Every request has its answer: they are told apart by their order. */
static void worker_process_spawn(struct worker_process *worker, const struct message *request, int client, int error)
{
	struct generation *generation = worker->generation;
	struct message answer = { .kind = MESSAGE_SPAWNED, .connection = request->connection, .error = error };
	const struct service *service;
	const struct program *program = requested_program(generation->policy, request, &service);
	int fds[2] = { -1, -1 };

	if (generation->is_stale) {
		error = answer.error = -ESTALE;
	} else if (!request_is_sound(generation->policy, request)) {
		worker_process_accuse(worker);
		return;
	}
	if (error == 0 && request->program == PROGRAM_RECEIVER)
		answer.error = receiver_open(generation->policy, request, fds);
	else if (error == 0 && request->program == PROGRAM_IDENTIFIER)
		answer.error = identifier_start(worker, program, request, fds);
	else if (error == 0 && service && request->program == PROGRAM_ACCESS)
		answer.error = asks_begin(generation->asks, program, service->name, request, worker, request->serial);
	else if (error == 0 && service)
		answer.error = service_start(generation, service, request, client, &answer, fds);
	ipc_send(worker->channel.fd, &answer, sizeof(answer), fds, answer.error ? 0 : (fds[0] >= 0) + (fds[1] >= 0));
	fd_close(fds[0]);
	fd_close(fds[1]);
}

void generation_answered(void *asker, uint64_t serial, bool admitted)
{
	const struct message answer = { .kind = MESSAGE_ANSWER, .serial = serial, .error = admitted ? 0 : -EACCES };
	worker_process_tell(asker, &answer);
}

/* As many as a worker counts on (stock.c). */
static void worker_process_supply(struct worker_process *worker, const struct message *request)
{
	struct message answer = { .kind = MESSAGE_SOCKETS, .index = request->index };
	int fds[STOCK_SUPPLY];
	size_t n = 0;

	if (worker->generation->is_stale) {
		answer.error = -ESTALE;
	} else if (!worker->generation->policy->transparent ||
		(request->index != AF_INET && request->index != AF_INET6)) {
		worker_process_accuse(worker);
		return;
	}
	for (int fd; n < STOCK_SUPPLY && answer.error == 0;) {
		fd = transparent_open(worker->generation->policy, (sa_family_t)request->index);
		if (fd >= 0)
			fds[n++] = fd;
		else if (n == 0)
			answer.error = fd;
		else
			break;
	}
	ipc_send(worker->channel.fd, &answer, sizeof(answer), fds, n);
	while (n > 0)
		fd_close(fds[--n]);
}

static void worker_process_is_ready(struct worker_process *worker)
{
	struct generation *generation = worker->generation;

	if (worker->ready)
		return;
	worker->ready = true;
	if (generation->is_holding)
		worker_process_tell(worker, &(struct message){ .kind = MESSAGE_HOLD });
	generation->n_ready++;
	if (generation->state == GENERATION_STARTING && generation->n_ready == generation->n_workers) {
		generation->state = GENERATION_SERVING;
		generation->ready(generation);
	}
}

static void worker_process_is_held(struct worker_process *worker)
{
	worker->held = true;
	worker->generation->held(worker->generation);
}

/* A request is taken only while there is room for its answer. */
static bool channel_has_room(int fd)
{
	struct pollfd room = { .fd = fd, .events = POLLOUT };
	return poll(&room, 1, 0) == 1 && (room.revents & POLLOUT);
}

static void worker_process_receive(struct watch *watch, uint32_t events)
{
	struct worker_process *worker = container_of(watch, struct worker_process, channel);

	worker_process_tell_late(worker);
	while (watch->fd >= 0 && worker->n_late == 0 && channel_has_room(watch->fd)) {
		struct message message;
		int fds[IPC_FDS_MAX];
		ssize_t n = ipc_receive(watch->fd, &message, sizeof(message), fds);
		if (n != sizeof(message) && n != -EMFILE)
			return; /* nothing there, or the worker is gone: its end will be reaped */
		if (message.kind == MESSAGE_READY)
			worker_process_is_ready(worker);
		else if (message.kind == MESSAGE_HELD)
			worker_process_is_held(worker);
		else if (message.kind == MESSAGE_WANT_SOCKETS)
			worker_process_supply(worker, &message);
		else if (message.kind == MESSAGE_REPORTED)
			worker->generation->reported(worker->generation, message.serial, message.error);
		else if (message.kind == MESSAGE_SPAWN)
			worker_process_spawn(worker, &message, fds[0], n == -EMFILE ? -EMFILE : 0);
		for (int i = 0; i < IPC_FDS_MAX; i++)
			fd_close(fds[i]);
	}
}

unsigned generation_report(struct generation *generation, const struct message *request, int *files, unsigned room)
{
	unsigned n = 0;

	for (unsigned i = 0; i < generation->n_workers && n < room; i++) {
		struct worker_process *worker = &generation->workers[i];
		if (!worker->ready || worker->channel.fd < 0)
			continue;
		files[n] = memfd_create("usher-report", MFD_CLOEXEC);
		if (files[n] < 0)
			break;
		if (ipc_send(worker->channel.fd, request, sizeof(*request), &files[n], 1) == 0)
			n++;
		else
			fd_close(files[n]);
	}
	return n;
}

static void generation_tell_all(struct generation *generation, enum message_kind kind)
{
	const struct message message = { .kind = kind };

	for (unsigned i = 0; i < generation->n_workers; i++)
		worker_process_tell(&generation->workers[i], &message);
}

void generation_hold(struct generation *generation)
{
	for (unsigned i = 0; i < generation->n_workers; i++)
		generation->workers[i].held = false;
	generation->is_holding = true;
	generation_tell_all(generation, MESSAGE_HOLD);
}

void generation_resume(struct generation *generation)
{
	generation->is_holding = false;
	generation_tell_all(generation, MESSAGE_RESUME);
}

bool generation_is_held(const struct generation *generation)
{
	for (unsigned i = 0; i < generation->n_workers; i++)
		if (generation->workers[i].pid && !generation->workers[i].held)
			return false;
	return true;
}

void generation_log_level(struct generation *generation, unsigned level)
{
	const struct message message = { .kind = MESSAGE_LOG, .status = (int32_t)level };

	for (unsigned i = 0; i < generation->n_workers; i++)
		worker_process_tell(&generation->workers[i], &message);
}

/* ---- the life of a worker -------------------------------------------------------------------------------------------- */

static void __attribute__((noreturn)) worker_process_run(const struct worker_process *worker, int channel)
{
	const struct generation *generation = worker->generation;

	log_setup(generation->log_fd, &generation->policy->log);
	_exit(worker_run(&(struct worker_start){
		.policy = generation->policy,
		.listening = generation->listening,
		.channel = channel,
		.log_fd = generation->log_fd,
		.resolved = generation->resolved,
		.shared = generation->shared,
		.slot = worker->slot,
		.connection = generation->connection,
		.quiet = generation->quiet,
		.is_trial = generation->is_trial,
		.may_be_left = generation->leaves_workers,
	}));
}

static int slot_take(struct generation *generation, unsigned *ret)
{
	for (unsigned i = 0; i < LIMITS_SLOTS_MAX; i++) {
		if (generation->slots[i])
			continue;
		generation->slots[i] = true;
		*ret = i;
		return 0;
	}
	return -EAGAIN; /* that many generations retire at once */
}

/* Whatever the worker still counted is not there any more. */
static void slot_give(struct generation *generation, unsigned slot)
{
	limits_forget(generation->shared->limits, slot);
	counters_forget_open(generation->shared->counters, slot);
	atomic_store(&generation->shared->page->running[slot], 0);
	atomic_store(&generation->shared->page->refused[slot], 0);
	generation->slots[slot] = false;
}

static int worker_process_fork(struct worker_process *worker)
{
	struct generation *generation = worker->generation;
	int ends[2];

	int error = ipc_pair(ends);
	if (error < 0)
		return error;
	error = slot_take(generation, &worker->slot);
	if (error < 0)
		goto out;
	pid_t pid = fork();
	if (pid == 0)
		worker_process_run(worker, ends[1]);
	if (pid < 0) {
		error = -errno;
		slot_give(generation, worker->slot);
		goto out;
	}
	fd_close(ends[1]);
	worker->pid = pid;
	worker->ready = worker->held = false;
	worker->started_us = clock_monotonic_us();
	generation->n_running++;
	worker->channel.ready = worker_process_receive;
	error = loop_watch(generation->loop, &worker->channel, ends[0], EPOLLIN | EPOLLOUT | EPOLLET);
	if (error < 0) {
		fd_close(ends[0]); /* the worker takes it for the master's death and ends */
		return error;
	}
	return 0;
out:
	fd_close(ends[0]);
	fd_close(ends[1]);
	return error;
}

static void worker_process_back_off(struct worker_process *worker)
{
	struct loop *loop = worker->generation->loop;
	uint64_t wait_us = 0;

	if (worker->quick_deaths > 1)
		wait_us = (uint64_t)BACK_OFF_FIRST_US << (worker->quick_deaths < 8 ? worker->quick_deaths - 2 : 6);
	if (wait_us > BACK_OFF_MOST_US)
		wait_us = BACK_OFF_MOST_US;
	loop_timer(loop, &worker->restart, loop->now_us + wait_us);
}

static void worker_process_start(struct worker_process *worker)
{
	int error = worker_process_fork(worker);
	if (error == 0)
		return;
	log_error("cannot start a worker: %s", strerrordesc_np(-error));
	worker->quick_deaths++;
	worker_process_back_off(worker);
}

static void worker_process_restart(struct timer *timer)
{
	worker_process_start(container_of(timer, struct worker_process, restart));
}

/* "was killed by signal 31 (Bad system call: openat)" */
static void describe_end(char *buf, size_t size, int status, _Atomic uint32_t *refused)
{
	char *call = sandbox_refused_name(atomic_exchange(refused, 0));

	if (WIFSIGNALED(status))
		snprintf(buf, size, "was killed by signal %d (%s%s%s)", WTERMSIG(status), strsignal(WTERMSIG(status)),
			call ? ": " : "", call ? call : "");
	else
		snprintf(buf, size, "ended with status %d", WEXITSTATUS(status));
	free(call);
}

static void worker_process_log_end(const struct worker_process *worker, int status)
{
	const struct generation *generation = worker->generation;
	char place[512] = "";
	uint32_t running = atomic_load(&generation->shared->page->running[worker->slot]);
	const char *in = policy_module_running(generation->policy, running, place, sizeof(place)) ? " in " : "";
	char how[128];

	if (status == 0)
		return;
	describe_end(how, sizeof(how), status, &generation->shared->page->refused[worker->slot]);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && generation->is_killed)
		log_debug("worker %d was ended", worker->pid);
	else
		log_error("worker %d %s%s%s", worker->pid, how, in, place);
}

static void worker_process_died(struct worker_process *worker, int status)
{
	struct generation *generation = worker->generation;
	uint64_t lived_us = clock_monotonic_us() - worker->started_us;

	/* What it said before it went, above all that it was ready. */
	worker_process_receive(&worker->channel, EPOLLIN);
	worker_process_log_end(worker, status);
	fd_close(loop_unwatch(generation->loop, &worker->channel));
	children_kill(worker);
	asks_forget(generation->asks, worker);
	free(worker->late);
	worker->late = NULL;
	worker->n_late = 0;
	slot_give(generation, worker->slot);
	worker->pid = 0;
	generation->n_running--;
	if (worker->ready)
		generation->n_ready--;
	if (generation->state == GENERATION_STARTING) {
		generation->failed(generation);
	} else if (generation->connection >= 0) {
		generation->state = GENERATION_RETIRING; /* its one connection is over */
	} else if (generation->state == GENERATION_SERVING && !generation->is_adopted) {
		worker->quick_deaths = lived_us < QUICK_DEATH_US ? worker->quick_deaths + 1 : 1;
		worker_process_back_off(worker);
	}
}

/* ---- the resolver ----------------------------------------------------------------------------------------------------- */

static int generation_start_resolver(struct generation *generation)
{
	const struct policy *policy = generation->policy;
	return resolver_start(&generation->resolver, policy->names, policy->n_names, generation->resolved,
		generation->log_fd, &policy->log, policy->drop_identity, policy->uid, policy->gid,
		&generation->shared->page->refused_resolver);
}

static void generation_restart_resolver(struct timer *timer)
{
	struct generation *generation = container_of(timer, struct generation, resolver_restart);
	if (!generation->resolved) /* the image before this one had the table */
		return;
	if (generation_start_resolver(generation) < 0)
		loop_timer(generation->loop, timer, generation->loop->now_us + RESOLVER_RESTART_US);
}

static void generation_resolver_died(struct generation *generation, int status)
{
	char how[128];

	generation->resolver = 0;
	if (generation->state == GENERATION_RETIRING)
		return;
	describe_end(how, sizeof(how), status, &generation->shared->page->refused_resolver);
	log_error("the resolver died and is started again: it %s", how);
	loop_timer(generation->loop, &generation->resolver_restart, generation->loop->now_us + RESOLVER_RESTART_US);
}

/* ---- the generation --------------------------------------------------------------------------------------------------- */

int generation_start(struct generation *generation)
{
	const struct policy *policy = generation->policy;
	int error = 0;

	generation->state = GENERATION_STARTING;
	generation->n_workers = generation->connection >= 0 ? 1 : policy->workers;
	generation->resolver_restart = (struct timer){ .fired = generation_restart_resolver };
	generation->workers = calloc(generation->n_workers, sizeof(*generation->workers));
	if (!generation->workers)
		return -ENOMEM;
	for (unsigned i = 0; i < generation->n_workers; i++)
		generation->workers[i] = (struct worker_process){
			.generation = generation,
			.channel = { .fd = -1 },
			.restart = { .fired = worker_process_restart },
		};
	if (policy->n_names) {
		error = resolved_new(&generation->resolved, policy->n_names);
		if (error == 0)
			error = generation_start_resolver(generation);
	}
	for (unsigned i = 0; error == 0 && i < generation->n_workers; i++)
		error = worker_process_fork(&generation->workers[i]);
	/* The worker has it now. Held here as well it would stay open when the worker closes it. */
	if (generation->connection >= 0)
		close(generation->connection);
	if (error < 0)
		generation_kill(generation);
	return error;
}

int generation_adopt(struct generation *generation, const struct takeover *takeover, unsigned number)
{
	int error = 0;
	unsigned n = 0;

	for (size_t i = 0; i < takeover->n_workers; i++)
		n += takeover->workers[i].generation == number;
	generation->state = number == 0 ? GENERATION_SERVING : GENERATION_RETIRING;
	generation->is_adopted = true;
	generation->resolver_restart = (struct timer){ .fired = generation_restart_resolver };
	generation->workers = calloc(n + 1, sizeof(*generation->workers));
	if (!generation->workers)
		return -ENOMEM;
	if (number == 0)
		generation->resolver = takeover->resolver;
	for (size_t i = 0; error == 0 && i < takeover->n_workers; i++) {
		const struct takeover_worker *from = &takeover->workers[i];
		if (from->generation != number)
			continue;
		struct worker_process *worker = &generation->workers[generation->n_workers++];
		*worker = (struct worker_process){
			.generation = generation,
			.pid = from->pid,
			.slot = from->slot,
			.ready = true,
			.started_us = clock_monotonic_us(),
			.channel = { .fd = -1, .ready = worker_process_receive },
			.restart = { .fired = worker_process_restart },
		};
		generation->slots[from->slot] = true;
		error = loop_watch(generation->loop, &worker->channel, from->channel, EPOLLIN | EPOLLOUT | EPOLLET);
		if (error == 0)
			error = children_adopt(worker, takeover, (int)i);
	}
	generation->n_ready = generation->n_running = generation->n_workers;
	return error;
}

/* Names are of no use to anybody once the last worker is gone. */
static void generation_end_resolver(const struct generation *generation)
{
	if (generation->state == GENERATION_RETIRING && generation->n_running == 0 && generation->resolver)
		kill(generation->resolver, SIGKILL);
}

static void generation_retire(struct generation *generation)
{
	generation->state = GENERATION_RETIRING;
	loop_timer_stop(generation->loop, &generation->resolver_restart);
	for (unsigned i = 0; i < generation->n_workers; i++)
		loop_timer_stop(generation->loop, &generation->workers[i].restart);
}

static void generation_tell(struct generation *generation, enum message_kind kind)
{
	const struct message message = { .kind = kind };

	generation_retire(generation);
	for (unsigned i = 0; i < generation->n_workers; i++) {
		struct worker_process *worker = &generation->workers[i];
		/* One that does not read is of no use any more; one whose end is closed is ending already. */
		if (worker->pid && ipc_send(worker->channel.fd, &message, sizeof(message), NULL, 0) == -EAGAIN)
			kill(worker->pid, SIGKILL);
	}
	generation_end_resolver(generation);
}

/* Big messages must fit in, whatever the system's default is. */
static int migration_pair(int ends[2])
{
	int error = ipc_pair(ends);

	for (int i = 0; i < 2 && error == 0; i++)
		fd_set_option(ends[i], SOL_SOCKET, SO_SNDBUF, MIGRANT_MAX);
	return error;
}

/* Where the channel does not reach both, the old one finishes what it has. */
static void worker_process_migrate(struct worker_process *from, struct worker_process *to)
{
	const struct message migrate = { .kind = MESSAGE_MIGRATE }, adopt = { .kind = MESSAGE_ADOPT };
	int ends[2] = { -1, -1 };

	int error = to->pid ? migration_pair(ends) : -ESRCH;
	if (error == 0)
		error = ipc_send(to->channel.fd, &adopt, sizeof(adopt), &ends[0], 1);
	if (error < 0)
		ends[1] = fd_close(ends[1]);
	if (ipc_send(from->channel.fd, &migrate, sizeof(migrate), &ends[1], ends[1] >= 0) < 0)
		worker_process_tell(from, &migrate); /* later, and without a channel: it finishes what it has */
	fd_close(ends[0]);
	fd_close(ends[1]);
}

void generation_migrate(struct generation *generation, struct generation *next)
{
	generation_retire(generation);
	for (unsigned i = 0; i < generation->n_workers; i++)
		if (generation->workers[i].pid)
			worker_process_migrate(&generation->workers[i], &next->workers[i % next->n_workers]);
	generation_end_resolver(generation);
}

void generation_drain(struct generation *generation)
{
	generation_tell(generation, MESSAGE_DRAIN);
}

void generation_stop(struct generation *generation)
{
	generation_tell(generation, MESSAGE_STOP);
}

void generation_kill(struct generation *generation)
{
	generation->is_killed = true;
	generation_retire(generation);
	for (unsigned i = 0; i < generation->n_workers; i++) {
		if (generation->workers[i].pid)
			kill(generation->workers[i].pid, SIGKILL);
	}
}

bool generation_over(const struct generation *generation)
{
	return generation->state == GENERATION_RETIRING && generation->n_running == 0 && generation->resolver == 0;
}

bool generation_reap(struct generation *generation, pid_t pid, int status)
{
	if (child_reap(generation, pid, status))
		return true;
	bool found = pid == generation->resolver;
	if (found)
		generation_resolver_died(generation, status);
	for (unsigned i = 0; !found && i < generation->n_workers; i++) {
		found = generation->workers[i].pid == pid;
		if (found)
			worker_process_died(&generation->workers[i], status);
	}
	if (found)
		generation_end_resolver(generation);
	return found;
}

void generation_free(struct generation *generation)
{
	if (!generation)
		return;
	for (unsigned i = 0; generation->workers && i < generation->n_workers; i++) {
		loop_timer_stop(generation->loop, &generation->workers[i].restart);
		fd_close(loop_unwatch(generation->loop, &generation->workers[i].channel));
		free(generation->workers[i].late);
	}
	loop_timer_stop(generation->loop, &generation->resolver_restart);
	children_free(generation);
	resolved_free(generation->resolved);
	policy_free(generation->policy);
	free(generation->workers);
	free(generation->listening);
	free(generation);
}
