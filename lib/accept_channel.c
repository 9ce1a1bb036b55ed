/* What a pretended listening socket does: it is bound, and connections come out of it.
 *
 * A channel is a datagram socket, and each datagram a client (usher/handover.h, Datagrams): so poll, epoll, select, O_NONBLOCK,
 * and several processes that wait on one socket, are the kernel's own doing, as with a TCP socket. This file only receives,
 * writes the receipt, and says who the client is.
 *
 * Takes no lock, allocates nothing, keeps no descriptor. State of a process, lost at exec, is only what may be lost: options
 * to hand down, and a descriptor to start looking from. Refuses what comes without its two descriptors or its number. */
#include "accept_channel.h"
#include "socket.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include <usher/handover.h>

#define DESCRIPTORS_MAX 8 /* more are closed by the kernel */

struct accept_config accept_config;

static const struct {
	int level, name;
} options[] = {
	{ SOL_SOCKET, SO_KEEPALIVE }, { IPPROTO_TCP, TCP_NODELAY }, { IPPROTO_TCP, TCP_KEEPIDLE },
	{ IPPROTO_TCP, TCP_KEEPINTVL }, { IPPROTO_TCP, TCP_KEEPCNT }, { IPPROTO_TCP, TCP_USER_TIMEOUT },
	{ IPPROTO_IPV6, IPV6_V6ONLY }, /* not to be handed down, but asked for */
};

#define N_OPTIONS (sizeof(options) / sizeof(options[0]))

static struct listener_state {
	int last_fd; /* + 1; 0: none known */
	bool set[N_OPTIONS];
	int values[N_OPTIONS];
} states[ACCEPT_LISTENERS_MAX];

static struct listener_state *state_of(const struct accept_listener *listener)
{
	return &states[listener - accept_config.listeners];
}

struct accept_listener *channel_of(int fd)
{
	struct sockaddr_un address;
	socklen_t len = sizeof(address);
	int error = errno;

	if (accept_config.n == 0)
		return NULL;
	if (syscall(SYS_getsockname, fd, &address, &len) < 0 || address.sun_family != AF_UNIX) {
		errno = error;
		return NULL;
	}
	if (len >= sizeof(address))
		len = sizeof(address) - 1;
	((char *)&address)[len] = '\0';
	for (unsigned i = 0; i < accept_config.n; i++)
		if (len > offsetof(struct sockaddr_un, sun_path) &&
			strcmp(address.sun_path, accept_config.listeners[i].path) == 0) {
			states[i].last_fd = fd + 1;
			return &accept_config.listeners[i];
		}
	return NULL;
}

bool channel_is_inherited(void)
{
	for (unsigned i = 0; i < accept_config.n; i++) {
		int fd = states[i].last_fd - 1;
		int flags = fd >= 0 ? fcntl(fd, F_GETFD) : -1;

		if (flags >= 0 && !(flags & FD_CLOEXEC) && channel_of(fd) == &accept_config.listeners[i])
			return true;
	}
	return false;
}

/* ---- options ---- */

static int option_get(int fd, int level, int name)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return syscall(SYS_getsockopt, fd, level, name, &value, &len) < 0 ? 0 : value;
}

void channel_set_option(struct accept_listener *listener, int level, int name, const void *value, socklen_t len)
{
	struct listener_state *state = state_of(listener);

	for (size_t i = 0; i < N_OPTIONS && len >= sizeof(int); i++)
		if (options[i].level == level && options[i].name == name) {
			memcpy(&state->values[i], value, sizeof(int));
			state->set[i] = true;
		}
}

int channel_option(const struct accept_listener *listener, int level, int name)
{
	for (size_t i = 0; i < N_OPTIONS; i++)
		if (options[i].level == level && options[i].name == name)
			return state_of(listener)->values[i];
	return 0;
}

/* What the server has set on its socket before it bound it. */
static void options_keep(struct accept_listener *listener, int fd)
{
	struct listener_state *state = state_of(listener);
	int fresh = socket(listener->address.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	for (size_t i = 0; i < N_OPTIONS; i++) {
		state->values[i] = option_get(fd, options[i].level, options[i].name);
		state->set[i] =
			fresh >= 0 && state->values[i] != option_get(fresh, options[i].level, options[i].name);
	}
	if (fresh >= 0)
		close(fresh);
}

static void options_hand_down(const struct accept_listener *listener, int client)
{
	const struct listener_state *state = state_of(listener);

	for (size_t i = 0; i < N_OPTIONS; i++)
		if (state->set[i] && options[i].level != IPPROTO_IPV6)
			(void)syscall(SYS_setsockopt, client, options[i].level, options[i].name, &state->values[i],
				sizeof(int));
}

/* ---- bind ---- */

/* One that this process has already, where the server asked to share the address with itself. */
static int channel_again(struct accept_listener *listener, int fd)
{
	int other = state_of(listener)->last_fd - 1;

	if (other < 0 || !option_get(fd, SOL_SOCKET, SO_REUSEPORT) || channel_of(other) != listener)
		return -1;
	return fcntl(other, F_DUPFD_CLOEXEC, 0);
}

int channel_bind(struct accept_listener *listener, int fd)
{
	struct path_socket s = { .directory = -1 };
	int descriptor_flags = fcntl(fd, F_GETFD);
	int flags = fcntl(fd, F_GETFL);
	int error = 0;

	if (descriptor_flags < 0 || flags < 0)
		return -1;
	s.fd = channel_again(listener, fd);
	if (s.fd < 0) {
		error = path_socket_listen(&s, listener->path, SOCK_DGRAM, accept_config.mode);
		if (error < 0) {
			errno = -error;
			return -1;
		}
		close(s.directory);
		options_keep(listener, fd);
		(void)fcntl(s.fd, F_SETFL, flags & O_NONBLOCK);
	}
	if (dup3(s.fd, fd, descriptor_flags & FD_CLOEXEC ? O_CLOEXEC : 0) < 0)
		error = errno;
	else
		state_of(listener)->last_fd = fd + 1;
	close(s.fd);
	errno = error ? error : errno;
	return error ? -1 : 0;
}

/* ---- accept ---- */

struct arrival {
	int fds[DESCRIPTORS_MAX];
	size_t n_fds;
	bool cut; /* no room for a descriptor */
	uint8_t message[USHER_MESSAGE_MAX];
	size_t len;
};

static void arrival_keep(struct arrival *a, struct msghdr *m)
{
	a->cut = m->msg_flags & MSG_CTRUNC;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || n > DESCRIPTORS_MAX - a->n_fds)
			continue;
		memcpy(a->fds + a->n_fds, CMSG_DATA(c), n * sizeof(int));
		a->n_fds += n;
	}
}

/* 0; -1 and errno as accept() has it. */
static int arrival_receive(struct arrival *a, int fd)
{
	struct iovec part = { .iov_base = a->message, .iov_len = sizeof(a->message) };
	union {
		char bytes[CMSG_SPACE(sizeof(int) * DESCRIPTORS_MAX)];
		struct cmsghdr align;
	} control;
	struct msghdr m = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	struct pollfd shut = { .fd = fd, .events = POLLRDHUP };
	ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC); /* the server may wait here, or cancel its thread */

	if (n < 0)
		return -1;
	a->len = (size_t)n;
	a->n_fds = 0;
	arrival_keep(a, &m);
	if (n == 0 && poll(&shut, 1, 0) > 0 && shut.revents & POLLRDHUP) {
		errno = EINVAL; /* as of a listening socket after shutdown() */
		return -1;
	}
	return 0;
}

static void arrival_refuse(const struct arrival *a)
{
	for (size_t i = 0; i < a->n_fds; i++)
		(void)syscall(SYS_close, a->fds[i]);
}

/* The value of attribute NUMBER, or NULL. */
static const uint8_t *arrival_number(const struct arrival *a)
{
	size_t at = USHER_HEADER_SIZE;

	if (a->len < USHER_HEADER_SIZE || memcmp(a->message, USHER_MAGIC, strlen(USHER_MAGIC)) != 0 ||
		a->message[4] != USHER_VERSION)
		return NULL;
	while (a->len - at >= 4) {
		const uint8_t *attribute = a->message + at;
		size_t len = (size_t)attribute[2] << 8 | attribute[3];

		at += 4;
		if (a->len - at < len)
			return NULL;
		if (attribute[0] == 0 && attribute[1] == USHER_ATTRIBUTE_NUMBER)
			return len == 8 ? attribute + 4 : NULL;
		at += len;
	}
	return NULL;
}

/* The client's socket, ours alone from now on; -1: there is none, or usher has taken it back. No call in here is one at which
 * a thread can be cancelled: the client would be lost. */
static int arrival_take(const struct arrival *a)
{
	const uint8_t *number = arrival_number(a);
	uint8_t receipt[USHER_ACKNOWLEDGEMENT_SIZE] = { 'U', 'S', 'H', 'R', USHER_VERSION, USHER_ANSWER_RECEIPT, 0,
		USHER_ACKNOWLEDGEMENT_SIZE };

	if (!number || a->cut || a->n_fds != 2) {
		arrival_refuse(a);
		return -1;
	}
	memcpy(receipt + USHER_HEADER_SIZE, number, 8);
	if (syscall(SYS_sendto, a->fds[1], receipt, sizeof(receipt), MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0) !=
		sizeof(receipt)) {
		arrival_refuse(a);
		return -1;
	}
	(void)syscall(SYS_close, a->fds[1]);
	return a->fds[0];
}

/* The form that a listening socket of this family gives it. */
static socklen_t peer_translate(struct sockaddr_storage *peer, socklen_t len, sa_family_t family)
{
	struct sockaddr_in6 six;
	struct sockaddr_in four;

	if (family == AF_INET && peer->ss_family == AF_INET6) {
		memcpy(&six, peer, sizeof(six));
		if (!IN6_IS_ADDR_V4MAPPED(&six.sin6_addr))
			return len;
		four = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = six.sin6_port };
		memcpy(&four.sin_addr, &six.sin6_addr.s6_addr[12], sizeof(four.sin_addr));
		memcpy(peer, &four, sizeof(four));
		return sizeof(four);
	}
	if (family == AF_INET6 && peer->ss_family == AF_INET) {
		memcpy(&four, peer, sizeof(four));
		six = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = four.sin_port };
		six.sin6_addr.s6_addr[10] = six.sin6_addr.s6_addr[11] = 0xff;
		memcpy(&six.sin6_addr.s6_addr[12], &four.sin_addr, sizeof(four.sin_addr));
		memcpy(peer, &six, sizeof(six));
		return sizeof(six);
	}
	return len;
}

/* False: the client has gone away. */
static bool peer_tell(int client, sa_family_t family, struct sockaddr *ret, socklen_t *ret_len)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);

	if (syscall(SYS_getpeername, client, &peer, &len) < 0)
		return false;
	len = peer_translate(&peer, len, family);
	memcpy(ret, &peer, len < *ret_len ? len : *ret_len);
	*ret_len = len;
	return true;
}

int channel_accept(
	const struct accept_listener *listener, int fd, struct sockaddr *address, socklen_t *len, int flags)
{
	struct arrival arrival;

	if (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) {
		errno = EINVAL;
		return -1;
	}
	for (;;) {
		int nonblocking = (flags & SOCK_NONBLOCK) != 0;

		if (arrival_receive(&arrival, fd) < 0)
			return -1;
		int client = arrival_take(&arrival);
		if (arrival.cut) { /* usher sends it again, as there is no receipt */
			errno = EMFILE;
			return -1;
		}
		if (client < 0)
			continue;
		(void)syscall(SYS_ioctl, client, FIONBIO, &nonblocking);
		if (!(flags & SOCK_CLOEXEC))
			(void)syscall(SYS_fcntl, client, F_SETFD, 0);
		options_hand_down(listener, client);
		if (!address || peer_tell(client, listener->address.sa.sa_family, address, len))
			return client;
		(void)syscall(SYS_close, client);
	}
}
