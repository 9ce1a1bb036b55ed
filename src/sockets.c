/* Listening sockets. Owns the descriptors and the table of them. Never accepts. */
#include "sockets.h"
#include "dial.h"
#include "fd.h"
#include "holder.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

#define DEFER_S 1 /* the least that the kernel knows: then it asks the client once more, and lets it in */

int sockets_take(struct sockets *sockets, const struct address *address, int fd, bool handed)
{
	struct socket_held *list = reallocarray(sockets->list, sockets->count + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	sockets->list = list;
	list[sockets->count++] = (struct socket_held){ .address = *address, .fd = fd, .handed = handed };
	return 0;
}

int sockets_adopt(struct sockets *sockets)
{
#ifdef HAVE_LIBSYSTEMD
	int n = sd_listen_fds(1);
	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;
		struct address address = { .len = sizeof(address.un) };
		if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0 ||
			getsockname(fd, &address.sa, &address.len) < 0)
			continue;
		int error = fd_set_nonblocking(fd, true);
		if (error == 0)
			error = sockets_take(sockets, &address, fd, true);
		if (error < 0)
			return error;
	}
#endif
	return 0;
}

/* A socket file without a listener behind it is left over from a process that died. */
static void remove_stale(const struct address *address)
{
	struct stat status;
	if (lstat(address->un.sun_path, &status) < 0 || !S_ISSOCK(status.st_mode))
		return;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, &address->sa, address->len) < 0 && errno == ECONNREFUSED)
		unlink(address->un.sun_path);
	fd_close(fd);
}

static int socket_bind(int fd, const struct listener_policy *listener)
{
	const struct address *address = &listener->address;
	if (address->sa.sa_family != AF_UNIX)
		return bind(fd, &address->sa, address->len) < 0 ? -errno : 0;

	remove_stale(address);
	mode_t before = umask(~listener->mode & 0777); /* bind() makes the file: with the right mode from its birth */
	int error = bind(fd, &address->sa, address->len) < 0 ? -errno : 0;
	umask(before);
	return error;
}

/* Those of a new socket. */
static void socket_reset_keepalive(int fd, sa_family_t family)
{
	static const int options[] = { TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT };
	int other = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		int value;
		socklen_t len = sizeof(value);
		if (getsockopt(other, IPPROTO_TCP, options[i], &value, &len) == 0)
			fd_set_option(fd, IPPROTO_TCP, options[i], value);
	}
	fd_close(other);
}

/* Accepted sockets inherit the options, which saves setting them once a connection. A socket that served another policy may
 * have that one's. */
static void socket_set_options(
	int fd, const struct policy *policy, const struct listener_policy *listener, bool fresh)
{
	sa_family_t family = listener->address.sa.sa_family;

	if (!fresh && family != AF_UNIX)
		socket_reset_keepalive(fd, family);
	dial_set_patience(fd, family, policy->patience_ms);
	dial_set_keepalive(fd, family, listener->keepalive_s);
	if (family != AF_UNIX) {
		fd_set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
		fd_set_option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, listener->awaits_bytes ? DEFER_S : 0);
	}
	if (listener->freebind)
		fd_set_option(fd, IPPROTO_IP, IP_FREEBIND, 1); /* of IPv6 too */
}

static int socket_open(const struct policy *policy, const struct listener_policy *listener)
{
	sa_family_t family = listener->address.sa.sa_family;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;

	int error = 0;
	if (family != AF_UNIX)
		error = fd_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (error == 0 && family == AF_INET6)
		error = fd_set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	socket_set_options(fd, policy, listener, true);
	if (error == 0)
		error = socket_bind(fd, listener);
	if (error == 0 && listen(fd, INT32_MAX) < 0) /* the kernel cuts it down to net.core.somaxconn */
		error = -errno;
	if (error < 0) {
		fd_close(fd);
		return error;
	}
	return fd;
}

static void complain_of_bind(const struct policy *policy, const struct listener_policy *listener, int error,
	void (*complain)(void *context, const char *message), void *context)
{
	char holder[128] = "", message[512];
	const char *hint = "";

	if (error == -EADDRINUSE && holder_of_port(&listener->address, holder, sizeof(holder)))
		hint = ", held by ";
	else if (error == -EACCES && address_port(&listener->address) < 1024)
		hint = "; a port below 1024 needs root or CAP_NET_BIND_SERVICE";
	snprintf(message, sizeof(message), "%s:%u: cannot listen on %s: %s%s%s", policy->file, listener->line,
		listener->text, strerrordesc_np(-error), hint, holder);
	complain(context, message);
}

static struct socket_held *sockets_find(const struct sockets *sockets, const struct address *address)
{
	for (size_t i = 0; i < sockets->count; i++)
		if (address_equal(&sockets->list[i].address, address))
			return &sockets->list[i];
	return NULL;
}

static void socket_let_go(struct socket_held *held)
{
	if (!held->handed && held->address.sa.sa_family == AF_UNIX)
		unlink(held->address.un.sun_path);
	held->fd = fd_close(held->fd);
}

int sockets_open(struct sockets *sockets, const struct policy *policy, int *ret_fds,
	void (*complain)(void *context, const char *message), void *context)
{
	size_t before = sockets->count;

	for (size_t i = 0; i < policy->n_listeners; i++) {
		const struct listener_policy *listener = &policy->listeners[i];
		const struct socket_held *held = sockets_find(sockets, &listener->address);
		if (held) {
			ret_fds[i] = held->fd;
			continue;
		}
		int fd = socket_open(policy, listener);
		int error = fd < 0 ? fd : sockets_take(sockets, &listener->address, fd, false);
		if (error < 0) {
			complain_of_bind(policy, listener, error, complain, context);
			while (sockets->count > before)
				socket_let_go(&sockets->list[--sockets->count]);
			return error;
		}
		ret_fds[i] = fd;
	}
	return 0;
}

void sockets_set_options(const struct sockets *sockets, const struct policy *policy)
{
	for (size_t i = 0; i < policy->n_listeners; i++) {
		const struct socket_held *held = sockets_find(sockets, &policy->listeners[i].address);
		if (held)
			socket_set_options(held->fd, policy, &policy->listeners[i], false);
	}
}

static bool policy_names(const struct policy *policy, const struct address *address)
{
	for (size_t i = 0; policy && i < policy->n_listeners; i++)
		if (address_equal(&policy->listeners[i].address, address))
			return true;
	return false;
}

void sockets_close_others(struct sockets *sockets, const struct policy *policy)
{
	size_t kept = 0;

	for (size_t i = 0; i < sockets->count; i++) {
		struct socket_held *held = &sockets->list[i];
		if (policy_names(policy, &held->address))
			sockets->list[kept++] = *held;
		else
			socket_let_go(held);
	}
	sockets->count = kept;
	if (kept == 0) {
		free(sockets->list);
		sockets->list = NULL;
	}
}
