/* Makes a socket that is connected to a client, beside the listener's own group of sockets (sockets.h).
 *
 * From bind() to connect() it must take no datagram of anybody else, and at no time may it belong to the listener's group: another size of
 * it would move half of all flows to other workers. So it differs from the group in what the kernel compares:
 *
 *     listener               this socket is bound to
 *     IPv4, one address      that address, mapped into IPv6: for an IPv4 datagram an IPv4 socket is preferred
 *     IPv4, all addresses    [::], for IPv4 as well: likewise
 *     IPv6                   [::], for IPv4 as well: another group, and the one that was there first is preferred
 *
 * connect() gives one that was bound to [::] the address from which the machine would speak to the client, which need not be the one that the
 * client speaks to; that one can only be told after connect(). What others have sent to it meanwhile, where nobody else would have got
 * it, is for the worker to throw away. Refuses addresses that are not the listener's. Owns nothing. */
#include "client_socket.h"
#include "fd.h"
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

static bool address_is_any(const struct address *address)
{
	return address->sa.sa_family == AF_INET ? address->in.sin_addr.s_addr == htonl(INADDR_ANY)
						: IN6_IS_ADDR_UNSPECIFIED(&address->in6.sin6_addr);
}

bool client_socket_is_for(const struct policy *policy, const struct message_want_client *want)
{
	if (want->listener >= policy->n_listeners)
		return false;
	const struct listener_policy *listener = &policy->listeners[want->listener];
	return listener->transport == TRANSPORT_DATAGRAM &&
		listener->address.sa.sa_family == want->local.sa.sa_family &&
		address_port(&listener->address) == address_port(&want->local) &&
		(address_is_any(&listener->address) || address_equal(&listener->address, &want->local));
}

static struct address address_mapped(const struct address *address)
{
	struct address mapped = { .len = sizeof(mapped.in6), .in6.sin6_family = AF_INET6 };

	if (address->sa.sa_family == AF_INET6)
		return *address;
	mapped.in6.sin6_port = address->in.sin_port;
	memset(&mapped.in6.sin6_addr.s6_addr[10], 0xff, 2);
	memcpy(&mapped.in6.sin6_addr.s6_addr[12], &address->in.sin_addr, 4);
	return mapped;
}

static int socket_bind(int fd, const struct listener_policy *listener)
{
	struct address at = address_mapped(&listener->address);

	if (listener->address.sa.sa_family == AF_INET6 || address_is_any(&listener->address))
		at.in6.sin6_addr = in6addr_any;
	int error = fd_set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	if (error == 0)
		error = fd_set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (error == 0 && listener->freebind)
		error = fd_set_option(fd, IPPROTO_IP, IP_FREEBIND, 1);
	if (error == 0 && listener->receive_buffer)
		fd_set_option(fd, SOL_SOCKET, SO_RCVBUF, (int)listener->receive_buffer);
	return error == 0 && bind(fd, &at.sa, at.len) < 0 ? -errno : error;
}

static int socket_connect(int fd, const struct message_want_client *want)
{
	struct address client = address_mapped(&want->client), near = { .len = sizeof(near.in6) };

	if (connect(fd, &client.sa, client.len) < 0 || getsockname(fd, &near.sa, &near.len) < 0)
		return -errno;
	struct address local = address_mapped(&want->local);
	return IN6_ARE_ADDR_EQUAL(&near.in6.sin6_addr, &local.in6.sin6_addr) ? 0 : -EADDRNOTAVAIL;
}

int client_socket_open(const struct policy *policy, const struct message_want_client *want)
{
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	int error = socket_bind(fd, &policy->listeners[want->listener]);
	if (error == 0)
		error = socket_connect(fd, want);
	if (error == 0)
		return fd;
	fd_close(fd);
	return error;
}
