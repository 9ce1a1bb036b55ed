/* Gives a connection to its service: connects to a backend, hands the socket over, has a program started, turns it away.
 * Refuses to judge: what a failure means is the journey's business (connection_undelivered). What is under way is kept with
 * the connection; its client's socket stays the connection's. */
#include "delivery.h"
#include "banner.h"
#include "connection.h"
#include "fd.h"
#include "message.h"
#include "own.h"
#include "proxied.h"
#include "receivers.h"
#include "worker.h"
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#define RECEIVER_RETRY_US 50000

/* ---- relayed to a backend ----------------------------------------------------------------------------------------- */

/* The backend's own banner, in place of which the client has seen another's. */
static void delivery_skip_banner(struct connection *connection, uint32_t events)
{
	connection->server_events |= events;
	switch (banner_skip(connection->relay.server.in.fd, connection->skipped)) {
	case BANNER_SKIPPED:
		connection_delivered(connection, connection->server_events);
		break;
	case BANNER_AWAITED:
		break;
	case BANNER_UNLIKE:
		dial_cancel(&connection->dial);
		connection_undelivered(connection, -EPROTO);
		break;
	}
}

static void delivery_server_ready(struct watch *watch, uint32_t events)
{
	struct connection *connection = container_of(watch, struct connection, relay.server.in);
	if (connection->dialled)
		delivery_skip_banner(connection, events);
	else
		dial_ready(&connection->dial, events);
}

/* Its first bytes follow at once, whatever the backend says. */
static bool delivery_client_talks(const struct connection *connection)
{
	return connection->protocol != PROTOCOL_NONE && !connection->skips_banner && !connection->owes_greeting;
}

static void delivery_dialled(struct dial *dial, int error, uint32_t events)
{
	struct connection *connection = container_of(dial, struct connection, dial);
	connection->dialled = error == 0;
	if (error == 0) {
		connection->relay.server.is_unix = dial_is_unix(dial);
		proxied_announce(connection, &connection_service(connection)->target,
			delivery_client_talks(connection) ? MSG_MORE : 0);
	}
	if (error < 0)
		connection_undelivered(connection, error);
	else if (connection->skips_banner)
		delivery_skip_banner(connection, events);
	else
		connection_delivered(connection, events);
}

static void delivery_connect(struct connection *connection, const struct target *target)
{
	struct worker *worker = connection->worker;
	uint64_t due_us = worker->loop.now_us + worker->policy->connect_timeout_us;

	if (!connection_watch(connection))
		return;
	connection->phase = PHASE_CONNECTING;
	connection->dialled = false;
	connection->server_events = 0;
	connection->relay.server.kind = SIDE_SOCKET;
	connection->relay.server.in.ready = delivery_server_ready;
	connection->dial = (struct dial){
		.loop = &worker->loop,
		.lookup = worker->lookup,
		.backends = target->connect.backends,
		.n_backends = target->connect.n_backends,
		.fresh = target->connect.resolves,
		.keepalive_s = target->connect.keepalive_s,
		.patience_ms = connection_service(connection)->patience_ms,
		.from = target->connect.transparent ? &connection->client : NULL,
		.talks = proxied_announces(connection, target) || delivery_client_talks(connection),
		.stock = worker->stock,
		.due_us = due_us,
		.socket = &connection->relay.server.in,
		.is_ours = own_listener_reached,
		.context = connection,
		.done = delivery_dialled,
	};
	loop_timer(&worker->loop, &connection->deadline, due_us);
	dial_start(&connection->dial);
}

/* ---- handed over -------------------------------------------------------------------------------------------------- */

static void delivery_send_over(struct connection *connection)
{
	loop_timer(&connection->worker->loop, &connection->deadline, connection->handing.due_us);
	handover_send(receivers_of(connection->worker->receivers, connection->service), &connection->handing.request);
}

/* A receiver that is being started again is not there for a moment, or its socket does not have its mode yet. Who has
 * somewhere else to go does not wait for it. */
static bool delivery_waits_for_receiver(const struct connection *connection, int error)
{
	bool absent = error == -ECONNREFUSED || error == -ENOENT || error == -EACCES || error == -EPIPE ||
		error == -ECONNRESET;
	return absent && connection_service(connection)->fallback == SERVICE_NONE &&
		connection->worker->loop.now_us + RECEIVER_RETRY_US < connection->handing.due_us;
}

static void delivery_handed_over(struct handover_request *request, int error)
{
	struct connection *connection = container_of(request, struct connection, handing.request);
	struct loop *loop = &connection->worker->loop;

	if (error == -EPROTO) /* it may have the socket: no fallback */
		connection->error = error;
	if (error == 0)
		connection_end(connection, END_HANDED_OVER);
	else if (error == -EPROTO)
		connection_end(connection, END_DELIVERY_FAILED);
	else if (delivery_waits_for_receiver(connection, error))
		loop_timer(loop, &connection->deadline, loop->now_us + RECEIVER_RETRY_US);
	else
		connection_undelivered(connection, error);
}

/* Before the receiver can say anything. */
static void delivery_goes_over(struct handover_request *request)
{
	connection_greet(container_of(request, struct connection, handing.request), NULL);
}

static void delivery_handing_timer(struct connection *connection)
{
	if (!connection->handing.request.handover && connection->worker->loop.now_us < connection->handing.due_us) {
		delivery_send_over(connection);
		return;
	}
	if (handover_cancel(&connection->handing.request))
		connection_undelivered(connection, -ETIMEDOUT);
	else
		connection_end(connection, END_HANDED_OVER);
}

/* The receiver gets the socket as accept() would have given it: blocking. */
static void delivery_hand_over(struct connection *connection)
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
		.going = delivery_goes_over,
		.done = delivery_handed_over,
	};
	connection->handing.due_us = worker->loop.now_us + worker->policy->connect_timeout_us;
	connection->relay.client.in.sole = false;
	fd_set_stream_nonblocking(fd, false);
	delivery_send_over(connection);
}

/* ---- a program ---------------------------------------------------------------------------------------------------- */

static void delivery_spawned(struct spawn_request *request, const struct message *answer, int fds[2]);

void delivery_describe(const struct connection *connection, struct message *message)
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

static void delivery_fill_spawn(struct spawn_request *request, struct message *message, int *ret_fd)
{
	const struct connection *connection = container_of(request, struct connection, spawning);
	delivery_describe(connection, message);
	message->program = PROGRAM_SERVICE;
	if (connection_service(connection)->target.exec.stdio == STDIO_SOCKET) {
		*ret_fd = connection_socket(connection);
		message->greeted = connection->owes_greeting;
	}
}

static void delivery_spawn(struct connection *connection)
{
	connection->phase = PHASE_SPAWNING;
	connection->relay.client.in.sole = false;
	connection->spawning = (struct spawn_request){ .fill = delivery_fill_spawn, .started = delivery_spawned };
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

static void delivery_spawned(struct spawn_request *request, const struct message *answer, int fds[2])
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
		connection_undelivered(connection, answer->error);
		return;
	}
	if (stdio == STDIO_SOCKET || worker->stopping) {
		connection_end(connection, stdio == STDIO_SOCKET ? END_PROGRAM : END_SHUTDOWN);
		return;
	}
	if (!connection_watch(connection))
		return;
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
		connection_delivered(connection, 0);
}

/* ---- whichever ---------------------------------------------------------------------------------------------------- */

void delivery_begin(struct connection *connection)
{
	const struct target *target = &connection_service(connection)->target;
	switch (target->delivery) {
	case DELIVERY_CONNECT:
		delivery_connect(connection, target);
		break;
	case DELIVERY_HANDOVER:
		delivery_hand_over(connection);
		break;
	case DELIVERY_EXEC:
		delivery_spawn(connection);
		break;
	case DELIVERY_REJECT:
		connection_end(connection, END_REJECTED);
		break;
	}
}

void delivery_out_of_time(struct connection *connection)
{
	if (connection->phase == PHASE_CONNECTING) {
		dial_cancel(&connection->dial);
		connection_undelivered(connection, -ETIMEDOUT);
	} else if (connection->phase == PHASE_HANDING_OVER) {
		delivery_handing_timer(connection);
	}
}

void delivery_cancel(struct connection *connection)
{
	if (connection->phase == PHASE_CONNECTING)
		dial_cancel(&connection->dial);
	else if (connection->phase == PHASE_HANDING_OVER)
		handover_cancel(&connection->handing.request);
}
