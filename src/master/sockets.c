/* Listening sockets. Owns the descriptors and the table of them. Never accepts. */
#include "sockets.h"
#include "dial.h"
#include "fd.h"
#include "log.h"
#include "port_owner.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

#define DEFER_S 1 /* the least that the kernel knows: then it asks the client once more, and lets it in */

int sockets_take(struct sockets *sockets, const struct socket_held *held)
{
	struct socket_held *list = reallocarray(sockets->list, sockets->count + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	sockets->list = list;
	list[sockets->count++] = *held;
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
			error = sockets_take(
				sockets, &(struct socket_held){ .address = address, .fd = fd, .handed = true });
		if (error < 0)
			return error;
	}
#endif
	return 0;
}

/* With a path that ends with a NUL, for it comes from a configuration. */
static bool is_our_file(const struct socket_held *held)
{
	return !held->handed && held->address.sa.sa_family == AF_UNIX;
}

static int socket_bind(struct socket_held *held, const struct listener_policy *listener)
{
	const struct address *address = &held->address;
	if (address->sa.sa_family != AF_UNIX)
		return bind(held->fd, &address->sa, address->len) < 0 ? -errno : 0;
	return socket_file_bind(held->fd, address->un.sun_path, listener->mode, NULL, &held->file);
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
		fd_set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1); /* what is looked at is what is read */
		fd_set_option(fd, SOL_SOCKET, SO_PEEK_OFF, -1); /* whatever a worker has made of it */
		fd_set_option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, listener->awaits_bytes ? DEFER_S : 0);
	}
	if (listener->freebind)
		fd_set_option(fd, IPPROTO_IP, IP_FREEBIND, 1); /* of IPv6 too */
}

static void socket_let_go(struct socket_held *held)
{
	if (is_our_file(held))
		socket_file_remove(held->address.un.sun_path, &held->file);
	held->fd = fd_close(held->fd);
}

static int socket_open(const struct policy *policy, const struct listener_policy *listener, struct socket_held *ret)
{
	sa_family_t family = listener->address.sa.sa_family;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;

	int error = 0;
	*ret = (struct socket_held){ .address = listener->address, .fd = fd, .fresh = true };
	if (family != AF_UNIX)
		error = fd_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (error == 0 && family == AF_INET6)
		error = fd_set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	socket_set_options(fd, policy, listener, true);
	if (error == 0)
		error = socket_bind(ret, listener);
	if (error == 0 && listen(fd, INT32_MAX) < 0) /* the kernel cuts it down to net.core.somaxconn */
		error = -errno;
	if (error < 0)
		socket_let_go(ret);
	return error;
}

static void complain_of_bind(const struct policy *policy, const struct listener_policy *listener, int error,
	void (*complain)(void *context, const char *message), void *context)
{
	char holder[128] = "", message[512];
	const char *hint = "";

	if (error == -EADDRINUSE && port_owner(&listener->address, holder, sizeof(holder)))
		hint = ", held by ";
	else if (error == -EACCES && address_port(&listener->address) < 1024)
		hint = "; a port below 1024 needs root or CAP_NET_BIND_SERVICE";
	snprintf(message, sizeof(message), "%s:%u: cannot listen on %s: %s%s%s", policy->file, listener->line,
		listener->text, strerrordesc_np(-error), hint, holder);
	complain(context, message);
}

/* A UNIX socket still says then that it listens, and refuses all the same. */
bool socket_listens(const struct socket_held *held)
{
	struct pollfd shut = { .fd = held->fd, .events = POLLRDHUP };
	int listens = 0;
	socklen_t len = sizeof(listens);

	return getsockopt(held->fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens &&
		(address_is_ip(&held->address) || poll(&shut, 1, 0) == 0);
}

/* Is the socket still what its address names? */
static bool socket_stands(const struct socket_held *held)
{
	return !is_our_file(held) ||
		(socket_listens(held) && socket_file_stands(held->address.un.sun_path, &held->file));
}

void sockets_forget_fresh(struct sockets *sockets)
{
	size_t kept = 0;

	for (size_t i = 0; i < sockets->count; i++)
		if (sockets->list[i].fresh)
			socket_let_go(&sockets->list[i]);
		else
			sockets->list[kept++] = sockets->list[i];
	sockets->count = kept;
}

static int sockets_bind_missing(struct sockets *sockets, const struct policy *policy,
	void (*complain)(void *context, const char *message), void *context)
{
	size_t before = sockets->count;

	for (size_t i = 0; i < policy->n_listeners; i++) {
		const struct listener_policy *listener = &policy->listeners[i];
		struct socket_held fresh;
		bool held = false;
		for (size_t k = 0; k < before && !held; k++)
			held = address_equal(&sockets->list[k].address, &listener->address) &&
				socket_stands(&sockets->list[k]);
		if (held)
			continue;
		int error = socket_open(policy, listener, &fresh);
		if (error == 0 && (error = sockets_take(sockets, &fresh)) < 0)
			socket_let_go(&fresh);
		if (error < 0) {
			complain_of_bind(policy, listener, error, complain, context);
			sockets_forget_fresh(sockets);
			return error;
		}
	}
	return 0;
}

/* Those that are held for the policy. */
static int sockets_list(
	const struct sockets *sockets, const struct policy *policy, struct listening **ret_list, size_t *ret_count)
{
	struct listening *list = calloc(sockets->count + 1, sizeof(*list));
	size_t n = 0;

	if (!list)
		return -ENOMEM;
	for (uint32_t i = 0; i < policy->n_listeners; i++)
		for (size_t k = 0; k < sockets->count; k++)
			if (address_equal(&sockets->list[k].address, &policy->listeners[i].address) &&
				socket_stands(&sockets->list[k]))
				list[n++] = (struct listening){ sockets->list[k].fd, i };
	*ret_list = list;
	*ret_count = n;
	return 0;
}

int sockets_open(struct sockets *sockets, const struct policy *policy, struct listening **ret_list, size_t *ret_count,
	void (*complain)(void *context, const char *message), void *context)
{
	int error = sockets_bind_missing(sockets, policy, complain, context);
	return error < 0 ? error : sockets_list(sockets, policy, ret_list, ret_count);
}

void sockets_set_options(const struct sockets *sockets, const struct policy *policy)
{
	for (size_t i = 0; i < policy->n_listeners; i++) {
		const struct listener_policy *listener = &policy->listeners[i];
		for (size_t k = 0; k < sockets->count; k++) {
			const struct socket_held *held = &sockets->list[k];
			if (!address_equal(&held->address, &listener->address))
				continue;
			socket_set_options(held->fd, policy, listener, false);
			if (!is_our_file(held))
				continue;
			int error = socket_file_admit(held->address.un.sun_path, &held->file, listener->mode, NULL);
			if (error < 0 && error != -ESTALE)
				log_error("%s: cannot have the mode %04o: %s", listener->text,
					(unsigned)listener->mode, strerrordesc_np(-error));
		}
	}
}

/* To those who have it besides us it is no listening socket any more. */
static void socket_shut_down(const struct socket_held *held)
{
	char text[ADDRESS_TEXT_MAX];

	log_warning("the socket that was handed over for %s is closed: no listener has this address",
		address_format(&held->address, text));
	shutdown(held->fd, SHUT_RD);
}

static bool is_listed(const struct listening *list, size_t count, int fd)
{
	for (size_t i = 0; i < count; i++)
		if (list[i].fd == fd)
			return true;
	return false;
}

void sockets_close_others(struct sockets *sockets, const struct listening *list, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < sockets->count; i++) {
		struct socket_held *held = &sockets->list[i];
		if (is_listed(list, count, held->fd)) {
			sockets->list[kept] = *held;
			sockets->list[kept++].fresh = false;
			continue;
		}
		if (list && held->handed)
			socket_shut_down(held);
		socket_let_go(held);
	}
	sockets->count = kept;
	if (kept == 0) {
		free(sockets->list);
		sockets->list = NULL;
	}
}
