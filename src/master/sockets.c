/* Listening sockets. Owns the descriptors and the table of them. Never accepts, and never receives. */
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
#ifndef SO_RCVMARK
#define SO_RCVMARK 75 /* musl has no name for it */
#endif

/* Sockets of a group, at least: so many workers may be there by a later reload and have datagrams, and of fewer each has nearly as many
 * as the others. docs/performance.md has what they cost. */
#define GROUP_LEAST 16

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

/* What the relay must know of each datagram: set before the first one comes, as the kernel looks at some of them when it arrives. */
static int datagrams_describe(int fd, sa_family_t family)
{
	bool v6 = family == AF_INET6;
	int error = v6 ? fd_set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
		       : fd_set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);

	if (error == 0)
		error = v6 ? fd_set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1)
			   : fd_set_option(fd, IPPROTO_IP, IP_RECVTOS, 1);
	if (error == 0)
		error = fd_set_option(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
	return error;
}

#ifdef HAVE_LIBSYSTEMD
/* False: it is none to listen on. */
static bool handed_look(int fd, struct socket_held *ret)
{
	*ret = (struct socket_held){ .address.len = sizeof(ret->address.un), .fd = fd, .handed = true };
	if (getsockname(fd, &ret->address.sa, &ret->address.len) < 0)
		return false;
	ret->transport = sd_is_socket(fd, AF_UNSPEC, SOCK_DGRAM, -1) > 0 ? TRANSPORT_DATAGRAM : TRANSPORT_STREAM;
	return ret->transport == TRANSPORT_DATAGRAM ? address_is_ip(&ret->address)
						    : sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) > 0;
}
#endif

int sockets_adopt(struct sockets *sockets)
{
#ifdef HAVE_LIBSYSTEMD
	int n = sd_listen_fds(1);
	for (int i = 0; i < n; i++) {
		struct socket_held held;
		if (!handed_look(SD_LISTEN_FDS_START + i, &held))
			continue;
		int error = fd_set_nonblocking(held.fd, true);
		if (error == 0 && held.transport == TRANSPORT_DATAGRAM)
			error = datagrams_describe(held.fd, held.address.sa.sa_family);
		if (error == 0)
			error = sockets_take(sockets, &held);
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

/* Half of what the kernel gives a new one: it doubles what it is told. */
static int receive_buffer_preset(sa_family_t family)
{
	int other = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0), bytes = 0;
	socklen_t len = sizeof(bytes);

	if (other >= 0)
		getsockopt(other, SOL_SOCKET, SO_RCVBUF, &bytes, &len);
	fd_close(other);
	return bytes / 2;
}

/* `as_it_is`: without receive_buffer it stays so. */
static void datagrams_set_buffer(int fd, const struct listener_policy *listener, bool as_it_is)
{
	if (as_it_is && !listener->receive_buffer)
		return;
	int bytes = listener->receive_buffer ? (int)listener->receive_buffer
					     : receive_buffer_preset(listener->address.sa.sa_family);
	int now = 0;
	socklen_t len = sizeof(now);

	/* One that root has made may be more than can be had again. */
	if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &now, &len) == 0 && now / 2 == bytes)
		return;
	if (fd_set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes) < 0)
		fd_set_option(fd, SOL_SOCKET, SO_RCVBUF, bytes);
}

/* Accepted sockets inherit the options, which saves setting them once a connection. A socket that served another policy may
 * have that one's. */
static void socket_set_options(
	int fd, const struct policy *policy, const struct listener_policy *listener, bool fresh)
{
	sa_family_t family = listener->address.sa.sa_family;

	if (listener->freebind)
		fd_set_option(fd, IPPROTO_IP, IP_FREEBIND, 1); /* of IPv6 too */
	if (listener->transport == TRANSPORT_DATAGRAM) {
		datagrams_set_buffer(fd, listener, fresh);
		return;
	}
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

/* The first one of a group is bound without SO_REUSEPORT, which else would let us into another program's group of the same user, where
 * we would take a part of its datagrams. */
static int datagrams_open(
	const struct policy *policy, const struct listener_policy *listener, bool is_first, struct socket_held *ret)
{
	sa_family_t family = listener->address.sa.sa_family;
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;

	*ret = (struct socket_held){
		.address = listener->address, .transport = TRANSPORT_DATAGRAM, .fd = fd, .fresh = true
	};
	int error = datagrams_describe(fd, family);
	if (error == 0 && family == AF_INET6)
		error = fd_set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (error == 0 && !is_first)
		error = fd_set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	socket_set_options(fd, policy, listener, true);
	if (error == 0)
		error = socket_bind(ret, listener);
	if (error == 0 && is_first)
		error = fd_set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (error < 0)
		socket_let_go(ret);
	return error;
}

/* The sockets of one listener, into the table. Those that were made before an error are fresh ones there. */
static int listener_open(struct sockets *sockets, const struct policy *policy, const struct listener_policy *listener)
{
	bool datagrams = listener->transport == TRANSPORT_DATAGRAM;
	unsigned size = datagrams ? GROUP_LEAST : 1;
	int error = 0;

	while (datagrams && size < policy->workers)
		size *= 2;
	for (unsigned i = 0; i < size && error == 0; i++) {
		struct socket_held fresh = { .fd = -1 };
		error = datagrams ? datagrams_open(policy, listener, i == 0, &fresh)
				  : socket_open(policy, listener, &fresh);
		if (error == 0 && (error = sockets_take(sockets, &fresh)) < 0)
			socket_let_go(&fresh);
	}
	return error;
}

static void complain_of_bind(const struct policy *policy, const struct listener_policy *listener, int error,
	void (*complain)(void *context, const char *message), void *context)
{
	char holder[128] = "", message[512];
	const char *hint = "";

	if (error == -EADDRINUSE && port_owner(&listener->address, listener->transport, holder, sizeof(holder)))
		hint = ", held by ";
	else if (error == -EACCES && address_port(&listener->address) < 1024)
		hint = "; a port below 1024 needs root or CAP_NET_BIND_SERVICE";
	snprintf(message, sizeof(message), "%s:%u: cannot listen on %s: %s%s%s", policy->file, listener->line,
		listener->text, strerrordesc_np(-error), hint, holder);
	complain(context, message);
}

/* A UNIX socket still says then that it listens, and refuses all the same. A UDP socket never says it. */
bool socket_listens(const struct socket_held *held)
{
	struct pollfd shut = { .fd = held->fd, .events = POLLRDHUP };
	int listens = 0;
	socklen_t len = sizeof(listens);

	if (held->transport == TRANSPORT_DATAGRAM)
		return poll(&shut, 1, 0) == 0;
	return getsockopt(held->fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens &&
		(address_is_ip(&held->address) || poll(&shut, 1, 0) == 0);
}

static bool socket_is_of(const struct socket_held *held, const struct listener_policy *listener)
{
	return held->transport == listener->transport && address_equal(&held->address, &listener->address);
}

/* Is the socket still what its address names? */
static bool socket_stands(const struct socket_held *held)
{
	if (held->replaced)
		return false;
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
	for (size_t i = 0; i < kept; i++)
		sockets->list[i].replaced = false; /* by one of these */
}

/* A UDP socket that was shut down stays so. Another takes its place in the group: behind it in the table, and in the kernel's order when
 * the old one is closed, which is its last use. Those that were handed over are not ours to bind. */
static int group_mend(struct sockets *sockets, const struct policy *policy, const struct listener_policy *listener)
{
	for (size_t i = 0; i < sockets->count; i++) {
		struct socket_held *old = &sockets->list[i];
		if (!socket_is_of(old, listener) || old->handed || old->replaced || socket_listens(old))
			continue;
		struct socket_held fresh = { .fd = -1 };
		int error = datagrams_open(policy, listener, false, &fresh);
		if (error < 0)
			return error;
		if ((error = sockets_take(sockets, &fresh)) < 0) {
			socket_let_go(&fresh);
			return error;
		}
		sockets->list[i].replaced = true;
		memmove(&sockets->list[i + 2], &sockets->list[i + 1],
			(sockets->count - i - 2) * sizeof(sockets->list[0]));
		sockets->list[++i] = fresh;
	}
	return 0;
}

static int sockets_bind_missing(struct sockets *sockets, const struct policy *policy,
	void (*complain)(void *context, const char *message), void *context)
{
	for (size_t i = 0; i < policy->n_listeners; i++) {
		const struct listener_policy *listener = &policy->listeners[i];
		bool held = false;
		for (size_t k = 0; k < sockets->count && !held; k++)
			held = !sockets->list[k].fresh && socket_is_of(&sockets->list[k], listener) &&
				socket_stands(&sockets->list[k]);
		int error = 0;
		if (!held)
			error = listener_open(sockets, policy, listener);
		else if (listener->transport == TRANSPORT_DATAGRAM)
			error = group_mend(sockets, policy, listener);
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
	for (uint32_t i = 0; i < policy->n_listeners; i++) {
		size_t first = n;
		for (size_t k = 0; k < sockets->count; k++)
			if (socket_is_of(&sockets->list[k], &policy->listeners[i]) &&
				socket_stands(&sockets->list[k]))
				list[n++] = (struct listening){ .fd = sockets->list[k].fd, .listener = i };
		for (size_t k = first; k < n; k++) {
			list[k].place = (unsigned)(k - first);
			list[k].group_size = (unsigned)(n - first);
		}
	}
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
			if (!socket_is_of(held, listener))
				continue;
			/* systemd may have been told of a receive buffer. */
			bool as_made = held->handed && held->transport == TRANSPORT_DATAGRAM;
			socket_set_options(held->fd, policy, listener, as_made);
			if (!is_our_file(held))
				continue;
			int error = socket_file_admit(held->address.un.sun_path, &held->file, listener->mode, NULL);
			if (error < 0 && error != -ESTALE)
				log_error("%s: cannot have the mode %04o: %s", listener->text,
					(unsigned)listener->mode, strerrordesc_np(-error));
		}
	}
}

int sockets_show_marks(const struct sockets *sockets, const struct policy *policy)
{
	int error = 0;

	for (size_t i = 0; i < policy->n_listeners; i++)
		for (size_t k = 0; k < sockets->count && error == 0; k++)
			if (policy->listeners[i].forwards && socket_is_of(&sockets->list[k], &policy->listeners[i]))
				error = fd_set_option(sockets->list[k].fd, SOL_SOCKET, SO_RCVMARK, 1);
	return error;
}

void sockets_log_groups(const struct policy *policy, const struct listening *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct listener_policy *listener = &policy->listeners[list[i].listener];
		int bytes = 0;
		socklen_t len = sizeof(bytes);
		if (listener->transport != TRANSPORT_DATAGRAM || list[i].place != 0)
			continue;
		if (list[i].group_size < policy->workers)
			log_notice("listener %s has %u socket%s: of the %u workers %u get no datagrams from it",
				listener->text, list[i].group_size, list[i].group_size == 1 ? "" : "s",
				policy->workers, policy->workers - list[i].group_size);
		if (getsockopt(list[i].fd, SOL_SOCKET, SO_RCVBUF, &bytes, &len) == 0 &&
			(unsigned)bytes / 2 < listener->receive_buffer)
			log_warning("listener %s: a receive_buffer of %d bytes instead of %u, for more needs "
				    "CAP_NET_ADMIN or a larger net.core.rmem_max",
				listener->text, bytes / 2, listener->receive_buffer);
	}
}

/* To those who have it besides us it is no listening socket any more. */
static void socket_shut_down(const struct socket_held *held)
{
	char text[ADDRESS_TEXT_MAX];

	log_warning("the socket that was handed over for %s%s is closed: no listener has this address",
		held->transport == TRANSPORT_DATAGRAM ? "udp:" : "", address_format(&held->address, text));
	if (held->transport == TRANSPORT_STREAM)
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
