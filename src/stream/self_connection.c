/* Tells a server from usher itself, once the connection is there and before a byte goes over it: a client that was sent round would
 * come back for as long as there are descriptors.
 *
 *     TCP   a listener has the address; or it has the port on all addresses, and this is one of the machine's: both
 *           ends of the connection have it, or the client came in on it
 *     UNIX  who listens is the master (SO_PEERCRED), or the process 1 on a path of ours, which it has bound for us
 *
 * Refuses to look for roundabout ways, by another relay or a packet filter: what comes in there is a client like others.
 * Owns nothing. */
#include "self_connection.h"
#include "dial.h"
#include "policy.h"
#include "stream.h"
#include <sys/socket.h>

static bool is_own_address(const struct policy *policy, const struct address *address)
{
	for (size_t i = 0; i < policy->n_listeners; i++)
		if (policy->listeners[i].transport == TRANSPORT_STREAM &&
			address_reaches(address, &policy->listeners[i].address))
			return true;
	return false;
}

/* As a wildcard listener sees it, which takes all of this machine's addresses: loopback is one of them. */
static struct address loopback_for(const struct address *address)
{
	struct address at = { 0 };

	address_parse(&at, address->sa.sa_family == AF_INET ? "127.0.0.1:1" : "[::1]:1");
	address_set_port(&at, address_port(address));
	return at;
}

/* The near end of a socket has this address, whatever the port. */
static bool is_near(int fd, const struct address *address)
{
	struct address near = { .len = sizeof(near.un) };

	if (getsockname(fd, &near.sa, &near.len) < 0 || !address_is_ip(&near))
		return false;
	address_set_port(&near, address_port(address));
	return address_equal(&near, address);
}

static bool is_own_ip(const struct stream *stream, int fd)
{
	const struct policy *policy = stream->session.context->policy;
	struct address to = { .len = sizeof(to.in6) };

	if (getpeername(fd, &to.sa, &to.len) < 0)
		return false;
	if (is_own_address(policy, &to))
		return true;
	if (!is_near(fd, &to) && !is_near(stream_socket(stream), &to)) /* a transparent one has the client's */
		return false;
	struct address loopback = loopback_for(&to);
	for (size_t i = 0; i < policy->n_listeners; i++)
		if (policy->listeners[i].transport == TRANSPORT_STREAM &&
			!address_equal(&policy->listeners[i].address, &loopback) &&
			address_reaches(&loopback, &policy->listeners[i].address))
			return true;
	return false;
}

static bool is_own_path(const struct context *context, int fd)
{
	struct address to = { .len = sizeof(to.un) };
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (!context->policy->has_unix_listener || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	if (cred.pid == context->master)
		return true;
	return cred.pid == 1 && getpeername(fd, &to.sa, &to.len) == 0 && is_own_address(context->policy, &to);
}

bool self_connection_reached(const struct dial *dial, int fd)
{
	const struct stream *stream = dial->context;
	const struct policy *policy = stream->session.context->policy;
	uint16_t port = address_port(&dial->choice.taken.address);

	if (dial_is_unix(dial))
		return is_own_path(stream->session.context, fd);
	return policy->ports[TRANSPORT_STREAM][port / 8] >> port % 8 & 1 && is_own_ip(stream, fd);
}
