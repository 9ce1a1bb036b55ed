/* A stream from accept to its end: accepted, decided, admitted, delivered, ended. Data goes one way; two calls come back up: "decided"
 * (undecided.c) and "delivered" (delivery.c). Nothing is consumed before delivery: the bytes are peeked, and whoever gets the
 * socket reads them.
 *
 * A stream is made in stream_new() and ends in stream_end(), once, with a reason, a log line and its memory given back after the
 * loop's turn. It owns its client's socket, through the relay's watch, from accept to the end. */
#include "account.h"
#include "backends.h"
#include "banner.h"
#include "delivery.h"
#include "fd.h"
#include "identify.h"
#include "ipc.h"
#include "listener.h"
#include "log.h"
#include "session_log.h"
#include "shed.h"
#include "starttls_answer.h"
#include "stream.h"
#include "stream_pace.h"
#include "tcpmux_reply.h"
#include "undecided.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

/* ---- accepted ---- */

/* Until the relay takes the watch over. Unread bytes do not wake us again: only new ones do. */
static void stream_client_ready(struct watch *watch, uint32_t events)
{
	struct stream *stream = container_of(watch, struct stream, relay.client.in);
	bool lost = events & (EPOLLERR | EPOLLHUP);

	stream->client_events |= events;
	if (session_is_undecided(&stream->session))
		undecided_ready(stream, lost || events & (EPOLLIN | EPOLLRDHUP));
	else if (stream->session.phase == PHASE_CONNECTING && lost)
		stream_end(stream, END_CLIENT_RESET);
	else if (stream->session.phase == PHASE_TARPIT && (lost || events & EPOLLRDHUP))
		stream_end(stream, END_REJECTED);
}

/* After the turn in which it ended: events that were already fetched may still have named it. */
static void stream_bury(struct task *task)
{
	struct stream *stream = container_of(task, struct stream, burial);
	struct context *context = stream->session.context;

	session_free(&stream->session, &context->spare_streams);
	context->session_gone(context);
}

static void stream_answered(struct relay *relay)
{
	account_answered(&container_of(relay, struct stream, relay)->session);
}

static struct stream *stream_alloc(struct context *context)
{
	struct session *session =
		session_new(&stream_transport, context, sizeof(struct stream), &context->spare_streams);

	if (!session)
		return NULL;
	struct stream *stream = stream_of(session);
	stream->named = PROTOCOL_NONE;
	stream->burial = (struct task){ .run = stream_bury };
	stream->relay.answered = stream_answered;
	stream->relay.client.kind = SIDE_SOCKET;
	stream->relay.client.in = (struct watch){ .fd = -1, .ready = stream_client_ready };
	stream->relay.client.out.fd = stream->relay.server.in.fd = stream->relay.server.out.fd = -1;
	return stream;
}

static void stream_begin(struct stream *stream, int fd)
{
	struct context *context = stream->session.context;
	const struct listener_policy *listener = &context->policy->listeners[stream->session.decider];
	struct relay *relay = &stream->relay;

	stream->session.id =
		atomic_fetch_add_explicit(&context->shared->page->next_connection, 1, memory_order_relaxed);
	stream->session.accepted_us = context->loop.now_us;
	loop_hold(&relay->client.in, fd);
	relay->client.is_unix = stream->session.client.sa.sa_family == AF_UNIX;
	if (relay->client.is_unix || !stream->session.came_in) /* others have it of their listener */
		fd_set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1);
	/* From a listener with TCP_NODELAY. */
	relay->client.in.sole = relay->client.prompt = stream->session.came_in;
	undecided_begin(stream, proxied_by(listener, &stream->session.client));
}

void stream_new(struct context *context, const struct listener *listener, int fd, const struct address *client,
	uint32_t listener_place)
{
	struct stream *stream = stream_alloc(context);

	if (!stream) {
		limits_leave_listener(context->shared->limits, context->slot, &listener_place);
		limits_leave_all(context->shared->limits, context->slot);
		fd_reset(fd);
		return;
	}
	stream->session.client = *client;
	stream->session.listener = listener->policy->text;
	stream->session.decider = listener->number;
	stream->session.listener_place = listener_place;
	account_accepted(&stream->session, listener->counter);
	stream_begin(stream, fd);
}

void stream_adopt(struct context *context, int fd, const struct address *client)
{
	struct stream *stream = stream_alloc(context);

	if (!stream) {
		fd_reset(fd);
		return;
	}
	stream->session.client = *client;
	stream->session.listener = "inetd";
	limits_enter_all(context->shared->limits, context->slot, 0);
	stream_begin(stream, fd);
}

/* ---- decided ---- */

void stream_decided(struct stream *stream, uint32_t service, uint32_t protocol)
{
	undecided_end(stream);
	loop_timer_stop(&stream->session.context->loop, &stream->session.deadline);
	stream->session.decided_us = clock_monotonic_us();
	stream->session.service = service;
	if (service != SERVICE_NONE)
		account_decided(&stream->session, service);
	stream->session.protocol = protocol;
	if (tcpmux_is_due(stream->session.context->policy, protocol))
		stream->owes_reply = tcpmux_take_line(stream_socket(stream)) == 0;
	if (service == SERVICE_NONE)
		stream_end(stream, END_NO_SERVICE);
	else
		admission_begin(&stream->admission, &stream->session);
}

/* ---- admitted ---- */

void stream_refuse(struct stream *stream, const char *rule)
{
	stream_reply(stream, "not for you");
	stream->session.refused = rule;
	stream_end(stream, END_REFUSED);
}

/* ---- delivered ---- */

/* What the backend made of the connection, where that is to count. */
static void stream_observe(struct stream *stream, enum relay_end end)
{
	uint64_t now_us = stream->session.context->loop.now_us;

	if (stream->session.former || session_delivery(&stream->session) != DELIVERY_CONNECT ||
		!session_service(&stream->session)->target.connect.observe)
		return;
	if (stream->relay.down.bytes)
		choose_spoke(&stream->dial.choice);
	else if (end == RELAY_SERVER_RESET)
		choose_was_reset(&stream->dial.choice, now_us);
}

static void stream_relay_done(struct relay *relay, enum relay_end end)
{
	static const enum session_end ends[] = {
		[RELAY_FINISHED] = END_FINISHED,
		[RELAY_CLIENT_RESET] = END_CLIENT_RESET,
		[RELAY_SERVER_RESET] = END_SERVER_RESET,
		[RELAY_IDLE] = END_IDLE,
		[RELAY_NO_MEMORY] = END_NO_MEMORY,
	};
	struct stream *stream = container_of(relay, struct stream, relay);

	stream_observe(stream, end);
	stream_end(stream, ends[end]);
}

static void stream_equip_relay(struct stream *stream)
{
	struct context *context = stream->session.context;

	stream->relay.loop = &context->loop;
	stream->relay.pool = context->relay_pool;
	stream->relay.done = stream_relay_done;
}

void stream_delivered(struct stream *stream, uint32_t server_events)
{
	struct context *context = stream->session.context;
	const struct service *service = session_service(&stream->session);

	stream_reply(stream, NULL);
	session_enter(&stream->session, PHASE_RELAYING);
	if (service->target.delivery == DELIVERY_CONNECT)
		backends_hold(&stream->session, &stream->dial.choice);
	stream_equip_relay(stream);
	stream->relay.idle_us = service->idle_timeout_us;
	if (stream_pace(stream, service) < 0) {
		stream_end(stream, END_NO_MEMORY);
		return;
	}
	/* Its socket has that of the listener, which knows no service. */
	if (service->patience_ms != context->policy->patience_ms)
		dial_set_patience(stream_socket(stream), AF_INET, service->patience_ms);
	relay_start(&stream->relay, stream->client_events, server_events);
	context->session_movable(context);
}

void stream_stay(struct stream *stream)
{
	size_t shown;

	shed_leave(&stream->session);
	identification_cancel(stream->identification);
	stream->identification = NULL;
	stream->dial =
		(struct dial){ .backend = stream->banner->dial.backend, .choice = stream->banner->dial.choice };
	stream->session.decided_us = clock_monotonic_us();
	stream->session.service = stream->banner->service;
	account_decided(&stream->session, stream->session.service);
	uint32_t events = banner_leave(stream, &shown);
	stream->relay.answered = NULL; /* that was before the decision */
	stream_delivered(stream, events);
	stream->relay.down.bytes += shown;
}

/* The service's fallback takes over; the policy has no circles. */
void stream_undelivered(struct stream *stream, int error)
{
	struct context *context = stream->session.context;
	uint32_t fallback = session_service(&stream->session)->fallback;

	account_failed(&stream->session);
	if ((error == -EMFILE || error == -ENFILE) && stream->session.phase == PHASE_CONNECTING)
		context->starved(context);
	loop_timer_stop(&context->loop, &stream->session.deadline);
	relay_preface(&stream->relay, NULL, 0);
	if (fallback != SERVICE_NONE) {
		if (stream->session.phase == PHASE_HANDING_OVER)
			fd_set_stream_nonblocking(stream_socket(stream), true);
		admission_fall_back(&stream->admission, &stream->session, fallback, error);
		return;
	}
	stream_reply(stream, "not available");
	if (stream->session.phase == PHASE_HANDING_OVER && stream->handing.request.n_sent)
		shutdown(stream_socket(stream), SHUT_RDWR); /* its receiver hangs, and holds it too */
	stream->session.error = error;
	stream_end(stream, END_DELIVERY_FAILED);
}

/* ---- moved between workers ---- */

struct stream *stream_arrive(struct context *context, enum session_phase phase)
{
	struct stream *stream = stream_alloc(context);

	if (!stream)
		return NULL;
	stream->session.phase = phase;
	if (phase == PHASE_RELAYING)
		stream_equip_relay(stream);
	return stream;
}

void stream_arrived(struct stream *stream, int error)
{
	struct context *context = stream->session.context;

	if (error < 0) {
		stream_end(stream, END_NO_MEMORY);
	} else if (context->state == WORKER_STOPPING) {
		stream_end(stream, END_SHUTDOWN);
	} else if (stream->session.phase == PHASE_RELAYING) {
		stream->relay.idle_us = session_idle_us(&stream->session);
		if (stream->relay.down.bytes > 0)
			stream->relay.answered = NULL;
		relay_resume(&stream->relay);
	} else {
		undecided_begin(
			stream, stream->session.phase == PHASE_PROXIED ? PROXIED_BY_TRUSTED : PROXIED_BY_NOBODY);
	}
	context->session_movable(context); /* the next reload may have come before it */
}

static void stream_give_back(struct stream *stream, enum session_end end);

void stream_leave(struct stream *stream)
{
	stream->relay.client.in.sole = stream->relay.server.in.sole = false;
	account_left(&stream->session);
	stream_give_back(stream, END_FINISHED);
	free(stream->session.kept);
	stream->session.kept = NULL;
	stream->session.phase = PHASE_ENDED;
	loop_defer(&stream->session.context->loop, &stream->burial);
}

/* ---- ended ---- */

static void stream_close_client(struct stream *stream, bool reset)
{
	int fd = loop_unwatch_to_close(&stream->session.context->loop, &stream->relay.client.in);
	if (reset)
		fd_reset(fd);
	else
		fd_close(fd);
}

/* Nobody will read it, and closing over unread bytes would be a reset. */
static void stream_discard_input(const struct stream *stream)
{
	bool unused;
	ssize_t n = ipc_receive_bytes(
		stream_socket(stream), stream->session.context->peeked, EVIDENCE_MAX, MSG_DONTWAIT, &unused);
	(void)n;
}

/* Rather than an orderly close. */
static bool stream_ends_by_reset(const struct stream *stream, enum session_end end)
{
	const struct service *service =
		stream->session.service == SERVICE_NONE ? NULL : session_service(&stream->session);

	switch (end) {
	case END_CLIENT_RESET:
	case END_NO_MEMORY:
	case END_SHED:
		return true;
	case END_REJECTED:
		return service->target.reject.reset;
	case END_REFUSED: /* without a service: banned */
		return !service || (service->access && service->access->reset);
	default:
		return false;
	}
}

/* Lets go of whatever the phase holds. */
static void stream_release(struct stream *stream, enum session_end end)
{
	static const enum relay_end relay_ends[] = {
		[END_CLIENT_RESET] = RELAY_CLIENT_RESET,
		[END_SERVER_RESET] = RELAY_SERVER_RESET,
		[END_NO_MEMORY] = RELAY_SERVER_RESET,
	};
	bool reset = stream_ends_by_reset(stream, end);

	switch (stream->session.phase) {
	case PHASE_PROXIED:
	case PHASE_DECIDING:
		undecided_end(stream);
		break;
	case PHASE_RELAYING:
		relay_close(&stream->relay, end < sizeof(relay_ends) / sizeof(relay_ends[0]) ? relay_ends[end] : 0);
		break;
	default:
		delivery_cancel(stream);
		break;
	}
	if (!reset &&
		(end == END_REJECTED || end == END_REFUSED || end == END_NO_SERVICE || end == END_PROXY_HEADER ||
			end == END_STARTTLS))
		stream_discard_input(stream);
	relay_preface(&stream->relay, NULL, 0);
	starttls_forget(stream);
	stream_close_client(stream, reset);
	fd_close(loop_unwatch_to_close(&stream->session.context->loop, &stream->relay.server.in));
	fd_close(loop_unwatch(&stream->session.context->loop, &stream->relay.server.out));
}

static void stream_give_back(struct stream *stream, enum session_end end)
{
	session_leave_limits(&stream->session);
	stream_release(stream, end);
}

void stream_end(struct stream *stream, enum session_end end)
{
	struct context *context = stream->session.context;

	assert(stream->session.phase != PHASE_ENDED);
	account_end(&stream->session, end);
	stream_give_back(stream, end);
	/* Last: who reads there that a place or a descriptor is free may come at once. */
	enum log_level level = session_log_level(&stream->session, end);
	if (log_wants(level))
		session_log(&stream->session, level, end);
	stream->session.phase = PHASE_ENDED;
	loop_defer(&context->loop, &stream->burial);
}

/* A program that was asked for may be on its way: its answer must find the connection, and ends it. */
void stream_stop(struct stream *stream, enum session_end end)
{
	bool awaited = stream->session.phase == PHASE_SPAWNING || stream->session.phase == PHASE_ASKING;
	if (stream->session.phase == PHASE_HANDING_OVER && !handover_cancel(&stream->handing.request))
		stream_end(stream, END_HANDED_OVER);
	else if (stream->session.phase != PHASE_ENDED && !awaited)
		stream_end(stream, end);
}
