/* Shows a silent client what a server says first.
 *
 *     silent for banner_timeout -> dial -> what it says, as it comes, to the client
 *         of no known kind, or nobody else says so      stream_stay()
 *         whole, and others say so too                  the client's answer decides between these
 *
 * What was shown cannot be taken back, so from the first byte on the stream stays with this service unless the client's
 * answer is another's. Refuses to be slow: a backend that cannot be reached, or says nothing by the deadline, changes nothing.
 * Owns itself and the backend's socket, through the relay's watch, until it is left to the relay. */
#include "banner.h"
#include "fd.h"
#include "ipc.h"
#include "proxied.h"
#include "stream.h"
#include "stream_dial.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

static const struct listener_policy *banner_listener(const struct stream *stream)
{
	return &stream->session.context->policy->listeners[stream->session.decider];
}

/* What the server said is known now, or will not be: is there anybody else who says so? */
static void banner_judge(struct banner *banner)
{
	size_t len;

	switch (server_banner_read(banner->said, banner->len, &banner->kind, &len)) {
	case VERDICT_MORE:
		break;
	case VERDICT_NO:
		stream_stay(banner->stream);
		break;
	case VERDICT_YES:
		banner->known = true;
		if (banner_listener(banner->stream)->banner_deciders[banner->kind])
			banner->whole(banner->stream);
		else
			stream_stay(banner->stream);
		break;
	}
}

/* Only what the client takes is consumed: the relay finds the rest where it is. */
static ssize_t banner_relay(struct banner *banner)
{
	int server = banner->stream->relay.server.in.fd, client = stream_socket(banner->stream);
	uint8_t *at = banner->said + banner->len;

	ssize_t n = recv(server, at, SERVER_BANNER_MAX - banner->len, MSG_PEEK);
	if (n <= 0)
		return n < 0 ? -errno : 0;
	ssize_t sent = send(client, at, (size_t)n, MSG_NOSIGNAL);
	if (sent < 0)
		return -EPIPE;
	bool unused;
	return ipc_receive_bytes(server, at, (size_t)sent, 0, &unused);
}

static void banner_read(struct banner *banner)
{
	struct stream *stream = banner->stream;
	ssize_t n = banner_relay(banner);

	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n <= 0 && banner->shown) {
		stream_stay(stream); /* the relay sees the same, and knows what to do */
	} else if (n <= 0) {
		banner_end(stream);
	} else {
		banner->shown = true;
		banner->len += (size_t)n;
		banner_judge(banner);
	}
}

static void banner_server_ready(struct watch *watch, uint32_t events)
{
	struct stream *stream = container_of(watch, struct stream, relay.server.in);
	struct banner *banner = stream->banner;

	banner->server_events |= events;
	if (!banner->connected)
		dial_ready(&banner->dial, events);
	else if (!banner->known && events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		banner_read(banner);
}

static const struct target *banner_target(const struct banner *banner)
{
	return &banner->stream->session.context->policy->services[banner->service].target;
}

static void banner_dialled(struct dial *dial, int error, uint32_t events)
{
	struct banner *banner = container_of(dial, struct banner, dial);

	banner->connected = error == 0;
	banner->server_events |= events;
	if (error == 0) {
		banner->stream->relay.server.is_unix = dial_is_unix(dial);
		proxied_announce(banner->stream, banner_target(banner), 0);
	}
	if (error < 0)
		banner_end(banner->stream);
	else if (events & EPOLLIN)
		banner_read(banner);
}

void banner_begin(struct stream *stream, void (*whole)(struct stream *stream))
{
	struct context *context = stream->session.context;
	uint32_t number = banner_listener(stream)->banner_service;
	const struct service *service = &context->policy->services[number];
	struct banner *banner = calloc(1, sizeof(*banner));

	if (!banner || stream_dial_init(&banner->dial, stream, number) < 0 ||
		admission_judge(&stream->session, service)) {
		free(banner);
		return;
	}
	stream->banner = banner;
	banner->stream = stream;
	banner->service = number;
	banner->whole = whole;
	stream->relay.server.in.ready = banner_server_ready;
	banner->dial.due_us = context->loop.now_us + context->policy->connect_timeout_us;
	banner->dial.done = banner_dialled;
	dial_start(&banner->dial);
}

void banner_end(struct stream *stream)
{
	struct context *context = stream->session.context;

	if (!stream->banner)
		return;
	dial_cancel(&stream->banner->dial);
	relay_preface(&stream->relay, NULL, 0);
	limits_leave(context->shared->limits, context->slot, &stream->session.ticket);
	free(stream->banner);
	stream->banner = NULL;
}

uint32_t banner_leave(struct stream *stream, size_t *ret_shown)
{
	struct banner *banner = stream->banner;
	uint32_t events = banner->server_events;

	*ret_shown = banner->len;
	free(stream->banner);
	stream->banner = NULL;
	return events;
}
