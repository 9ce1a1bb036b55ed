/* Makes sockets that speak as a client does. A worker that was taken over can claim any client; so the address is refused that this
 * machine has itself, which one could receive at, and what no client can have. */
#include "forwarding_socket.h"
#include "fd.h"
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* The kernel forwards no loopback, link-local or multicast addresses either. */
static bool is_routed(const struct address *address)
{
	const struct in6_addr *six = &address->in6.sin6_addr;

	if (address->sa.sa_family == AF_INET) {
		uint8_t first = (uint8_t)(ntohl(address->in.sin_addr.s_addr) >> 24);
		return first != 0 && first != 127 && first < 224;
	}
	return !IN6_IS_ADDR_UNSPECIFIED(six) && !IN6_IS_ADDR_LOOPBACK(six) && !IN6_IS_ADDR_MULTICAST(six) &&
		!IN6_IS_ADDR_LINKLOCAL(six) && !IN6_IS_ADDR_V4MAPPED(six);
}

/* What is sent to an address of this machine leaves from that address. 0, or -EADDRINUSE. */
static int refuse_own(int fd, const struct address *client)
{
	static const struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	struct address from = { .len = sizeof(from.un) }, to = *client;

	if (connect(fd, &client->sa, client->len) < 0 || getsockname(fd, &from.sa, &from.len) < 0)
		return -errno;
	address_set_port(&from, 1);
	address_set_port(&to, 1);
	if (address_equal(&from, &to))
		return -EADDRINUSE;
	return connect(fd, &nobody, sizeof(nobody)) < 0 ? -errno : 0;
}

/* A client's port may be the listener's own, which then has a wildcard address beside this one: all of them are of one user and reuse the
 * port. */
static int socket_become(int fd, const struct address *client, const struct address *local, uint32_t mark)
{
	bool four = client->sa.sa_family == AF_INET;
	int error = fd_set_option(fd, four ? IPPROTO_IP : IPPROTO_IPV6, four ? IP_TRANSPARENT : IPV6_TRANSPARENT, 1);

	if (error == 0)
		error = fd_set_option(fd, SOL_SOCKET, SO_MARK, (int)mark);
	if (error == 0)
		error = fd_set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (error == 0 && bind(fd, &client->sa, client->len) < 0)
		error = -errno;
	if (error == 0 && connect(fd, &local->sa, local->len) < 0)
		error = -errno;
	return error;
}

int forwarding_socket(const struct address *client, const struct address *local, uint32_t mark)
{
	if (!is_routed(client))
		return -EADDRINUSE;
	int fd = socket(client->sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int error = refuse_own(fd, client);
	if (error == 0)
		error = socket_become(fd, client, local, mark);
	if (error == 0)
		return fd;
	fd_close(fd);
	return error;
}
