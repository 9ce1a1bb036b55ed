/* One worker as the master has it: forked, told, heard, replaced when it crashes. What it asks for goes to its generation
 * (worker_heard.c). Owns the master's end of the channel, and the worker's slot. */
#include "worker_process.h"
#include "back_off.h"
#include "fd.h"
#include "generation.h"
#include "helper_process.h"
#include "ipc.h"
#include "kill_as.h"
#include "log.h"
#include "message.h"
#include "sandbox.h"
#include "sockets.h"
#include "takeover.h"
#include "worker.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A worker that dies this young counts for the back-off: at once, then 100 ms, 200 ms ... 5 s. */
#define QUICK_DEATH_US    1000000
#define BACK_OFF_FIRST_US 100000
#define BACK_OFF_MOST_US  5000000

#define MESSAGES_A_TURN     64
#define MESSAGES_AT_THE_END 4096    /* more than a channel has room for */
#define GONE_US             5000000 /* for a worker that has closed its channel to end */

/* ---- what it is told, and says ---- */

int worker_process_tell(struct worker_process *worker, const struct message *message, const int *fds, size_t n_fds)
{
	return outbox_send(&worker->outbox, message, fds, n_fds);
}

static bool channel_has_room(int fd)
{
	struct pollfd room = { .fd = fd, .events = POLLOUT };
	return poll(&room, 1, 0) == 1 && (room.revents & POLLOUT);
}

void worker_process_kill(const struct worker_process *worker)
{
	const struct policy *policy = worker->generation->policy;

	kill_as(worker->pid, policy->drop_identity ? policy->uid : geteuid(), SIGKILL);
}

/* One whose end is closed is ending already. */
void worker_process_order(struct worker_process *worker, const struct message *message)
{
	int error = worker_process_tell(worker, message, NULL, 0);
	bool reads = !outbox_waits(&worker->outbox) || channel_has_room(worker->channel.fd);

	if ((error < 0 && error != -EPIPE) || !reads)
		worker_process_kill(worker);
}

/* Where it is lost, the upgrade that waits for the answer gives up. */
void worker_process_hold(struct worker_process *worker)
{
	const struct generation *generation = worker->generation;
	const struct message hold = {
		.kind = MESSAGE_HOLD, .number = generation->hold, .hold = { .most_us = generation->hold_most_us }
	};
	worker_process_tell(worker, &hold, NULL, 0);
}

static void worker_process_is_ready(struct worker_process *worker)
{
	struct generation *generation = worker->generation;

	if (worker->ready)
		return;
	worker->ready = true;
	if (generation->is_holding)
		worker_process_hold(worker);
	generation->n_ready++;
	if (generation->state == GENERATION_STARTING && generation->n_ready == generation->n_workers) {
		generation->state = GENERATION_SERVING;
		generation->ready(generation);
	}
}

/* The answer to a hold that is over is none to the next one. */
static void worker_process_is_held(struct worker_process *worker, uint64_t number)
{
	if (!worker->generation->is_holding || number != worker->generation->hold)
		return;
	worker->held = number;
	worker->generation->held(worker->generation);
}

/* A second answer, or one to a question that was not asked yet, would count as another worker's. */
static void worker_process_has_reported(struct worker_process *worker, uint64_t number, int error)
{
	if (number <= worker->reported || number > worker->asked)
		return;
	worker->reported = number;
	worker->generation->reported(worker->generation, number, error);
}

/* False for what no worker of ours says. */
static bool worker_process_hear(struct worker_process *worker, const struct message *message, struct ipc_fds *fds)
{
	switch (message->kind) {
	case MESSAGE_READY:
		worker_process_is_ready(worker);
		return true;
	case MESSAGE_HELD:
		worker_process_is_held(worker, message->number);
		return true;
	case MESSAGE_REPORTED:
		worker_process_has_reported(worker, message->number, message->reported.error);
		return true;
	default:
		return worker->generation->heard(worker, message, fds);
	}
}

static void worker_process_accuse(struct worker_process *worker)
{
	if (worker->accused)
		return;
	worker->accused = true;
	log_error("worker %d sent an invalid message or request, and is killed", worker->pid);
	worker_process_kill(worker);
}

/* One that goes on without us would never be told to end. */
static void worker_process_is_gone(struct worker_process *worker)
{
	struct loop *loop = worker->generation->loop;

	if (worker->pid && worker->gone.place == 0)
		loop_timer(loop, &worker->gone, loop->now_us + GONE_US);
}

static void worker_process_stays(struct timer *timer)
{
	struct worker_process *worker = container_of(timer, struct worker_process, gone);

	log_error("worker %d has closed its channel to the master and does not exit: it is killed", worker->pid);
	worker->accused = true;
	worker_process_kill(worker);
}

/* True where there may be more. */
static bool worker_process_receive_one(struct worker_process *worker)
{
	struct message message;
	struct ipc_fds fds;

	int n = message_receive(worker->channel.fd, true, &message, &fds);
	if (n < 0 && n != -EBADMSG)
		return false;
	if (n == 0)
		worker_process_is_gone(worker); /* its end will be reaped */
	else if (n < 0 || !worker_process_hear(worker, &message, &fds))
		worker_process_accuse(worker);
	ipc_close_fds(&fds);
	return n != 0;
}

/* A worker that never stops asking does not keep us from others; and a request is taken only while there is room for its answer. */
static void worker_process_receive_some(struct worker_process *worker)
{
	outbox_flush(&worker->outbox);
	for (unsigned i = 0; i < MESSAGES_A_TURN; i++)
		if (worker->accused || worker->channel.fd < 0 || outbox_waits(&worker->outbox) ||
			!channel_has_room(worker->channel.fd) || !worker_process_receive_one(worker))
			return;
	loop_defer(worker->generation->loop, &worker->again);
}

static void worker_process_receive(struct watch *watch, uint32_t events)
{
	worker_process_receive_some(container_of(watch, struct worker_process, channel));
}

static void worker_process_receive_again(struct task *task)
{
	worker_process_receive_some(container_of(task, struct worker_process, again));
}

static void worker_process_told(struct outbox *outbox)
{
	struct worker_process *worker = container_of(outbox, struct worker_process, outbox);
	loop_defer(worker->generation->loop, &worker->again);
}

/* What waits there when nobody reads it any more: what is in it may come from anywhere, and is not left to the kernel to close. */
static void channel_empty(int fd)
{
	struct message message;
	struct ipc_fds fds;

	for (unsigned i = 0; i < MESSAGES_AT_THE_END; i++) {
		ssize_t n = ipc_receive(fd, &message, sizeof(message), &fds);
		ipc_close_fds(&fds);
		if (n <= 0 && n != -EMSGSIZE)
			return;
	}
}

/* ---- moving what it has ---- */

/* Big messages must fit in, whatever the system's default is. */
static int migration_pair(int ends[2])
{
	int error = ipc_pair(ends);

	for (int i = 0; i < 2 && error == 0; i++)
		fd_set_option(ends[i], SOL_SOCKET, SO_SNDBUF, MESSAGE_MIGRANT_MAX);
	return error;
}

/* The numbers of workers of `next`, each once, the one for sessions that any may have first. How many they are. */
static unsigned migration_targets(
	const struct worker_process *from, const struct generation *next, unsigned ret[LIMITS_SLOTS_MAX])
{
	bool is_one[LIMITS_SLOTS_MAX] = { false };
	unsigned n = 0;

	ret[n++] = from->number % next->n_workers;
	is_one[ret[0]] = true;
	for (size_t i = 0; i < next->n_listening; i++) {
		const struct listening *one = &next->listening[i];
		if (next->policy->listeners[one->listener].transport == TRANSPORT_STREAM ||
			socket_reader(one->place, from->generation->n_share) != from->number)
			continue;
		unsigned to = socket_reader(one->place, next->n_share);
		if (!is_one[to])
			ret[n++] = to;
		is_one[to] = true;
	}
	return n;
}

/* Where the channel does not reach both, the old one finishes what it has. */
static void migrate_to(struct worker_process *from, struct worker_process *to, unsigned more)
{
	const struct message migrate = { .kind = MESSAGE_MIGRATE, .peer = { .slot = to->slot, .more = more } };
	const struct message adopt = { .kind = MESSAGE_ADOPT, .peer = { .slot = from->slot } };
	int ends[2] = { -1, -1 };

	int error = to->pid ? migration_pair(ends) : -ESRCH;
	if (error == 0)
		error = worker_process_tell(to, &adopt, &ends[0], 1);
	if (error == 0)
		error = worker_process_tell(from, &migrate, &ends[1], 1);
	if (error < 0)
		worker_process_order(from, &migrate);
	fd_close(ends[0]);
	fd_close(ends[1]);
}

void worker_process_migrate(struct worker_process *from, struct generation *next)
{
	unsigned targets[LIMITS_SLOTS_MAX];
	unsigned n = migration_targets(from, next, targets);

	for (unsigned i = 0; i < n; i++)
		migrate_to(from, &next->workers[targets[i]], n - 1 - i);
}

/* ---- its life ---- */

/* All workers accept on one socket; datagrams of a socket are one worker's. In the worker, which can be taken over with what it has. */
static size_t worker_process_share(const struct worker_process *worker, struct listening *ret)
{
	const struct generation *generation = worker->generation;
	size_t n = 0;

	for (size_t i = 0; i < generation->n_listening; i++) {
		const struct listening *one = &generation->listening[i];
		if (generation->policy->listeners[one->listener].transport == TRANSPORT_STREAM ||
			socket_reader(one->place, generation->n_share) == worker->number)
			ret[n++] = *one;
	}
	return n;
}

static void __attribute__((noreturn)) worker_process_run(const struct worker_process *worker, int channel)
{
	const struct generation *generation = worker->generation;

	int log_fd = log_own_fd(generation->log_fd);

	log_setup(log_fd, &generation->log);
	size_t n_listening = worker_process_share(worker, generation->listening); /* this process's copy */
	_exit(worker_run(&(struct worker_start){
		.policy = generation->policy,
		.listening = generation->listening,
		.n_listening = n_listening,
		.channel = channel,
		.log_fd = log_fd,
		.resolved = generation->resolved,
		.shared = generation->shared,
		.slot = worker->slot,
		.connection = generation->connection,
		.awaits_receive = generation->state == GENERATION_STARTING && generation->follows,
		.may_be_left = generation->leaves_workers,
	}));
}

static int slot_take(struct generation *generation, unsigned *ret)
{
	for (unsigned i = 0; i < LIMITS_SLOTS_MAX; i++) {
		if (generation->slots[i])
			continue;
		generation->slots[i] = true;
		shared_begin(generation->shared, i);
		*ret = i;
		return 0;
	}
	return -EAGAIN; /* that many generations retire at once */
}

/* Whatever the worker still counted is not there any more. */
static void slot_give(struct generation *generation, unsigned slot)
{
	shared_forget(generation->shared, slot);
	generation->slots[slot] = false;
}

int worker_process_fork(struct worker_process *worker)
{
	struct generation *generation = worker->generation;
	int channel;

	int error = slot_take(generation, &worker->slot);
	if (error < 0)
		return error;
	pid_t pid = helper_process_fork(&channel);
	if (pid == 0)
		worker_process_run(worker, channel);
	if (pid < 0) {
		slot_give(generation, worker->slot);
		return pid;
	}
	worker->pid = pid;
	worker->ready = worker->accused = false;
	worker->held = worker->asked = worker->reported = 0;
	worker->started_us = clock_monotonic_us();
	generation->n_running++;
	error = loop_watch(generation->loop, &worker->channel, channel, EPOLLIN | EPOLLOUT | EPOLLET);
	if (error == 0)
		outbox_init(&worker->outbox, generation->loop, channel, worker_process_told);
	else
		fd_close(channel); /* the worker takes it for the master's death and ends */
	return error;
}

static void worker_process_back_off(struct worker_process *worker)
{
	struct loop *loop = worker->generation->loop;
	uint64_t wait_us = 0;

	if (worker->quick_deaths > 1)
		wait_us = back_off_us(BACK_OFF_FIRST_US, BACK_OFF_MOST_US, worker->quick_deaths - 2);
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

void worker_process_init(struct worker_process *worker, struct generation *generation, unsigned number)
{
	*worker = (struct worker_process){
		.generation = generation,
		.number = number,
		.channel = { .fd = -1, .ready = worker_process_receive },
		.restart = { .fired = worker_process_restart },
		.again = { .run = worker_process_receive_again },
		.gone = { .fired = worker_process_stays },
	};
	outbox_init(&worker->outbox, generation->loop, -1, worker_process_told);
}

int worker_process_adopt(struct worker_process *worker, const struct takeover *takeover, size_t number)
{
	const struct takeover_worker *from = &takeover->workers[number];
	struct generation *generation = worker->generation;

	worker->pid = from->pid;
	worker->slot = from->slot;
	worker->ready = true;
	worker->started_us = clock_monotonic_us();
	generation->slots[from->slot] = true;
	int error = loop_watch(generation->loop, &worker->channel, from->channel, EPOLLIN | EPOLLOUT | EPOLLET);
	if (error == 0)
		outbox_init(&worker->outbox, generation->loop, from->channel, worker_process_told);
	return error;
}

void worker_process_fini(struct worker_process *worker)
{
	struct loop *loop = worker->generation->loop;

	loop_timer_stop(loop, &worker->restart);
	loop_timer_stop(loop, &worker->gone);
	loop_cancel(loop, &worker->again);
	outbox_close(&worker->outbox);
	fd_close(loop_unwatch(loop, &worker->channel));
}

static void worker_process_log_end(const struct worker_process *worker, int status)
{
	const struct generation *generation = worker->generation;
	char place[512] = "";
	uint32_t running = atomic_load(&generation->shared->page->slots[worker->slot].running);
	const char *in = policy_module_running(generation->policy, running, place, sizeof(place)) ? " in " : "";
	char how[128];

	if (status == 0)
		return;
	sandbox_describe_end(how, sizeof(how), status, &generation->shared->page->slots[worker->slot].refused);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
		(generation->state == GENERATION_KILLED || worker->accused))
		log_debug("worker %d was ended", worker->pid);
	else
		log_error("worker %d %s%s%s", worker->pid, how, in, place);
}

void worker_process_died(struct worker_process *worker, int status)
{
	struct generation *generation = worker->generation;
	uint64_t lived_us = clock_monotonic_us() - worker->started_us;

	/* What it said before it went, above all that it was ready. */
	worker_process_receive_some(worker);
	loop_timer_stop(generation->loop, &worker->gone);
	loop_cancel(generation->loop, &worker->again);
	worker_process_log_end(worker, status);
	outbox_close(&worker->outbox);
	if (worker->channel.fd >= 0)
		channel_empty(worker->channel.fd);
	fd_close(loop_unwatch(generation->loop, &worker->channel));
	slot_give(generation, worker->slot);
	worker->pid = 0;
	generation->n_running--;
	if (worker->ready)
		generation->n_ready--;
	if (generation->state == GENERATION_STARTING) {
		generation->failed(generation);
	} else if (generation->connection >= 0) {
		generation->state = GENERATION_RETIRING; /* its one connection is over */
	} else if (generation->state == GENERATION_SERVING && !generation_is_adopted(generation)) {
		worker->quick_deaths = lived_us < QUICK_DEATH_US ? worker->quick_deaths + 1 : 1;
		worker_process_back_off(worker);
	}
}
