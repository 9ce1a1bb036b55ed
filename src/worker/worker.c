/* A worker's process: its loop, its listeners, its line to the master. Everything that it will ever need it has from birth:
 * after worker_run() has given up its privileges it opens nothing but sockets. */
#include "worker.h"
#include "admission.h"
#include "backends.h"
#include "backends_down.h"
#include "counters.h"
#include "datagrams.h"
#include "evidence_kept.h"
#include "failure.h"
#include "fd.h"
#include "identify.h"
#include "listener.h"
#include "log.h"
#include "lookup.h"
#include "message.h"
#include "migrant.h"
#include "migration_receive.h"
#include "migration_send.h"
#include "module.h"
#include "process.h"
#include "receivers.h"
#include "relay_pool.h"
#include "requester.h"
#include "sandbox.h"
#include "session_report.h"
#include "starter.h"
#include "stream.h"
#include "stream_pace.h"
#include "supplier.h"
#include "transport_migration.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct worker {
	struct context context;
	struct watch channel; /* to the master */
	struct outbox outbox;
	struct requester requester;
	struct supplier *supplier, *datagram_supplier; /* as the context's pools of sockets, which are theirs */

	struct listener *listeners;
	size_t n_listeners;
	bool receives; /* the sockets of datagrams are its own, but for those from which flows may yet come */
	uint64_t hold; /* the number of a MESSAGE_HOLD that is not answered yet; 0: none */
	struct timer hold_limit; /* while paused */
};

static const struct transport *const transports[TRANSPORT_COUNT] = {
	[TRANSPORT_STREAM] = &stream_transport,
	[TRANSPORT_DATAGRAM] = &flow_transport,
};

static struct worker *worker_of(struct context *context)
{
	return container_of(context, struct worker, context);
}

static void worker_end_if_done(struct worker *worker)
{
	const struct context *context = &worker->context;

	if (context->state != WORKER_SERVING && context->n_sessions == 0 && !context->receiver &&
		(context->state == WORKER_STOPPING || !migration_send_is_under_way(context->sender)))
		loop_stop(&worker->context.loop);
}

/* ---- what sessions tell it ------------------------------------------------------------------------------------------ */

static void worker_session_gone(struct context *context)
{
	worker_end_if_done(worker_of(context));
}

static void worker_starved(struct context *context)
{
	struct worker *worker = worker_of(context);

	for (size_t i = 0; i < worker->n_listeners; i++)
		listener_starved(&worker->listeners[i]);
}

static void worker_receive_datagrams(struct worker *worker)
{
	const struct context *context = &worker->context;

	if (context->datagrams && worker->receives && !context->is_paused && !context->sender &&
		!migration_receive_awaits_flows(context))
		datagrams_resume(context->datagrams);
}

static void worker_flows_moved(struct context *context)
{
	worker_receive_datagrams(worker_of(context));
	migration_send_wake(context->sender); /* which passes them on */
}

static void worker_flows_over(struct context *context)
{
	if (context->datagrams)
		datagrams_close(context->datagrams);
}

static void worker_session_movable(struct context *context)
{
	migration_send_wake(context->sender);
}

/* ---- its states ------------------------------------------------------------------------------------------------------ */

static void worker_unpause(struct worker *worker)
{
	worker->context.is_paused = false;
	worker->hold = 0;
	loop_timer_stop(&worker->context.loop, &worker->hold_limit);
}

/* Nobody waits for those who are only kept waiting. */
static void worker_end_tarpit(struct worker *worker)
{
	for (struct session *session = session_first(&worker->context); session; session = session_next(session))
		if (session->phase == PHASE_TARPIT)
			session->transport->stop(session, END_SHUTDOWN);
}

static void worker_drain(struct worker *worker)
{
	if (worker->context.is_paused) { /* no MESSAGE_RESUME will come */
		worker_unpause(worker);
		session_look_again(&worker->context);
	}
	if (worker->context.state == WORKER_SERVING)
		worker->context.state = WORKER_DRAINING;
	for (size_t i = 0; i < worker->n_listeners; i++)
		listener_stop(&worker->listeners[i]);
	worker->n_listeners = 0;
	if (worker->context.datagrams)
		datagrams_drain(worker->context.datagrams);
	worker_end_tarpit(worker);
	worker_end_if_done(worker);
}

static void worker_stop(struct worker *worker)
{
	worker->context.state = WORKER_STOPPING;
	worker_drain(worker);
	for (struct session *session = session_first(&worker->context); session; session = session_next(session))
		session->transport->stop(session, END_SHUTDOWN);
}

/* ---- the line to the master ---------------------------------------------------------------------------------------- */

/* The master is gone: nobody replaces us, nobody runs programs. Let others have the port; serve what there is. Flows end, whose answers only
 * a socket on the port could send: nobody else could bind it. */
static void worker_orphaned(struct worker *worker)
{
	outbox_close(&worker->outbox);
	fd_close(loop_unwatch(&worker->context.loop, &worker->channel));
	requester_orphaned(&worker->requester);
	socket_pool_end(worker->context.sockets);
	socket_pool_end(worker->context.datagram_sockets);
	admission_orphaned(&worker->context);
	worker_flows_over(&worker->context);
	worker_drain(worker);
}

/* The next generation serves: all goes there, when all its workers are known. Who is undecided is looked at again once it is known who
 * cannot. */
static void worker_migrate(struct worker *worker, int *channel, const struct message_peer *peer)
{
	migration_send_add(&worker->context, *channel, peer->slot);
	*channel = -1;
	if (peer->more)
		return;
	worker_unpause(worker);
	bool moves = migration_send_begin(&worker->context) == 0;
	if (worker->context.datagrams)
		datagrams_hold(worker->context.datagrams);
	worker_drain(worker);
	if (!moves) {
		session_look_again(&worker->context);
		worker_flows_over(&worker->context);
	}
}

/* If the word to go on is lost, the worker goes on by itself; the timer is there before anything is held. */
static void worker_pause(struct worker *worker, uint64_t number, uint64_t most_us)
{
	struct loop *loop = &worker->context.loop;

	if (loop_timer(loop, &worker->hold_limit, loop->now_us + most_us) < 0)
		return; /* without an answer the master gives up */
	worker->context.is_paused = true;
	worker->hold = number;
	for (size_t i = 0; i < worker->n_listeners; i++)
		listener_hold(&worker->listeners[i]);
	if (worker->context.datagrams)
		datagrams_hold(worker->context.datagrams);
}

/* Once nothing here waits for an answer of the master's. */
static void worker_tell_paused(struct worker *worker)
{
	const struct message held = { .kind = MESSAGE_HELD, .number = worker->hold };

	if (worker->hold == 0 || worker->context.asking || requester_waits(&worker->requester))
		return;
	if (outbox_send(&worker->outbox, &held, NULL, 0) == 0)
		worker->hold = 0;
}

/* The master's next image reads requests only once it has compiled its configuration, which has taken no longer than upgrade_timeout
 * in the trial. Where there is none, what was asked is answered as ever, or has failed in its time. */
static void worker_resume(struct worker *worker, bool by_another)
{
	if (!worker->context.is_paused)
		return;
	worker_unpause(worker);
	if (by_another)
		requester_extend(&worker->requester, worker->context.policy->upgrade_timeout_us);
	for (size_t i = 0; i < worker->n_listeners; i++)
		listener_resume(&worker->listeners[i]);
	worker_receive_datagrams(worker);
	session_look_again(&worker->context);
}

static void worker_held_too_long(struct timer *timer)
{
	log_warning("a worker was told to pause and not to go on: it goes on");
	worker_resume(container_of(timer, struct worker, hold_limit), true);
}

static void worker_begin_to_receive(struct worker *worker)
{
	worker->receives = true;
	worker_receive_datagrams(worker);
}

static void worker_adopt_from(struct worker *worker, int *channel, unsigned from)
{
	if (*channel >= 0)
		migration_receive_begin(&worker->context, *channel, from);
	*channel = -1;
}

/* Where it is lost, its client does not wait for an answer; the next one asks again. */
static int worker_ask_anew(void *context, uint32_t name)
{
	struct worker *worker = context;
	const struct message message = { .kind = MESSAGE_ASK_ANEW, .ask_anew = { .name = name } };
	return outbox_send(&worker->outbox, &message, NULL, 0);
}

static int worker_find_name(void *context, const char *name, uint64_t source)
{
	struct worker *worker = context;
	struct message message = { .kind = MESSAGE_FIND_NAME, .find_name = { .source = source } };

	snprintf(message.find_name.name, sizeof(message.find_name.name), "%s", name);
	return outbox_send(&worker->outbox, &message, NULL, 0);
}

static const struct lookup_calls lookup_calls = { .ask = worker_ask_anew, .ask_for = worker_find_name };

/* A report that cannot be answered is missed by the master, which says so. */
static void worker_report(struct worker *worker, const struct message *request, int fd)
{
	const struct message answer = {
		.kind = MESSAGE_REPORTED,
		.number = request->number,
		.reported = { .error = session_report(&worker->context, &request->report, fd) },
	};
	outbox_send(&worker->outbox, &answer, NULL, 0);
}

static void worker_hear(struct worker *worker, struct message *message, struct ipc_fds *fds)
{
	switch (message->kind) {
	case MESSAGE_ANSWER:
		if (fds->lost)
			message->answer.error = -EMFILE; /* what was asked for was done, but did not fit in here */
		requester_answer(&worker->requester, message->number, &message->answer, fds->fd);
		break;
	case MESSAGE_VERDICT:
		admission_answered(&worker->context, message->number, message->verdict.admits);
		break;
	case MESSAGE_EXITED:
		identifiers_exited(worker->context.identifiers, message->number, message->exited.status);
		break;
	case MESSAGE_LOG:
		log_set_level((enum log_level)message->log.level);
		break;
	case MESSAGE_REPORT:
		worker_report(worker, message, fds->fd[0]);
		break;
	case MESSAGE_HOLD:
		worker_pause(worker, message->number, message->hold.most_us);
		break;
	case MESSAGE_RESUME:
		worker_resume(worker, message->resume.by_another);
		break;
	case MESSAGE_RECEIVE:
		worker_begin_to_receive(worker);
		break;
	case MESSAGE_MIGRATE:
		worker_migrate(worker, &fds->fd[0], &message->peer);
		break;
	case MESSAGE_ADOPT:
		worker_adopt_from(worker, &fds->fd[0], message->peer.slot);
		break;
	case MESSAGE_DRAIN:
		if (worker->context.datagrams)
			datagrams_finish(worker->context.datagrams);
		worker_drain(worker);
		break;
	case MESSAGE_STOP:
		worker_stop(worker);
		break;
	default:
		break;
	}
}

static void worker_receive(struct worker *worker)
{
	while (worker->channel.fd >= 0) {
		worker_tell_paused(worker);
		struct message message;
		struct ipc_fds fds;
		int n = message_receive(worker->channel.fd, false, &message, &fds);
		if (n == -EAGAIN)
			return;
		if (n == -EBADMSG)
			log_error("the master says what no master says: the worker leaves it");
		if (n <= 0) {
			worker_orphaned(worker);
			return;
		}
		worker_hear(worker, &message, &fds);
		ipc_close_fds(&fds);
	}
}

static void worker_channel_ready(struct watch *watch, uint32_t events)
{
	struct worker *worker = container_of(watch, struct worker, channel);
	if (events & EPOLLOUT)
		outbox_flush(&worker->outbox);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		worker_receive(worker);
}

/* ---- birth --------------------------------------------------------------------------------------------------------- */

/* The terminal's signals go to the whole group; what ends a worker is the master's word. */
static void worker_set_signals(bool may_be_left)
{
	const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGCHLD };
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	if (may_be_left)
		signal(SIGTERM, SIG_DFL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Those of whoever started usher, who may be at a terminal: past the logger's filter a worker writes to nobody. What the C library says
 * before it ends the process is a line of the log. */
static void worker_take_stdio(int log_fd)
{
	int saved = log_fd == STDERR_FILENO || sandbox_has_holes() ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3) : -1;

	process_silence();
	dup2(saved >= 0 ? saved : log_fd, STDERR_FILENO);
	fd_close(saved);
}

static int worker_close_others(const struct worker_start *start)
{
	size_t n = 0;
	int *keep = calloc(start->n_listening + 3, sizeof(*keep));

	if (!keep)
		return -ENOMEM;
	keep[n++] = start->channel;
	keep[n++] = start->log_fd;
	if (start->connection >= 0)
		keep[n++] = start->connection;
	for (size_t i = 0; i < start->n_listening; i++)
		keep[n++] = start->listening[i].fd;
	process_keep_only(keep, n);
	free(keep);
	return 0;
}

static int scratch_fit(struct decider_scratch *scratch, const struct policy *policy)
{
	int error = 0;

	for (size_t i = 0; i < policy->n_listeners && error == 0; i++) {
		error = decider_scratch_fit(scratch, policy->deciders[i]);
		for (int kind = 0; kind < SERVER_BANNER_KINDS && error == 0; kind++)
			if (policy->listeners[i].banner_deciders[kind])
				error = decider_scratch_fit(scratch, policy->listeners[i].banner_deciders[kind]);
		for (int kind = 0; kind < STARTTLS_KINDS && error == 0; kind++)
			if (policy->listeners[i].starttls_deciders[kind])
				error = decider_scratch_fit(scratch, policy->listeners[i].starttls_deciders[kind]);
	}
	return error;
}

static int worker_init(struct worker *worker, const struct worker_start *start, struct shared *shared)
{
	*worker = (struct worker){
		.context = {
			.policy = start->policy,
			.shared = shared,
			.slot = start->slot,
			.transports = transports,
			.master = getppid(),
			.undecided = undecided_registry_new(),
			.tarpit = undecided_registry_new(),
			.evidence = start->policy->keep_evidence ? evidence_kept_new() : NULL,
			.service_counters =
				calloc(start->policy->n_services + 1, sizeof(*worker->context.service_counters)),
			.service_measures =
				calloc(start->policy->n_services + 1, sizeof(*worker->context.service_measures)),
			.choosers = calloc(start->policy->n_services * TRANSPORT_COUNT + 1,
				sizeof(*worker->context.choosers)),
			.starters = calloc(start->policy->n_services + 1, sizeof(*worker->context.starters)),
			.pace_lines = calloc(start->policy->n_services * 2 + 1, sizeof(*worker->context.pace_lines)),
			.findings = calloc(1, sizeof(*worker->context.findings)),
			.scratch = decider_scratch_new(),
			.peeked = malloc(EVIDENCE_MAX),
			.relay_pool = relay_pool_new(),
			.starved = worker_starved,
			.session_gone = worker_session_gone,
			.session_movable = worker_session_movable,
			.flows_moved = worker_flows_moved,
			.flows_over = worker_flows_over,
		},
		.channel = { .fd = -1, .ready = worker_channel_ready },
		.hold_limit = { .fired = worker_held_too_long },
		.listeners = calloc(start->n_listening + 1, sizeof(*worker->listeners)),
	};
	struct context *context = &worker->context;
	context->requester = &worker->requester;
	capacity_of(start->policy, &context->capacity);
	log_count_dropped(&counter_get(context->shared->counters, context->slot, COUNTER_LIMIT, "log_queue")->total);
	outbox_init(&worker->outbox, &context->loop, start->channel, NULL);
	requester_init(&worker->requester, &context->loop, &worker->outbox);
	if (!context->relay_pool || !context->findings || !context->scratch || !context->peeked ||
		!worker->listeners || !context->service_counters || !context->service_measures ||
		!context->choosers || !context->undecided || !context->tarpit || !context->pace_lines ||
		!context->starters || (start->policy->keep_evidence && !context->evidence))
		return -ENOMEM;
	int error = scratch_fit(context->scratch, start->policy);
	if (error == 0)
		error = loop_init(&context->loop);
	if (error == 0)
		error = loop_watch(&context->loop, &worker->channel, start->channel, EPOLLIN | EPOLLOUT | EPOLLET);
	if (error == 0)
		error = receivers_new(&context->receivers, &context->loop, &worker->requester, start->policy);
	if (error == 0)
		backends_down_watch(context);
	context->lookup = lookup_new(start->resolved, &lookup_calls, worker);
	if (!context->lookup)
		error = -ENOMEM;
	if (error == 0 && start->policy->transparent) {
		worker->supplier = supplier_new(&worker->requester, SOCK_STREAM);
		context->sockets = supplier_pool(worker->supplier);
		error = worker->supplier ? 0 : -ENOMEM;
	}
	if (error == 0 && start->policy->transparent && policy_has_transport(start->policy, TRANSPORT_DATAGRAM)) {
		worker->datagram_supplier = supplier_new(&worker->requester, SOCK_DGRAM);
		context->datagram_sockets = supplier_pool(worker->datagram_supplier);
		error = worker->datagram_supplier ? 0 : -ENOMEM;
	}
	if (error == 0 && start->policy->n_identifiers)
		error = identifiers_new(&context->identifiers, &context->loop, &worker->requester, start->policy);
	return error;
}

static void log_module(const char *path, enum usher_level level, const char *text)
{
	static const enum log_level levels[] = {
		[USHER_ERROR] = LEVEL_ERROR,
		[USHER_WARNING] = LEVEL_WARNING,
		[USHER_NOTICE] = LEVEL_NOTICE,
		[USHER_INFO] = LEVEL_INFO,
		[USHER_DEBUG] = LEVEL_DEBUG,
	};
	log_message(levels[level], "module %s: %s", path, text);
}

/* With the privileges gone: what a module does when it is loaded it does as a worker. */
static int worker_bind_modules(struct worker *worker)
{
	const struct policy *policy = worker->context.policy;
	char why[MODULE_ERROR_MAX];

	module_set_hooks(&(struct module_hooks){
		.log = log_module, .running = &worker->context.shared->page->slots[worker->context.slot].running });
	int error = module_bind(policy->modules, policy->n_modules, why, sizeof(why));
	if (error < 0)
		log_error("%s", why);
	return error;
}

static int worker_listen_for_datagrams(struct worker *worker, const struct listening *listening)
{
	struct context *context = &worker->context;
	int error = context->datagrams ? 0 : datagrams_new(context, &context->datagrams);

	return error < 0 ? error
			 : datagrams_listen(context->datagrams, listening->fd, listening->listener, listening->place);
}

static int worker_listen(struct worker *worker, const struct worker_start *start)
{
	for (size_t i = 0; i < start->n_listening; i++) {
		const struct listening *listening = &start->listening[i];
		const struct listener_policy *policy = &start->policy->listeners[listening->listener];
		if (policy->transport == TRANSPORT_DATAGRAM) {
			int error = worker_listen_for_datagrams(worker, listening);
			if (error < 0)
				return error;
			continue;
		}
		struct listener *listener = &worker->listeners[worker->n_listeners];
		*listener = (struct listener){
			.context = &worker->context,
			.policy = policy,
			.number = listening->listener,
			.fd = listening->fd,
		};
		int error = listener_start(listener);
		if (error < 0)
			return error;
		worker->n_listeners++;
	}
	worker->receives = !start->awaits_receive;
	worker_receive_datagrams(worker);
	return 0;
}

/* The one connection of inetd: whoever made it may be anything that reads and writes like a socket. */
static void worker_adopt(struct worker *worker, int fd)
{
	struct address client = { .len = sizeof(client.un) };
	if (getpeername(fd, &client.sa, &client.len) < 0)
		client.len = 0;
	fd_set_nonblocking(fd, true);
	stream_adopt(&worker->context, fd, &client);
	worker_drain(worker);
}

static void worker_fini(struct worker *worker)
{
	for (size_t i = 0; i < worker->n_listeners; i++)
		listener_stop(&worker->listeners[i]);
	session_free_spare(&worker->context.spare_streams);
	datagrams_free(worker->context.datagrams);
	migration_send_free(worker->context.sender);
	migration_receive_end_all(&worker->context);
	identifiers_free(worker->context.identifiers);
	receivers_free(worker->context.receivers);
	free(worker->listeners);
	undecided_registry_free(worker->context.undecided);
	undecided_registry_free(worker->context.tarpit);
	free(worker->context.service_counters);
	free(worker->context.service_measures);
	evidence_kept_free(worker->context.evidence);
	free(worker->context.peeked);
	free(worker->context.findings);
	decider_scratch_free(worker->context.scratch);
	backends_free(&worker->context);
	stream_paces_free(&worker->context);
	starters_free(&worker->context);
	lookup_free(worker->context.lookup);
	supplier_free(worker->supplier);
	supplier_free(worker->datagram_supplier);
	outbox_close(&worker->outbox);
	relay_pool_free(worker->context.relay_pool);
	string_pool_fini(&worker->context.strings);
	fd_close(loop_unwatch(&worker->context.loop, &worker->channel));
	loop_fini(&worker->context.loop);
}

void worker_migration_format(char *to, size_t size)
{
	size_t len = (size_t)snprintf(to, size, "%d.%zu", MIGRANT_FORMAT, sizeof(struct migrant));

	for (size_t i = 0; i < TRANSPORT_COUNT && len < size; i++)
		if (transports[i] && transports[i]->migration)
			len += (size_t)snprintf(to + len, size - len, ".%s %zu", transports[i]->name,
				transports[i]->migration->head_size);
}

int worker_run(const struct worker_start *start)
{
	const struct policy *policy = start->policy;
	struct worker worker = { 0 };
	struct shared shared = NO_SHARED;

	worker_set_signals(start->may_be_left);
	process_rename("worker");
	worker_take_stdio(start->log_fd);
	int error = start->resolved ? resolved_read_only(start->resolved) : 0; /* before its descriptor is closed */
	if (error == 0)
		error = shared_view(start->shared, start->slot, &shared);
	if (error == 0)
		error = worker_close_others(start);
	if (error == 0)
		error = policy_revive(policy);
	if (error == 0)
		error = worker_init(&worker, start, &shared);
	if (error == 0)
		error = process_drop_privileges(policy->drop_identity, policy->uid, policy->gid);
	if (error == 0)
		error = worker_bind_modules(&worker);
	if (error == 0)
		error = worker_listen(&worker, start);
	if (error == 0)
		error = sandbox_enter_worker(policy, &shared.page->slots[worker.context.slot].refused);
	if (error < 0) {
		log_error("a worker cannot start: %s", failure_text(error));
		return 1;
	}

	/* One that cannot say so even later would be waited for in vain. */
	error = outbox_send(&worker.outbox, &(struct message){ .kind = MESSAGE_READY }, NULL, 0);
	if (error < 0 && error != -EPIPE) {
		log_error("a worker cannot start: %s", strerrordesc_np(-error));
		return 1;
	}
	if (start->connection >= 0)
		worker_adopt(&worker, start->connection);
	error = loop_run(&worker.context.loop);
	if (error < 0)
		log_error("a worker's event loop failed: %s", strerrordesc_np(-error));
	worker_fini(&worker);
	shared_close(&shared);
	return error < 0;
}
