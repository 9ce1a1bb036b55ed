/* A connection's journey: accepted, decided, admitted, delivered, ended. Data goes one way; two calls come back up: "decided"
 * (undecided.c) and "delivered" (delivery.c). Nothing is consumed before delivery: the bytes are peeked, and whoever gets the
 * socket reads them.
 *
 * A connection is made in connection_new() and ends in connection_end(), once, with a reason, a log line and its memory
 * given back after the loop's turn. It owns its client's socket, through the relay's watch, from accept to the end. */
#include "connection.h"
#include "account.h"
#include "arrival.h"
#include "banner.h"
#include "delivery.h"
#include "emigration.h"
#include "fd.h"
#include "greeting.h"
#include "identify.h"
#include "ipc.h"
#include "listener.h"
#include "log.h"
#include "message.h"
#include "migrant.h"
#include "peek.h"
#include "proxied.h"
#include "shed.h"
#include "undecided.h"
#include "worker.h"
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* For an access program's verdict, behind the time that the master gives it. Only one that was lost with its master comes to that. */
#define VERDICT_US 3000000

static void connection_enter(struct connection *connection);
static void connection_ask_in_vain(struct connection *connection);

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

bool connection_is_undecided(const struct connection *connection)
{
	return connection->phase == PHASE_PROXIED || connection->phase == PHASE_DECIDING;
}

ssize_t connection_peek(struct connection *connection, size_t size, bool *ret_is_cut)
{
	return peek(connection_socket(connection), connection->worker->peeked, size,
		connection->client_events & EPOLLPRI, ret_is_cut);
}

/* Until the relay takes the watch over. Unread bytes do not wake us again: only new ones do. */
static void connection_client_ready(struct watch *watch, uint32_t events)
{
	struct connection *connection = container_of(watch, struct connection, relay.client.in);
	bool lost = events & (EPOLLERR | EPOLLHUP);

	connection->client_events |= events;
	if (connection_is_undecided(connection))
		undecided_ready(connection, lost || events & (EPOLLIN | EPOLLRDHUP));
	else if (connection->phase == PHASE_CONNECTING && lost)
		connection_end(connection, END_CLIENT_RESET);
}

static void connection_out_of_time(struct timer *timer)
{
	struct connection *connection = container_of(timer, struct connection, deadline);

	if (connection_is_undecided(connection))
		undecided_out_of_time(connection);
	else if (connection->phase == PHASE_ASKING)
		connection_ask_in_vain(connection);
	else
		delivery_out_of_time(connection);
}

static void connection_init(struct connection *connection)
{
	struct relay *relay = &connection->relay;

	connection->service = SERVICE_NONE;
	connection->protocol = connection->named = PROTOCOL_NONE;
	connection->ticket = (struct limits_ticket){ LIMITS_NONE, LIMITS_NONE };
	connection->deadline = (struct timer){ .fired = connection_out_of_time };
	connection->burial = (struct task){ .run = connection_bury };
	relay->client.kind = SIDE_SOCKET;
	relay->client.in = (struct watch){ .fd = -1, .ready = connection_client_ready };
	relay->client.out.fd = relay->server.in.fd = relay->server.out.fd = -1;
}

static void connection_begin(struct connection *connection, int fd)
{
	struct worker *worker = connection->worker;
	enum proxied_by by = proxied_by(&worker->policy->listeners[connection->decider], &connection->client);
	struct relay *relay = &connection->relay;

	connection_init(connection);
	connection->id = atomic_fetch_add_explicit(&worker->shared->page->next_connection, 1, memory_order_relaxed);
	connection->accepted_us = worker->loop.now_us;
	loop_hold(&relay->client.in, fd);
	relay->client.is_unix = connection->client.sa.sa_family == AF_UNIX;
	if (relay->client.is_unix || !connection->came_in) /* others have it of their listener */
		fd_set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1);
	relay->client.in.sole = relay->client.prompt = connection->came_in; /* from a listener with TCP_NODELAY */
	undecided_begin(connection, by);
}

bool connection_watch(struct connection *connection)
{
	if (loop_watch_held(&connection->worker->loop, &connection->relay.client.in, RELAY_EVENTS) == 0)
		return true;
	connection_end(connection, END_NO_MEMORY);
	return false;
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

/* ---- decided ----------------------------------------------------------------------------------------------------- */

/* The answer that TCPMUX demands: what is wrong, or with NULL nothing. */
void connection_greet(struct connection *connection, const char *why)
{
	if (!connection->owes_greeting)
		return;
	connection->owes_greeting = false;
	if (why)
		greeting_refuse(connection_socket(connection), why);
	else
		greeting_accept(connection_socket(connection));
}

void connection_decided(struct connection *connection, uint32_t service, uint32_t protocol)
{
	undecided_end(connection);
	loop_timer_stop(&connection->worker->loop, &connection->deadline);
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

void connection_refuse(struct connection *connection, const char *rule)
{
	connection_greet(connection, "not for you");
	connection->refused = rule;
	connection_end(connection, END_REFUSED);
}

static void connection_fill_ask(struct spawn_request *request, struct message *message, int *ret_fd)
{
	delivery_describe(container_of(request, struct connection, spawning), message);
	message->program = PROGRAM_ACCESS;
}

static void connection_asked(struct spawn_request *request, const struct message *answer, int fds[2]);

static void connection_expect_verdict(struct connection *connection)
{
	struct worker *worker = connection->worker;

	loop_timer(&worker->loop, &connection->deadline,
		worker->loop.now_us + worker->policy->access_timeout_us + VERDICT_US);
}

static void connection_ask_program(struct connection *connection)
{
	connection->phase = PHASE_ASKING;
	connection->spawning = (struct spawn_request){ .fill = connection_fill_ask, .started = connection_asked };
	connection_expect_verdict(connection);
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
		delivery_begin(connection);
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
	loop_timer_stop(&worker->loop, &connection->deadline);
	if (worker->stopping)
		connection_end(connection, END_SHUTDOWN);
	else if (admitted)
		delivery_begin(connection);
	else
		connection_refuse(connection, "access");
}

/* One whose program has not even been begun is still in the line for it. */
static void connection_ask_in_vain(struct connection *connection)
{
	connection_expect_verdict(connection);
	connection_admitted(connection->worker, connection->id, false);
}

/* ---- delivered ---------------------------------------------------------------------------------------------------- */

static void connection_relay_done(struct relay *relay, enum relay_end end);

static void connection_equip_relay(struct connection *connection, uint64_t idle_us)
{
	struct worker *worker = connection->worker;

	connection->phase = PHASE_RELAYING;
	connection->relay.loop = &worker->loop;
	connection->relay.pool = worker->relay_pool;
	connection->relay.idle_us = idle_us;
	connection->relay.done = connection_relay_done;
}

void connection_delivered(struct connection *connection, uint32_t server_events)
{
	struct worker *worker = connection->worker;
	struct relay *relay = &connection->relay;

	loop_timer_stop(&worker->loop, &connection->deadline);
	connection_greet(connection, NULL);
	connection_equip_relay(connection, connection_service(connection)->idle_timeout_us);
	/* Its socket has that of the listener, which knows no service. */
	if (connection_service(connection)->patience_ms != worker->policy->patience_ms)
		dial_set_patience(
			connection_socket(connection), AF_INET, connection_service(connection)->patience_ms);
	relay_start(relay, connection->client_events, server_events);
	emigration_wake(worker->emigration);
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

	shed_leave(connection);
	identification_cancel(connection->identification);
	connection->identification = NULL;
	connection->dial = (struct dial){ .backend = connection->banner->dial.backend }; /* for the log */
	connection->decided_us = clock_monotonic_us();
	connection->service = connection->banner->service;
	account_service(connection, connection->service);
	uint32_t events = banner_leave(connection, &shown);
	connection_delivered(connection, events);
	connection->relay.down.bytes += shown;
}

/* The service's fallback takes over; the policy has no circles. */
void connection_undelivered(struct connection *connection, int error)
{
	uint32_t fallback = connection_service(connection)->fallback;

	account_failed(connection);
	if ((error == -EMFILE || error == -ENFILE) && connection->phase == PHASE_CONNECTING)
		worker_starved(connection->worker);
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
			(unsigned long)connection->id, connection_service(connection)->name,
			connection_error_text(error), connection->worker->policy->services[fallback].name);
	if (connection->phase == PHASE_HANDING_OVER)
		fd_set_stream_nonblocking(connection_socket(connection), true);
	limits_leave(connection->worker->shared->limits, connection->worker->slot, &connection->ticket);
	connection->service = fallback;
	account_service(connection, fallback);
	connection_enter(connection);
}

/* ---- moved between workers ------------------------------------------------------------------------------------------ */

static void connection_give_back(struct connection *connection, enum connection_end end);

void connection_arrive(struct worker *worker, const struct migrant_parts *parts, int *fds)
{
	struct connection *connection = connection_alloc(worker);

	if (!connection) {
		for (size_t i = 0; i < MIGRANT_FDS; i++)
			fd_close(fds[i]);
		return;
	}
	connection_init(connection);
	connection->phase = PHASE_DECIDING;
	if (parts->head->state == MIGRANT_RELAYING)
		connection_equip_relay(connection, arrival_idle_us(worker->policy, parts));
	int error = arrival_unpack(connection, parts, fds);
	account_arrived(connection);
	if (error < 0)
		connection_end(connection, END_NO_MEMORY);
	else if (worker->stopping)
		connection_end(connection, END_SHUTDOWN);
	else if (connection->phase == PHASE_RELAYING)
		relay_resume(&connection->relay);
	else
		undecided_begin(
			connection, parts->head->state == MIGRANT_PROXIED ? PROXIED_BY_TRUSTED : PROXIED_BY_NOBODY);
	emigration_wake(worker->emigration); /* the next reload may have come before it */
}

void connection_leave(struct connection *connection)
{
	struct worker *worker = connection->worker;

	connection->relay.client.in.sole = connection->relay.server.in.sole = false;
	account_left(connection);
	connection_give_back(connection, END_FINISHED);
	free(connection->kept);
	connection->kept = NULL;
	connection->phase = PHASE_ENDED;
	loop_defer(&worker->loop, &connection->burial);
}

/* ---- ended -------------------------------------------------------------------------------------------------------- */

static void connection_close_client(struct connection *connection, bool reset)
{
	int fd = loop_unwatch_to_close(&connection->worker->loop, &connection->relay.client.in);
	if (reset)
		fd_reset(fd);
	else
		fd_close(fd);
}

/* Nobody will read it, and closing over unread bytes would be a reset. */
static void connection_discard_input(const struct connection *connection)
{
	bool unused;
	ssize_t n = ipc_receive_bytes(
		connection_socket(connection), connection->worker->peeked, EVIDENCE_MAX, MSG_DONTWAIT, &unused);
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
	bool reset = end == END_CLIENT_RESET || end == END_NO_MEMORY || end == END_SHED ||
		(end == END_REJECTED && connection_service(connection)->target.reject.reset) ||
		(end == END_REFUSED && connection_service(connection)->access &&
			connection_service(connection)->access->reset);

	switch (connection->phase) {
	case PHASE_PROXIED:
	case PHASE_DECIDING:
		undecided_end(connection);
		break;
	case PHASE_RELAYING:
		relay_close(
			&connection->relay, end < sizeof(relay_ends) / sizeof(relay_ends[0]) ? relay_ends[end] : 0);
		break;
	default:
		delivery_cancel(connection);
		break;
	}
	if (!reset && (end == END_REJECTED || end == END_REFUSED || end == END_NO_SERVICE || end == END_PROXY_HEADER))
		connection_discard_input(connection);
	relay_preface(&connection->relay, NULL, 0);
	connection_close_client(connection, reset);
	fd_close(loop_unwatch_to_close(&connection->worker->loop, &connection->relay.server.in));
	fd_close(loop_unwatch(&connection->worker->loop, &connection->relay.server.out));
}

static void connection_give_back(struct connection *connection, enum connection_end end)
{
	struct worker *worker = connection->worker;

	limits_leave(worker->shared->limits, worker->slot, &connection->ticket);
	limits_leave_listener(worker->shared->limits, worker->slot, &connection->listener_place);
	limits_leave_all(worker->shared->limits, worker->slot);
	loop_timer_stop(&worker->loop, &connection->deadline);
	connection_release(connection, end);
}

void connection_end(struct connection *connection, enum connection_end end)
{
	struct worker *worker = connection->worker;

	assert(connection->phase != PHASE_ENDED);
	account_end(connection, end);
	connection_give_back(connection, end);
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

	scraps_give(&worker->scraps, connection->names);
	report_ended(connection);
	free(connection->past);
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
