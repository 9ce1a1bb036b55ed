/* A connection's PROXY headers, the one that comes in and the one that goes out. Believes those alone whom the
 * listener's policy names. What it keeps of a header is the connection's, and freed with it. */
#include "proxied.h"
#include "connection.h"
#include "peek.h"
#include "policy.h"
#include "proxy_header.h"
#include "worker.h"
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
static int proxied_keep(
	struct connection *connection, const struct proxy_header *header, const uint8_t *bytes, size_t len)
{
	struct proxied *proxied = malloc(sizeof(*proxied) + len);

	if (!proxied)
		return -ENOMEM;
	*proxied = (struct proxied){ .destination = header->destination, .len = len };
	memcpy(proxied->header, bytes, len);
	if (header->source.len) {
		proxied->peer = connection->client;
		connection->client = header->source;
	}
	connection->proxied = proxied;
	return 0;
}

enum proxied_taken proxied_take(struct connection *connection)
{
	bool optional = connection->worker->policy->listeners[connection->decider].plain_absent;
	uint8_t *buffer = connection->worker->peeked;
	int fd = connection_socket(connection);
	struct proxy_header header;

	bool is_cut;
	ssize_t n = connection_peek(connection, PROXY_HEADER_MAX, &is_cut);
	if (n == 0)
		return PROXIED_GONE;
	if (n < 0)
		return n == -EAGAIN || n == -EINTR ? PROXIED_WAIT : PROXIED_RESET;
	ssize_t len = proxy_header_read(buffer, (size_t)n, &header);
	bool closed = connection->client_events & (EPOLLRDHUP | EPOLLHUP);
	if (len == 0 && !closed && !is_cut)
		return PROXIED_WAIT;
	if (optional && (len == 0 || len == -ENOMSG))
		return PROXIED_ABSENT;
	if (len <= 0) {
		connection->refused = len < 0 ? fault_name(len) : "incomplete";
		return PROXIED_BROKEN;
	}
	if (proxied_keep(connection, &header, buffer, (size_t)len) < 0)
		return PROXIED_NO_MEMORY;
	return peek_consume(fd, buffer, (size_t)len) < 0 ? PROXIED_RESET : PROXIED_TAKEN; /* they were there */
}

const struct address *proxied_via(const struct connection *connection)
{
	const struct proxied *proxied = connection->proxied;
	return proxied && proxied->peer.len ? &proxied->peer : NULL;
}

struct address proxied_local(const struct connection *connection)
{
	struct address local = { .len = sizeof(local.un) };

	if (proxied_via(connection))
		return connection->proxied->destination;
	if (getsockname(connection_socket(connection), &local.sa, &local.len) < 0)
		local.len = 0;
	return local;
}

static bool backend_is_in6(const struct connection *connection)
{
	struct address peer = { .len = sizeof(peer.un) };

	if (getpeername(connection->relay.server.in.fd, &peer.sa, &peer.len) < 0)
		return false;
	peer = address_unmapped(&peer);
	return peer.sa.sa_family == AF_INET6;
}

/* The application protocol is told where the client offered one alone: which of several it will be, the server
 * decides. */
static size_t proxied_write(const struct connection *connection, const struct target *target, uint8_t *to)
{
	const struct proxied *proxied = connection->proxied;
	struct proxy_header header = { 0 };
	const struct proxy_additions additions = {
		.alpn = connection->offers_one_alpn ? connection->alpn : NULL,
		.authority = connection->sni ? connection->sni : connection->host,
		.id = connection->id,
		.in6 = target->connect.backend_family && backend_is_in6(connection),
	};

	if (proxied_via(connection)) /* for the TLVs; it was read before, perhaps by another worker */
		proxy_header_read(proxied->header, proxied->len, &header);
	header.source = connection->client;
	header.destination = proxied_local(connection);
	return proxy_header_write(to, target->connect.send_proxy, &header, &additions);
}

bool proxied_announces(const struct connection *connection, const struct target *target)
{
	return target->connect.send_proxy || (target->connect.pass_proxy && connection->proxied);
}

void proxied_announce(struct connection *connection, const struct target *target, int flags)
{
	struct worker *worker = connection->worker;
	const struct proxied *proxied = connection->proxied;
	const uint8_t *header = worker->peeked;
	size_t len;

	if (!proxied_announces(connection, target))
		return;
	if (target->connect.pass_proxy) {
		header = proxied->header;
		len = proxied->len;
	} else {
		len = proxied_write(connection, target, worker->peeked);
	}
	ssize_t n = send(connection->relay.server.in.fd, header, len, MSG_DONTWAIT | MSG_NOSIGNAL | flags);
	size_t sent = n > 0 ? (size_t)n : 0; /* the relay meets the same error, and knows what to do */
	connection->relay.pool = worker->relay_pool;
	connection->relay.server.written =
		!(flags & MSG_MORE) || sent < len; /* else TCP_NODELAY would push it out alone */
	relay_preface(&connection->relay, header + sent, len - sent);
}
