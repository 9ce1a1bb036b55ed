/* Gives a stream to its service: connects to a backend, hands the socket over, has a program started, turns it away.
 * Refuses to judge: what a failure means is for stream_way.c (stream_undelivered). What is under way is kept in the
 * stream; its client's socket stays the stream's. */
#include "delivery.h"
#include "account.h"
#include "banner_skip.h"
#include "fd.h"
#include "message.h"
#include "proxied.h"
#include "receivers.h"
#include "shed.h"
#include "starter.h"
#include "starttls_answer.h"
#include "starttls_replay.h"
#include "stream.h"
#include "stream_dial.h"
#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>

#define RECEIVER_RETRY_US     50000
#define TARPIT_RECEIVE_BUFFER 1 /* the kernel makes it its least, about 2 KiB */
#define TARPIT_EVENTS         (EPOLLRDHUP | EPOLLET)

uint64_t delivery_due_us(const struct session *session)
{
	const struct target *target = &session_service(session)->target;
	uint64_t most_us = session->context->policy->connect_timeout_us;

	if (target->delivery == DELIVERY_CONNECT && target->connect.start &&
		target->connect.start_timeout_us > most_us)
		most_us = target->connect.start_timeout_us;
	return session->context->loop.now_us + most_us;
}

/* ---- relayed to a backend ---- */

/* The backend's own banner, in place of which the client has seen another's. */
static void delivery_skip_banner(struct stream *stream, uint32_t events)
{
	stream->server_events |= events;
	switch (banner_skip(stream->relay.server.in.fd, stream->skipped)) {
	case BANNER_SKIPPED:
		stream_delivered(stream, stream->server_events);
		break;
	case BANNER_AWAITED:
		break;
	case BANNER_UNLIKE:
		dial_cancel(&stream->dial);
		stream_undelivered(stream, -EPROTO);
		break;
	}
}

/* The server is asked for TLS, as its client has asked usher: this `step` is reached. */
static void delivery_replay_starttls(struct stream *stream, enum starttls_step step)
{
	if (step == STARTTLS_TLS) {
		starttls_forget(stream);
		stream_delivered(stream, stream->server_events);
	} else if (step == STARTTLS_REFUSED) {
		dial_cancel(&stream->dial);
		stream_undelivered(stream, -EPROTONOSUPPORT);
	}
}

static void delivery_begin_starttls(struct stream *stream, uint32_t events)
{
	stream->server_events |= events;
	delivery_replay_starttls(stream, starttls_replay_begin(stream));
}

static void delivery_server_ready(struct watch *watch, uint32_t events)
{
	struct stream *stream = container_of(watch, struct stream, relay.server.in);
	if (stream->dialled && stream->starttls) {
		stream->server_events |= events;
		delivery_replay_starttls(stream, starttls_replay(stream));
	} else if (stream->dialled)
		delivery_skip_banner(stream, events);
	else
		dial_ready(&stream->dial, events);
}

/* Its first bytes follow at once, whatever the backend says. */
static bool delivery_client_talks(const struct stream *stream)
{
	if (stream->starttls)
		return !starttls_speaks_first(stream->starttls->kind);
	return stream->session.protocol != PROTOCOL_NONE && !stream->skips_banner && !stream->owes_reply;
}

static void delivery_dialled(struct dial *dial, int error, uint32_t events)
{
	struct stream *stream = container_of(dial, struct stream, dial);
	stream->dialled = error == 0;
	if (error == 0) {
		account_connected(&stream->session);
		stream->relay.server.is_unix = dial_is_unix(dial);
		proxied_announce(stream, &session_service(&stream->session)->target,
			delivery_client_talks(stream) ? MSG_MORE : 0);
	}
	if (error < 0)
		stream_undelivered(stream, error);
	else if (stream->starttls)
		delivery_begin_starttls(stream, events);
	else if (stream->skips_banner)
		delivery_skip_banner(stream, events);
	else
		stream_delivered(stream, events);
}

/* The server of the service is started when a client finds nobody. */
static int delivery_absent(struct dial *dial)
{
	struct stream *stream = container_of(dial, struct stream, dial);

	return starter_ask(stream->session.context, stream->session.service);
}

static void delivery_connect(struct stream *stream, const struct target *target)
{
	if (target->connect.forwarded) { /* another service's fallback has led here */
		stream_undelivered(stream, -EOPNOTSUPP);
		return;
	}
	if (!stream_watch(stream))
		return;
	session_enter(&stream->session, PHASE_CONNECTING);
	stream->dialled = false;
	stream->server_events = 0;
	int error = stream_dial_init(&stream->dial, stream, stream->session.service);
	if (error == -ENOMEM) {
		stream_end(stream, END_NO_MEMORY);
		return;
	}
	if (error < 0) {
		stream_undelivered(stream, error);
		return;
	}
	stream->relay.server.in.ready = delivery_server_ready;
	stream->dial.talks = proxied_announces(stream, target) || delivery_client_talks(stream);
	stream->dial.due_us = delivery_due_us(&stream->session);
	stream->dial.done = delivery_dialled;
	stream->dial.absent = target->connect.start ? delivery_absent : NULL;
	dial_start(&stream->dial);
}

/* ---- handed over ---- */

static void delivery_send_over(struct stream *stream)
{
	loop_timer(&stream->session.context->loop, &stream->session.deadline, stream->handing.due_us);
	handover_send(
		receivers_of(stream->session.context->receivers, stream->session.service), &stream->handing.request);
}

/* A receiver that is being started again is not there for a moment, or its socket does not have its mode yet. Who has
 * somewhere else to go does not wait for it. */
static bool delivery_waits_for_receiver(const struct stream *stream, int error)
{
	bool absent = error == -ECONNREFUSED || error == -ENOENT || error == -EACCES || error == -EPIPE ||
		error == -ECONNRESET;
	return absent && session_service(&stream->session)->fallback == SERVICE_NONE &&
		stream->session.context->loop.now_us + RECEIVER_RETRY_US < stream->handing.due_us;
}

static void delivery_handed_over(struct handover_request *request, int error)
{
	struct stream *stream = container_of(request, struct stream, handing.request);
	struct loop *loop = &stream->session.context->loop;

	if (error == -EPROTO) /* it may have the socket: no fallback */
		stream->session.error = error;
	if (error == 0)
		stream_end(stream, END_HANDED_OVER);
	else if (error == -EPROTO)
		stream_end(stream, END_DELIVERY_FAILED);
	else if (delivery_waits_for_receiver(stream, error))
		loop_timer(loop, &stream->session.deadline, loop->now_us + RECEIVER_RETRY_US);
	else
		stream_undelivered(stream, error);
}

/* Before the receiver can say anything. */
static void delivery_goes_over(struct handover_request *request)
{
	stream_reply(container_of(request, struct stream, handing.request), NULL);
}

void delivery_hand_over_out_of_time(struct session *session)
{
	struct stream *stream = stream_of(session);

	if (!stream->handing.request.handover && stream->session.context->loop.now_us < stream->handing.due_us) {
		delivery_send_over(stream);
		return;
	}
	if (handover_cancel(&stream->handing.request))
		stream_undelivered(stream, -ETIMEDOUT);
	else
		stream_end(stream, END_HANDED_OVER);
}

/* The receiver gets the socket as accept() would have given it: blocking. */
static void delivery_hand_over(struct stream *stream)
{
	int fd = stream_socket(stream);

	session_enter(&stream->session, PHASE_HANDING_OVER);
	stream->handing.local = proxied_local(stream);
	stream->handing.facts = (struct facts){
		.id = stream->session.id,
		.client = &stream->session.client,
		.local = &stream->handing.local,
		.service = session_service(&stream->session)->name,
		.protocol = session_protocol(&stream->session),
		.sni = stream->session.sni,
		.alpn = stream->session.alpn,
		.host = stream->session.host,
	};
	stream->handing.request = (struct handover_request){
		.fd = fd,
		.facts = &stream->handing.facts,
		.going = delivery_goes_over,
		.done = delivery_handed_over,
	};
	stream->handing.due_us = delivery_due_us(&stream->session);
	stream->relay.client.in.sole = false;
	fd_set_stream_nonblocking(fd, false);
	delivery_send_over(stream);
}

/* ---- a program ---- */

static void delivery_spawned(struct request *request, const struct message_answer *answer, int fds[IPC_FDS_MAX])
{
	struct stream *stream = container_of(request, struct stream, spawning);
	struct context *context = stream->session.context;
	struct relay_side *server = &stream->relay.server;
	enum stdio stdio = session_service(&stream->session)->target.exec.stdio;

	if (answer->greeted)
		stream->owes_reply = false;
	if (answer->error == -EACCES && answer->refused[0]) {
		const char *rule = rule_name(answer->refused); /* the message is gone when the end is logged */
		stream_refuse(stream, rule ? rule : "limit");
		return;
	}
	if (answer->error == -ETIMEDOUT && stdio == STDIO_SOCKET) { /* the program may have the socket: no fallback */
		shutdown(stream_socket(stream), SHUT_RDWR);
		stream->session.error = answer->error;
		stream_end(stream, END_DELIVERY_FAILED);
		return;
	}
	if (answer->error < 0) {
		stream_undelivered(stream, answer->error);
		return;
	}
	if (stdio == STDIO_SOCKET || context->state == WORKER_STOPPING) {
		stream_end(stream, stdio == STDIO_SOCKET ? END_PROGRAM : END_SHUTDOWN);
		return;
	}
	if (!stream_watch(stream))
		return;
	server->kind = stdio == STDIO_PIPE ? SIDE_PIPES : SIDE_TERMINAL;
	int error = loop_watch(&context->loop, &server->in, fds[0], RELAY_EVENTS);
	if (error == 0)
		fds[0] = -1;
	if (error == 0 && stdio == STDIO_PIPE) {
		error = loop_watch(&context->loop, &server->out, fds[1], EPOLLOUT | EPOLLET);
		if (error == 0)
			fds[1] = -1;
	}
	if (error < 0)
		stream_end(stream, END_NO_MEMORY);
	else
		stream_delivered(stream, 0);
}

static void delivery_spawn(struct stream *stream)
{
	bool has_socket = session_service(&stream->session)->target.exec.stdio == STDIO_SOCKET;
	struct message message;

	session_enter(&stream->session, PHASE_SPAWNING);
	stream->relay.client.in.sole = false;
	session_describe(&stream->session, PROGRAM_SERVICE, &message);
	message.spawn.greets = has_socket && stream->owes_reply;
	stream->spawning = (struct request){ .answered = delivery_spawned };
	int error = requester_ask(stream->session.context->requester, &stream->spawning, &message,
		has_socket ? stream_socket(stream) : -1);
	if (error < 0)
		stream_undelivered(stream, error);
}

/* ---- rejected ---- */

/* A client that is rejected into the tarpit is not read: what it sends stays with the kernel, which takes little of it. All that is waited for is
 * that it leaves. A worker that ends soon keeps nobody waiting. */
static void delivery_keep_waiting(struct stream *stream)
{
	struct context *context = stream->session.context;
	struct watch *client = &stream->relay.client.in;

	if (context->state != WORKER_SERVING) {
		stream_end(stream, END_REJECTED);
		return;
	}
	fd_set_option(client->fd, SOL_SOCKET, SO_RCVBUF, TARPIT_RECEIVE_BUFFER);
	int error = session_enter(&stream->session, PHASE_TARPIT);
	if (error == 0)
		shed_enter_tarpit(&stream->session);
	if (error == 0)
		error = client->listed ? loop_rewatch(&context->loop, client, TARPIT_EVENTS)
				       : loop_watch_held(&context->loop, client, TARPIT_EVENTS);
	if (error < 0)
		stream_end(stream, END_NO_MEMORY);
}

uint64_t delivery_tarpit_due_us(const struct session *session)
{
	return session->context->loop.now_us + session_service(session)->target.reject.tarpit_us;
}

void delivery_tarpit_over(struct session *session)
{
	stream_end(stream_of(session), END_REJECTED);
}

/* ---- whichever ---- */

void delivery_begin(struct stream *stream)
{
	const struct target *target = &session_service(&stream->session)->target;
	switch (target->delivery) {
	case DELIVERY_CONNECT:
		delivery_connect(stream, target);
		break;
	case DELIVERY_HANDOVER:
		delivery_hand_over(stream);
		break;
	case DELIVERY_EXEC:
		delivery_spawn(stream);
		break;
	case DELIVERY_REJECT:
		if (target->reject.tarpit_us)
			delivery_keep_waiting(stream);
		else
			stream_end(stream, END_REJECTED);
		break;
	}
}

void delivery_connect_out_of_time(struct session *session)
{
	struct stream *stream = stream_of(session);

	stream_undelivered(stream, dial_expire(&stream->dial));
}

void delivery_cancel(struct stream *stream)
{
	if (stream->session.phase == PHASE_CONNECTING)
		dial_cancel(&stream->dial);
	else if (stream->session.phase == PHASE_HANDING_OVER)
		handover_cancel(&stream->handing.request);
	else if (stream->session.phase == PHASE_TARPIT)
		shed_leave(&stream->session);
}
