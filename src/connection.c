/* A connection's journey: accepted, examined, decided, delivered, ended. Data goes one way; two calls come back up: "decided"
 * and "delivered". Nothing is consumed before delivery: the bytes are peeked, and whoever gets the socket reads them.
 *
 * A connection is made in connection_new() and ends in connection_end(), once, with a reason, a log line and its memory
 * given back after the loop's turn. It owns its client's socket, through the relay's watch, from accept to the end. */
#include "connection.h"
#include "account.h"
#include "decider.h"
#include "examine.h"
#include "fd.h"
#include "greeting.h"
#include "identify.h"
#include "ipc.h"
#include "listener.h"
#include "log.h"
#include "message.h"
#include "proxied.h"
#include "receivers.h"
#include "worker.h"
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define RECEIVER_RETRY_US 50000

static void connection_header_failed(struct connection *connection, const char *how);
static void connection_examine(struct connection *connection, bool last);
static void connection_decided(struct connection *connection, uint32_t service, uint32_t protocol);
static void connection_enter(struct connection *connection);
static void connection_deliver(struct connection *connection);
static void connection_end(struct connection *connection, enum connection_end end);

/* ---- accepted ---------------------------------------------------------------------------------------------------- */

static void connection_client_ready(struct watch *watch, uint32_t events);
static void connection_out_of_time(struct timer *timer);
static void connection_bury(struct task *task);

static struct connection *connection_alloc(struct worker *worker)
{
	struct connection *connection = worker->spare;
	if (connection)
		worker->spare = connection->next;
	else
		connection = malloc(sizeof(*connection));
	if (!connection)
		return NULL;
	memset(connection, 0, sizeof(*connection));
	connection->worker = worker;
	connection->next = worker->connections;
	if (connection->next)
		connection->next->previous = connection;
	worker->connections = connection;
	worker->n_connections++;
	return connection;
}

/* Of the phase, and counted from accept in each. */
static int connection_start_deadline(struct connection *connection)
{
	const struct policy *policy = connection->worker->policy;
	uint64_t patience_us = policy->decide_timeout_us; /* 0: wait for ever */

	if (connection->phase == PHASE_PROXIED)
		patience_us = PROXIED_DEADLINE_US;
	else if (policy->listeners[connection->decider].banner_service != SERVICE_NONE)
		patience_us = policy->banner_timeout_us;
	loop_timer_stop(&connection->worker->loop, &connection->deadline);
	return patience_us
		? loop_timer(&connection->worker->loop, &connection->deadline, connection->accepted_us + patience_us)
		: 0;
}

static void connection_begin(struct connection *connection, int fd)
{
	struct worker *worker = connection->worker;
	enum proxied_by by = proxied_by(&worker->policy->listeners[connection->decider], &connection->client);
	struct relay *relay = &connection->relay;

	connection->id = atomic_fetch_add_explicit(&worker->shared->next_connection, 1, memory_order_relaxed);
	connection->accepted_us = worker->loop.now_us;
	connection->service = SERVICE_NONE;
	connection->protocol = connection->named = PROTOCOL_NONE;
	connection->ticket = (struct limits_ticket){ LIMITS_NONE, LIMITS_NONE };
	connection->deadline = (struct timer){ .fired = connection_out_of_time };
	connection->burial = (struct task){ .run = connection_bury };
	relay->client.kind = SIDE_SOCKET;
	relay->client.in = (struct watch){ .fd = -1, .ready = connection_client_ready };
	relay->client.out.fd = relay->server.in.fd = relay->server.out.fd = -1;

	connection->phase = by == PROXIED_BY_TRUSTED ? PHASE_PROXIED : PHASE_DECIDING;
	if (loop_watch(&worker->loop, &relay->client.in, fd, RELAY_EVENTS) < 0) {
		fd_reset(fd);
		connection_end(connection, END_NO_MEMORY);
	} else if (by == PROXIED_BY_STRANGER) {
		connection_header_failed(connection, "source");
	} else if (connection_start_deadline(connection) < 0) {
		connection_end(connection, END_NO_MEMORY);
	}
}

void connection_new(struct worker *worker, const struct listener *listener, int fd, const struct address *client,
	uint32_t listener_place)
{
	struct connection *connection = connection_alloc(worker);
	if (!connection) {
		limits_leave_listener(worker->shared->limits, worker->slot, &listener_place);
		limits_leave_all(worker->shared->limits, worker->slot);
		fd_reset(fd);
		return;
	}
	connection->client = *client;
	connection->listener = listener->policy->text;
	connection->decider = listener->number;
	connection->listener_place = listener_place;
	account_accepted(connection, listener);
	connection_begin(connection, fd);
}

void connection_adopt(struct worker *worker, int fd, const struct address *client)
{
	struct connection *connection = connection_alloc(worker);
	if (!connection) {
		fd_reset(fd);
		return;
	}
	connection->client = *client;
	connection->listener = "inetd";
	connection->listener_place = LIMITS_NONE;
	limits_enter_all(worker->shared->limits, worker->slot, 0);
	connection_begin(connection, fd);
}

/* ---- announced by a proxy ------------------------------------------------------------------------------------------- */

static void connection_header_failed(struct connection *connection, const char *how)
{
	connection->refused = how;
	connection_end(connection, END_PROXY_HEADER);
}

/* The header is gone from the socket: from here on it is a connection like any other, of the client that was named. */
static void connection_announced(struct connection *connection)
{
	connection->phase = PHASE_DECIDING;
	if (connection_start_deadline(connection) < 0)
		connection_end(connection, END_NO_MEMORY);
	else
		connection_examine(connection, false);
}

static void connection_take_header(struct connection *connection)
{
	switch (proxied_take(connection)) {
	case PROXIED_WAIT:
		break;
	case PROXIED_TAKEN:
		connection_announced(connection);
		break;
	case PROXIED_BROKEN:
		connection_end(connection, END_PROXY_HEADER);
		break;
	case PROXIED_GONE:
		connection_end(connection, END_CLIENT_GONE);
		break;
	case PROXIED_RESET:
		connection_end(connection, END_CLIENT_RESET);
		break;
	case PROXIED_NO_MEMORY:
		connection_end(connection, END_NO_MEMORY);
		break;
	}
}

/* ---- examined ---------------------------------------------------------------------------------------------------- */

/* A name that no service has, where services are asked for by name: HELP, or no. */
static bool connection_answer_tcpmux(struct connection *connection)
{
	const struct policy *policy = connection->worker->policy;
	const struct listener_policy *listener = &policy->listeners[connection->decider];
	const struct finding *name = &connection->worker->findings->attribute[ATTRIBUTE_SERVICE];
	int fd = connection_socket(connection);

	if (!greeting_is_spoken(policy) || !name->count)
		return false;
	bool help = name->value[0].len == 4 && memcmp(name->value[0].at, "help", 4) == 0;
	if ((!help && listener->on_unknown != SERVICE_NONE) || greeting_take_line(fd) < 0)
		return false;
	if (help)
		greeting_help(fd, policy);
	else
		greeting_refuse(fd, "no such service");
	return true;
}

static uint64_t connection_decide_due_us(const struct connection *connection)
{
	uint64_t decide_us = connection->worker->policy->decide_timeout_us; /* 0: wait for ever */
	return decide_us ? connection->accepted_us + decide_us : UINT64_MAX;
}

/* From the first bytes on, what is searched for in them may take so long. */
static void connection_limit_search(struct connection *connection)
{
	struct loop *loop = &connection->worker->loop;
	uint64_t search_us = connection->worker->policy->search_timeout_us;

	if (connection->search != SEARCH_DUE || !search_us)
		return;
	connection->search = SEARCH_ON;
	if (loop->now_us + search_us >= connection_decide_due_us(connection) ||
		loop_timer(loop, &connection->deadline, loop->now_us + search_us) < 0)
		connection->search = SEARCH_NONE; /* the deadline comes first */
}

/* False: it was the deadline of the decision. */
static bool connection_search_ends(struct connection *connection)
{
	uint64_t due_us = connection_decide_due_us(connection);

	if (connection->search != SEARCH_ON)
		return false;
	connection->search = SEARCH_OVER;
	if (due_us != UINT64_MAX)
		loop_timer(&connection->worker->loop, &connection->deadline, due_us);
	return true;
}

/* What an answer to a banner can mean. Whatever is nobody else's is for who said it. */
static void connection_examine_answer(struct connection *connection, bool last)
{
	uint32_t service, protocol;

	switch (examine(connection, last, &service, &protocol)) {
	case EXAMINED_WAIT:
		break;
	case EXAMINED_SERVICE:
		if (service == connection->banner->service) {
			connection->protocol = protocol;
			connection_stay(connection);
			break;
		}
		connection->skips_banner = true;
		connection->skipped = connection->banner->kind;
		connection_decided(connection, service, protocol);
		break;
	case EXAMINED_UNKNOWN:
	case EXAMINED_SILENT:
	case EXAMINED_GONE:
		connection_stay(connection);
		break;
	case EXAMINED_RESET:
		connection_end(connection, END_CLIENT_RESET);
		break;
	}
}

void connection_bannered(struct connection *connection)
{
	connection_examine_answer(connection, false);
}

/* Looks at what has come. `last`: the deadline is here. */
static void connection_examine(struct connection *connection, bool last)
{
	const struct listener_policy *listener = &connection->worker->policy->listeners[connection->decider];
	uint32_t service, protocol;

	if (connection->banner && connection->banner->shown) {
		if (connection->banner->known)
			connection_examine_answer(connection, last);
		else if (last)
			connection_stay(connection);
		return;
	}
	switch (examine(connection, last, &service, &protocol)) {
	case EXAMINED_WAIT:
		connection_limit_search(connection);
		break;
	case EXAMINED_SERVICE:
		connection_decided(connection, service, protocol);
		break;
	case EXAMINED_UNKNOWN:
		if (connection_answer_tcpmux(connection))
			connection_end(connection, END_NO_SERVICE);
		else
			connection_decided(connection, listener->on_unknown, PROTOCOL_NONE);
		break;
	case EXAMINED_SILENT:
		connection_decided(connection, listener->on_silence, PROTOCOL_NONE);
		break;
	case EXAMINED_GONE:
		connection_end(connection, END_CLIENT_GONE);
		break;
	case EXAMINED_RESET:
		connection_end(connection, END_CLIENT_RESET);
		break;
	}
}

/* An identifier was asked; whatever it said, the evidence is looked at once more. */
void connection_identified(void *context, uint32_t protocol, bool more_could_help)
{
	struct connection *connection = context;

	connection->identification = NULL;
	connection->named = protocol;
	if (!more_could_help)
		connection->asked = UINT32_MAX;
	connection_examine(connection, false);
}

/* Until the relay takes the watch over. Unread bytes do not wake us again: only new ones do. */
static void connection_client_ready(struct watch *watch, uint32_t events)
{
	struct connection *connection = container_of(watch, struct connection, relay.client.in);
	bool lost = events & (EPOLLERR | EPOLLHUP);

	bool readable = events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR);

	connection->client_events |= events;
	if (connection->phase == PHASE_PROXIED) {
		if (readable)
			connection_take_header(connection);
	} else if (connection->phase == PHASE_DECIDING) {
		if (readable)
			connection_examine(connection, false);
	} else if (connection->phase == PHASE_CONNECTING && lost) {
		connection_end(connection, END_CLIENT_RESET);
	}
}

static void connection_delivery_failed(struct connection *connection, int error);
static void connection_handing_timer(struct connection *connection);

/* Time to show a silent client a banner, or for good. */
static void connection_deciding_timer(struct connection *connection)
{
	const struct worker *worker = connection->worker;
	uint64_t decide_us = worker->policy->decide_timeout_us;
	uint8_t byte;

	if (connection_search_ends(connection)) {
		connection_examine(connection, false);
		return;
	}
	if (connection->was_silent || worker->policy->listeners[connection->decider].banner_service == SERVICE_NONE) {
		connection_examine(connection, true);
		return;
	}
	connection->was_silent = true;
	if (decide_us)
		loop_timer(&connection->worker->loop, &connection->deadline, connection->accepted_us + decide_us);
	if (recv(connection_socket(connection), &byte, 1, MSG_PEEK) < 0)
		banner_begin(connection);
}

static void connection_out_of_time(struct timer *timer)
{
	struct connection *connection = container_of(timer, struct connection, deadline);
	switch (connection->phase) {
	case PHASE_PROXIED:
		connection_header_failed(connection, "late");
		break;
	case PHASE_DECIDING:
		connection_deciding_timer(connection);
		break;
	case PHASE_CONNECTING:
		dial_cancel(&connection->dial);
		connection_delivery_failed(connection, -ETIMEDOUT);
		break;
	case PHASE_HANDING_OVER:
		connection_handing_timer(connection);
		break;
	default:
		break;
	}
}

/* The answer that TCPMUX demands: what is wrong, or with NULL nothing. */
static void connection_greet(struct connection *connection, const char *why)
{
	if (!connection->owes_greeting)
		return;
	connection->owes_greeting = false;
	if (why)
		greeting_refuse(connection_socket(connection), why);
	else
		greeting_accept(connection_socket(connection));
}

/* ---- decided ----------------------------------------------------------------------------------------------------- */

static void connection_decided(struct connection *connection, uint32_t service, uint32_t protocol)
{
	banner_end(connection);
	loop_timer_stop(&connection->worker->loop, &connection->deadline);
	identification_cancel(connection->identification);
	connection->identification = NULL;
	connection->decided_us = clock_monotonic_us();
	connection->service = service;
	if (service != SERVICE_NONE)
		account_service(connection, service);
	connection->protocol = protocol;
	if (greeting_is_due(connection->worker->policy, protocol))
		connection->owes_greeting = greeting_take_line(connection_socket(connection)) == 0;
	if (service == SERVICE_NONE)
		connection_end(connection, END_NO_SERVICE);
	else
		connection_enter(connection);
}

/* ---- admitted ----------------------------------------------------------------------------------------------------- */

static void connection_refuse(struct connection *connection, const char *rule)
{
	connection_greet(connection, "not for you");
	connection->refused = rule;
	connection_end(connection, END_REFUSED);
}

static void connection_fill_ask(struct spawn_request *request, struct message *message, int *ret_fd);
static void connection_asked(struct spawn_request *request, const struct message *answer, int fds[2]);

static void connection_ask_program(struct connection *connection)
{
	connection->phase = PHASE_ASKING;
	connection->spawning = (struct spawn_request){ .fill = connection_fill_ask, .started = connection_asked };
	spawner_ask(&connection->worker->spawner, &connection->spawning);
}

/* Addresses and hours, then what is counted, then whoever must be asked. */
static void connection_enter(struct connection *connection)
{
	struct worker *worker = connection->worker;
	const struct service *service = connection_service(connection);
	const char *rule = access_judge(service->access, &connection->client, time(NULL));

	if (!rule)
		rule = limits_enter(worker->shared->limits, worker->slot, service->access,
			limits_service(service->name), &connection->client, worker->loop.now_us, &connection->ticket);
	if (rule)
		connection_refuse(connection, rule);
	else if (service->asks)
		connection_ask_program(connection);
	else
		connection_deliver(connection);
}

static void connection_asked(struct spawn_request *request, const struct message *answer, int fds[2])
{
	struct connection *connection = container_of(request, struct connection, spawning);

	if (answer->error < 0) {
		connection_refuse(connection, "access");
		return;
	}
	connection->next_asking = connection->worker->asking;
	connection->worker->asking = connection;
}

void connection_admitted(struct worker *worker, uint64_t id, bool admitted)
{
	struct connection **link = &worker->asking;
	while (*link && (*link)->id != id)
		link = &(*link)->next_asking;
	struct connection *connection = *link;
	if (!connection)
		return;
	*link = connection->next_asking;
	if (worker->stopping)
		connection_end(connection, END_SHUTDOWN);
	else if (admitted)
		connection_deliver(connection);
	else
		connection_refuse(connection, "access");
}

/* ---- delivered: relayed to a backend ------------------------------------------------------------------------------ */

static void connection_relay_done(struct relay *relay, enum relay_end end);

static void connection_relay(struct connection *connection, uint32_t server_events)
{
	struct worker *worker = connection->worker;
	struct relay *relay = &connection->relay;

	loop_timer_stop(&worker->loop, &connection->deadline);
	connection_greet(connection, NULL);
	connection->phase = PHASE_RELAYING;
	relay->loop = &worker->loop;
	relay->pool = worker->relay_pool;
	relay->idle_us = worker->policy->idle_timeout_us;
	relay->done = connection_relay_done;
	relay_start(relay, connection->client_events, server_events);
}

static void connection_relay_done(struct relay *relay, enum relay_end end)
{
	static const enum connection_end ends[] = {
		[RELAY_FINISHED] = END_FINISHED,
		[RELAY_CLIENT_RESET] = END_CLIENT_RESET,
		[RELAY_SERVER_RESET] = END_SERVER_RESET,
		[RELAY_IDLE] = END_IDLE,
		[RELAY_NO_MEMORY] = END_NO_MEMORY,
	};
	connection_end(container_of(relay, struct connection, relay), ends[end]);
}

void connection_stay(struct connection *connection)
{
	size_t shown;

	identification_cancel(connection->identification);
	connection->identification = NULL;
	connection->decided_us = clock_monotonic_us();
	connection->service = connection->banner->service;
	account_service(connection, connection->service);
	uint32_t events = banner_leave(connection, &shown);
	connection_relay(connection, events);
	connection->relay.down.bytes += shown;
}

/* The backend's own banner, in place of which the client has seen another's. */
static void connection_skip_banner(struct connection *connection, uint32_t events)
{
	connection->server_events |= events;
	switch (banner_skip(connection->relay.server.in.fd, connection->skipped)) {
	case BANNER_SKIPPED:
		connection_relay(connection, connection->server_events);
		break;
	case BANNER_AWAITED:
		break;
	case BANNER_UNLIKE:
		dial_cancel(&connection->dial);
		connection_delivery_failed(connection, -EPROTO);
		break;
	}
}

static void connection_server_ready(struct watch *watch, uint32_t events)
{
	struct connection *connection = container_of(watch, struct connection, relay.server.in);
	if (connection->dialled)
		connection_skip_banner(connection, events);
	else
		dial_ready(&connection->dial, events);
}

static void connection_dialled(struct dial *dial, int error, uint32_t events)
{
	struct connection *connection = container_of(dial, struct connection, dial);
	connection->dialled = error == 0;
	if (error == 0)
		proxied_announce(connection, &connection_service(connection)->target);
	if (error < 0)
		connection_delivery_failed(connection, error);
	else if (connection->skips_banner)
		connection_skip_banner(connection, events);
	else
		connection_relay(connection, events);
}

static void connection_connect(struct connection *connection, const struct target *target)
{
	struct worker *worker = connection->worker;
	uint64_t due_us = worker->loop.now_us + worker->policy->connect_timeout_us;

	connection->phase = PHASE_CONNECTING;
	connection->dialled = false;
	connection->server_events = 0;
	connection->relay.server.kind = SIDE_SOCKET;
	connection->relay.server.in.ready = connection_server_ready;
	connection->dial = (struct dial){
		.loop = &worker->loop,
		.resolved = worker->resolved,
		.backends = target->connect.backends,
		.n_backends = target->connect.n_backends,
		.keepalive_s = target->connect.keepalive_s,
		.from = target->connect.transparent ? &connection->client : NULL,
		.stock = worker->stock,
		.due_us = due_us,
		.socket = &connection->relay.server.in,
		.done = connection_dialled,
	};
	loop_timer(&worker->loop, &connection->deadline, due_us);
	dial_start(&connection->dial);
}

/* ---- delivered: handed over --------------------------------------------------------------------------------------- */

static void connection_send_over(struct connection *connection)
{
	loop_timer(&connection->worker->loop, &connection->deadline, connection->handing.due_us);
	handover_send(receivers_of(connection->worker->receivers, connection->service), &connection->handing.request);
}

/* A receiver that is being started again is not there for a moment, or its socket does not have its mode yet. Who has
 * somewhere else to go does not wait for it. */
static bool connection_waits_for_receiver(const struct connection *connection, int error)
{
	bool absent = error == -ECONNREFUSED || error == -ENOENT || error == -EACCES || error == -EPIPE ||
		error == -ECONNRESET;
	return absent && connection_service(connection)->fallback == SERVICE_NONE &&
		connection->worker->loop.now_us + RECEIVER_RETRY_US < connection->handing.due_us;
}

static void connection_handed_over(struct handover_request *request, int error)
{
	struct connection *connection = container_of(request, struct connection, handing.request);
	struct loop *loop = &connection->worker->loop;

	if (error == -EPROTO) /* it may have the socket: no fallback */
		connection->error = error;
	if (error == 0)
		connection_end(connection, END_HANDED_OVER);
	else if (error == -EPROTO)
		connection_end(connection, END_DELIVERY_FAILED);
	else if (connection_waits_for_receiver(connection, error))
		loop_timer(loop, &connection->deadline, loop->now_us + RECEIVER_RETRY_US);
	else
		connection_delivery_failed(connection, error);
}

/* Before the receiver can say anything. */
static void connection_goes_over(struct handover_request *request)
{
	connection_greet(container_of(request, struct connection, handing.request), NULL);
}

static void connection_handing_timer(struct connection *connection)
{
	if (!connection->handing.request.handover && connection->worker->loop.now_us < connection->handing.due_us) {
		connection_send_over(connection);
		return;
	}
	if (handover_cancel(&connection->handing.request))
		connection_delivery_failed(connection, -ETIMEDOUT);
	else
		connection_end(connection, END_HANDED_OVER);
}

/* The receiver gets the socket as accept() would have given it: blocking. */
static void connection_hand_over(struct connection *connection)
{
	struct worker *worker = connection->worker;
	int fd = connection_socket(connection);

	connection->phase = PHASE_HANDING_OVER;
	connection->handing.local = proxied_local(connection);
	connection->handing.facts = (struct facts){
		.id = connection->id,
		.client = &connection->client,
		.local = &connection->handing.local,
		.service = connection_service(connection)->name,
		.protocol = connection_protocol(connection),
		.sni = connection->sni,
		.alpn = connection->alpn,
		.host = connection->host,
	};
	connection->handing.request = (struct handover_request){
		.fd = fd,
		.facts = &connection->handing.facts,
		.going = connection_goes_over,
		.done = connection_handed_over,
	};
	connection->handing.due_us = worker->loop.now_us + worker->policy->connect_timeout_us;
	fd_set_nonblocking(fd, false);
	connection_send_over(connection);
}

/* ---- delivered: a program ----------------------------------------------------------------------------------------- */

static void connection_spawned(struct spawn_request *request, const struct message *answer, int fds[2]);

static void connection_fill_message(const struct connection *connection, struct message *message)
{
	const char *protocol = connection_protocol(connection);

	message->index = connection->service;
	message->connection = message->serial = connection->id;
	message->client = connection->client;
	message->local = proxied_local(connection);
	if (protocol)
		strncpy(message->protocol, protocol, sizeof(message->protocol) - 1);
	if (connection->sni)
		strncpy(message->sni, connection->sni, sizeof(message->sni) - 1);
}

static void connection_fill_ask(struct spawn_request *request, struct message *message, int *ret_fd)
{
	connection_fill_message(container_of(request, struct connection, spawning), message);
	message->program = PROGRAM_ACCESS;
}

static void connection_fill_spawn(struct spawn_request *request, struct message *message, int *ret_fd)
{
	const struct connection *connection = container_of(request, struct connection, spawning);
	connection_fill_message(connection, message);
	message->program = PROGRAM_SERVICE;
	if (connection_service(connection)->target.exec.stdio == STDIO_SOCKET) {
		*ret_fd = connection_socket(connection);
		message->greeted = connection->owes_greeting;
	}
}

static void connection_spawn(struct connection *connection)
{
	connection->phase = PHASE_SPAWNING;
	connection->spawning = (struct spawn_request){ .fill = connection_fill_spawn, .started = connection_spawned };
	spawner_ask(&connection->worker->spawner, &connection->spawning);
}

/* The limit's name is kept: the message is gone when the end is logged. */
static const char *limit_name(const char *name)
{
	static const char *const names[] = { "max_connections", "per_source", "max_startups",
		"max_startups_per_source", "back-off" };
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], name) == 0)
			return names[i];
	return "limit";
}

static void connection_spawned(struct spawn_request *request, const struct message *answer, int fds[2])
{
	struct connection *connection = container_of(request, struct connection, spawning);
	struct worker *worker = connection->worker;
	struct relay_side *server = &connection->relay.server;
	enum stdio stdio = connection_service(connection)->target.exec.stdio;

	if (answer->greeted)
		connection->owes_greeting = false;
	if (answer->error == -EACCES && answer->refused[0]) {
		connection_refuse(connection, limit_name(answer->refused));
		return;
	}
	if (answer->error < 0) {
		connection_delivery_failed(connection, answer->error);
		return;
	}
	if (stdio == STDIO_SOCKET || worker->stopping) {
		connection_end(connection, stdio == STDIO_SOCKET ? END_PROGRAM : END_SHUTDOWN);
		return;
	}
	server->kind = stdio == STDIO_PIPE ? SIDE_PIPES : SIDE_TERMINAL;
	int error = loop_watch(&worker->loop, &server->in, fds[0], RELAY_EVENTS);
	if (error == 0)
		fds[0] = -1;
	if (error == 0 && stdio == STDIO_PIPE) {
		error = loop_watch(&worker->loop, &server->out, fds[1], EPOLLOUT | EPOLLET);
		if (error == 0)
			fds[1] = -1;
	}
	if (error < 0)
		connection_end(connection, END_NO_MEMORY);
	else
		connection_relay(connection, 0);
}

/* ---- delivered ---------------------------------------------------------------------------------------------------- */

static void connection_deliver(struct connection *connection)
{
	const struct target *target = &connection_service(connection)->target;
	switch (target->delivery) {
	case DELIVERY_CONNECT:
		connection_connect(connection, target);
		break;
	case DELIVERY_HANDOVER:
		connection_hand_over(connection);
		break;
	case DELIVERY_EXEC:
		connection_spawn(connection);
		break;
	case DELIVERY_REJECT:
		connection_end(connection, END_REJECTED);
		break;
	}
}

/* The service's fallback takes over; the policy has no circles. */
static void connection_delivery_failed(struct connection *connection, int error)
{
	uint32_t fallback = connection_service(connection)->fallback;

	account_failed(connection);
	loop_timer_stop(&connection->worker->loop, &connection->deadline);
	relay_preface(&connection->relay, NULL, 0);
	if (fallback == SERVICE_NONE) {
		connection_greet(connection, "not available");
		if (connection->phase == PHASE_HANDING_OVER && connection->handing.request.n_sent)
			shutdown(connection_socket(connection), SHUT_RDWR); /* its receiver hangs, and holds it too */
		connection->error = error;
		connection_end(connection, END_DELIVERY_FAILED);
		return;
	}
	if (log_wants(LEVEL_NOTICE))
		log_notice("connection %lu: service %s failed (%s), falling back to %s",
			(unsigned long)connection->id, connection_service(connection)->name, strerrordesc_np(-error),
			connection->worker->policy->services[fallback].name);
	if (connection->phase == PHASE_HANDING_OVER)
		fd_set_nonblocking(connection_socket(connection), true);
	limits_leave(connection->worker->shared->limits, connection->worker->slot, &connection->ticket);
	connection->service = fallback;
	account_service(connection, fallback);
	connection_enter(connection);
}

/* ---- ended -------------------------------------------------------------------------------------------------------- */

static void connection_close_client(struct connection *connection, bool reset)
{
	int fd = loop_unwatch(&connection->worker->loop, &connection->relay.client.in);
	if (reset)
		fd_reset(fd);
	else
		fd_close(fd);
}

/* Nobody will read it, and closing over unread bytes would be a reset. */
static void connection_discard_input(const struct connection *connection)
{
	ssize_t n = recv(connection_socket(connection), connection->worker->peeked, EVIDENCE_MAX, MSG_DONTWAIT);
	(void)n;
}

/* Lets go of whatever the phase holds. */
static void connection_release(struct connection *connection, enum connection_end end)
{
	static const enum relay_end relay_ends[] = {
		[END_CLIENT_RESET] = RELAY_CLIENT_RESET,
		[END_SERVER_RESET] = RELAY_SERVER_RESET,
		[END_NO_MEMORY] = RELAY_SERVER_RESET,
	};
	bool reset = end == END_CLIENT_RESET || end == END_NO_MEMORY ||
		(end == END_REJECTED && connection_service(connection)->target.reject.reset) ||
		(end == END_REFUSED && connection_service(connection)->access &&
			connection_service(connection)->access->reset);

	switch (connection->phase) {
	case PHASE_DECIDING:
		identification_cancel(connection->identification);
		banner_end(connection);
		break;
	case PHASE_RELAYING:
		relay_close(
			&connection->relay, end < sizeof(relay_ends) / sizeof(relay_ends[0]) ? relay_ends[end] : 0);
		break;
	case PHASE_CONNECTING:
		dial_cancel(&connection->dial);
		break;
	case PHASE_HANDING_OVER:
		handover_cancel(&connection->handing.request);
		break;
	default:
		break;
	}
	if (!reset && (end == END_REJECTED || end == END_REFUSED || end == END_NO_SERVICE || end == END_PROXY_HEADER))
		connection_discard_input(connection);
	relay_preface(&connection->relay, NULL, 0);
	connection_close_client(connection, reset);
	fd_close(loop_unwatch(&connection->worker->loop, &connection->relay.server.in));
	fd_close(loop_unwatch(&connection->worker->loop, &connection->relay.server.out));
}

static void connection_end(struct connection *connection, enum connection_end end)
{
	struct worker *worker = connection->worker;

	assert(connection->phase != PHASE_ENDED);
	account_end(connection, end);
	limits_leave(worker->shared->limits, worker->slot, &connection->ticket);
	limits_leave_listener(worker->shared->limits, worker->slot, &connection->listener_place);
	limits_leave_all(worker->shared->limits, worker->slot);
	loop_timer_stop(&worker->loop, &connection->deadline);
	connection_release(connection, end);
	/* Last: who reads there that a place or a descriptor is free may come at once. */
	enum log_level level = connection_log_level(connection, end);
	if (log_wants(level))
		connection_log(connection, level, end);
	connection->phase = PHASE_ENDED;
	loop_defer(&worker->loop, &connection->burial);
}

/* After the turn in which it ended: events that were already fetched may still have named it. */
static void connection_bury(struct task *task)
{
	struct connection *connection = container_of(task, struct connection, burial);
	struct worker *worker = connection->worker;

	free(connection->names);
	report_ended(connection);
	free(connection->proxied);
	if (connection->previous)
		connection->previous->next = connection->next;
	else
		worker->connections = connection->next;
	if (connection->next)
		connection->next->previous = connection->previous;
	connection->next = worker->spare;
	worker->spare = connection;
	worker->n_connections--;
	worker_connection_gone(worker);
}

/* A program that was asked for may be on its way: its answer must find the connection, and ends it. */
void connection_stop(struct connection *connection, enum connection_end end)
{
	bool awaited = connection->phase == PHASE_SPAWNING || connection->phase == PHASE_ASKING;
	if (connection->phase == PHASE_HANDING_OVER && !handover_cancel(&connection->handing.request))
		connection_end(connection, END_HANDED_OVER);
	else if (connection->phase != PHASE_ENDED && !awaited)
		connection_end(connection, end);
}
