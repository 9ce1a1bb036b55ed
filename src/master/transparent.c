/* Makes sockets for transparent services. Binds and connects nothing: whose address it will be, a worker says. */
#include "transparent.h"
#include "fd.h"
#include "log.h"
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/fsuid.h>

static int socket_allow(int fd, sa_family_t family)
{
	return family == AF_INET6 ? fd_set_option(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
				  : fd_set_option(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
}

int transparent_open(const struct policy *policy, sa_family_t family, int type)
{
	/* A socket's owner is who its maker is to the file system; capabilities for the network stay. */
	int self = policy->drop_identity ? setfsuid(policy->uid) : -1;
	int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int made = fd < 0 ? -errno : 0;

	if (policy->drop_identity)
		setfsuid((uid_t)self);
	if (made < 0)
		return made;
	int error = socket_allow(fd, family);
	if (error == 0 || error == -EPERM)
		return fd;
	fd_close(fd);
	return error;
}

void transparent_check(const struct policy *policy)
{
	if (!policy->transparent)
		return;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int error = fd < 0 ? -errno : socket_allow(fd, AF_INET);
	if (error < 0)
		log_error("transparent services will fail%s: %s%s",
			error == -EPERM ? " for clients that are not on this machine" : "", strerrordesc_np(-error),
			error == -EPERM ? "; usher needs root, CAP_NET_ADMIN or CAP_NET_RAW for them" : "");
	fd_close(fd);
}
