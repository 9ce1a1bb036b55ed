/* A stream's PROXY headers, the one that comes in and the one that goes out. Believes those alone whom the
 * listener's policy names. What it keeps of a header is the session's, and freed with it. */
#include "proxied.h"
#include "peek.h"
#include "policy.h"
#include "proxy_header.h"
#include "stream.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

_Static_assert(PROXY_HEADER_WRITE_MAX <= EVIDENCE_MAX, "a header is read and written in the worker's buffer");

enum proxied_by proxied_by(const struct listener_policy *listener, const struct address *peer)
{
	if (!listener->proxies)
		return PROXIED_BY_NOBODY;
	if (address_is_ip(peer) ? address_set_contains(listener->proxies, peer) : listener->unix_proxies)
		return PROXIED_BY_TRUSTED;
	return listener->plain_others ? PROXIED_BY_NOBODY : PROXIED_BY_STRANGER;
}

static const char *fault_name(ssize_t error)
{
	switch (error) {
	case -ENOMSG:
		return "absent";
	case -EMSGSIZE:
		return "too-long";
	case -EBADMSG:
		return "checksum";
	default:
		return "malformed";
	}
}

/* Before the header's bytes are read. */
static int proxied_keep(struct stream *stream, const struct proxy_header *header, const uint8_t *bytes, size_t len)
{
	struct proxied *proxied = malloc(sizeof(*proxied) + len);

	if (!proxied)
		return -ENOMEM;
	*proxied = (struct proxied){ .destination = header->destination, .len = len };
	memcpy(proxied->header, bytes, len);
	if (header->source.len) {
		proxied->peer = stream->session.client;
		stream->session.client = header->source;
	}
	stream->session.proxied = proxied;
	return 0;
}

enum proxied_taken proxied_take(struct stream *stream)
{
	bool optional = stream->session.context->policy->listeners[stream->session.decider].plain_absent;
	uint8_t *buffer = stream->session.context->peeked;
	int fd = stream_socket(stream);
	struct proxy_header header;

	bool is_cut;
	ssize_t n = stream_peek(stream, PROXY_HEADER_MAX, &is_cut);
	if (n == 0)
		return PROXIED_GONE;
	if (n < 0)
		return n == -EAGAIN || n == -EINTR ? PROXIED_WAIT : PROXIED_RESET;
	ssize_t len = proxy_header_read(buffer, (size_t)n, &header);
	bool closed = stream->client_events & (EPOLLRDHUP | EPOLLHUP);
	if (len == 0 && !closed && !is_cut)
		return PROXIED_WAIT;
	if (optional && (len == 0 || len == -ENOMSG))
		return PROXIED_ABSENT;
	if (len <= 0) {
		stream->session.refused = len < 0 ? fault_name(len) : "incomplete";
		return PROXIED_BROKEN;
	}
	if (proxied_keep(stream, &header, buffer, (size_t)len) < 0)
		return PROXIED_NO_MEMORY;
	return peek_consume(fd, buffer, (size_t)len) < 0 ? PROXIED_RESET : PROXIED_TAKEN; /* they were there */
}

struct address proxied_local(const struct stream *stream)
{
	struct address local = { .len = sizeof(local.un) };

	if (session_via(&stream->session))
		return stream->session.proxied->destination;
	if (getsockname(stream_socket(stream), &local.sa, &local.len) < 0)
		local.len = 0;
	return local;
}

static bool backend_is_in6(const struct stream *stream)
{
	struct address peer = { .len = sizeof(peer.un) };

	if (getpeername(stream->relay.server.in.fd, &peer.sa, &peer.len) < 0)
		return false;
	peer = address_unmapped(&peer);
	return peer.sa.sa_family == AF_INET6;
}

/* The application protocol is told where the client offered one alone: which of several it will be, the server
 * decides. */
static size_t proxied_write(const struct stream *stream, const struct target *target, uint8_t *to)
{
	const struct proxied *proxied = stream->session.proxied;
	struct proxy_header header = { 0 };
	const struct proxy_additions additions = {
		.alpn = stream->session.offers_one_alpn ? stream->session.alpn : NULL,
		.authority = stream->session.sni ? stream->session.sni : stream->session.host,
		.id = stream->session.id,
		.in6 = target->connect.backend_family && backend_is_in6(stream),
	};

	if (session_via(&stream->session)) /* for the TLVs; it was read before, perhaps by another worker */
		proxy_header_read(proxied->header, proxied->len, &header);
	header.source = stream->session.client;
	header.destination = proxied_local(stream);
	return proxy_header_write(to, target->connect.send_proxy, &header, &additions);
}

bool proxied_announces(const struct stream *stream, const struct target *target)
{
	return target->connect.send_proxy || (target->connect.pass_proxy && stream->session.proxied);
}

void proxied_announce(struct stream *stream, const struct target *target, int flags)
{
	struct context *context = stream->session.context;
	const struct proxied *proxied = stream->session.proxied;
	const uint8_t *header = context->peeked;
	size_t len;

	if (!proxied_announces(stream, target))
		return;
	if (target->connect.pass_proxy) {
		header = proxied->header;
		len = proxied->len;
	} else {
		len = proxied_write(stream, target, context->peeked);
	}
	ssize_t n = send(stream->relay.server.in.fd, header, len, MSG_DONTWAIT | MSG_NOSIGNAL | flags);
	size_t sent = n > 0 ? (size_t)n : 0; /* the relay meets the same error, and knows what to do */
	stream->relay.pool = context->relay_pool;
	stream->relay.server.written =
		!(flags & MSG_MORE) || sent < len; /* else TCP_NODELAY would push it out alone */
	relay_preface(&stream->relay, header + sent, len - sent);
}
