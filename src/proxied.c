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

/* Before the header's bytes are read: its TLVs lie in them. */
static int proxied_keep(struct connection *connection, const struct proxy_header *header)
{
	if (header->source.len == 0)
		return 0;
	struct proxied *proxied = malloc(sizeof(*proxied) + header->tlvs_len);
	if (!proxied)
		return -ENOMEM;
	proxied->peer = connection->client;
	proxied->destination = header->destination;
	proxied->tlvs_len = header->tlvs_len;
	if (header->tlvs_len)
		memcpy(proxied->tlvs, header->tlvs, header->tlvs_len);
	connection->proxied = proxied;
	connection->client = header->source;
	return 0;
}

enum proxied_taken proxied_take(struct connection *connection)
{
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
	if (len <= 0) {
		connection->refused = len < 0 ? fault_name(len) : "incomplete";
		return PROXIED_BROKEN;
	}
	if (proxied_keep(connection, &header) < 0)
		return PROXIED_NO_MEMORY;
	return peek_consume(fd, buffer, (size_t)len) < 0 ? PROXIED_RESET : PROXIED_TAKEN; /* they were there */
}

struct address proxied_local(const struct connection *connection)
{
	struct address local = { .len = sizeof(local.un) };

	if (connection->proxied)
		return connection->proxied->destination;
	if (getsockname(connection_socket(connection), &local.sa, &local.len) < 0)
		local.len = 0;
	return local;
}

/* The application protocol is told where the client offered one alone: which of several it will be, the server
 * decides. */
static size_t proxied_write(const struct connection *connection, unsigned version, uint8_t *to)
{
	const struct proxied *proxied = connection->proxied;
	const struct proxy_header header = {
		.source = connection->client,
		.destination = proxied_local(connection),
		.tlvs = proxied ? proxied->tlvs : NULL,
		.tlvs_len = proxied ? proxied->tlvs_len : 0,
	};
	const struct proxy_additions additions = {
		.alpn = connection->offers_one_alpn ? connection->alpn : NULL,
		.authority = connection->sni ? connection->sni : connection->host,
		.id = connection->id,
	};
	return proxy_header_write(to, version, &header, &additions);
}

void proxied_announce(struct connection *connection, const struct target *target)
{
	struct worker *worker = connection->worker;
	uint8_t *header = worker->peeked;

	if (!target->connect.send_proxy)
		return;
	size_t len = proxied_write(connection, target->connect.send_proxy, header);
	ssize_t n = send(connection->relay.server.in.fd, header, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	size_t sent = n > 0 ? (size_t)n : 0; /* the relay meets the same error, and knows what to do */
	connection->relay.pool = worker->relay_pool;
	connection->relay.server.written = true;
	relay_preface(&connection->relay, header + sent, len - sent);
}
