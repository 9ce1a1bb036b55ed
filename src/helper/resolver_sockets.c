/* A list that c-ares changes, also while it processes one of its sockets: so what was ready is looked at in a copy. */
#include "resolver_sockets.h"
#include <string.h>

void resolver_sockets_change(void *context, ares_socket_t fd, int readable, int writable)
{
	struct resolver_sockets *sockets = context;
	short events = (short)((readable ? POLLIN : 0) | (writable ? POLLOUT : 0));
	size_t i = 0;

	while (i < sockets->n && sockets->fds[i].fd != fd)
		i++;
	if (i == RESOLVER_SOCKETS_MAX)
		return;
	if (events) {
		sockets->fds[i] = (struct pollfd){ .fd = fd, .events = events };
		sockets->n += i == sockets->n;
	} else if (i < sockets->n) {
		sockets->fds[i] = sockets->fds[--sockets->n];
	}
}

bool resolver_sockets_wait(struct resolver_sockets *sockets, ares_channel channel, int other, int timeout_ms)
{
	struct pollfd fds[RESOLVER_SOCKETS_MAX + 1];
	size_t n = sockets->n;

	memcpy(fds, sockets->fds, n * sizeof(fds[0]));
	fds[n] = (struct pollfd){ .fd = other, .events = POLLIN };
	if (poll(fds, n + 1, timeout_ms) < 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		bool in = fds[i].revents & (POLLIN | POLLERR | POLLHUP);
		bool out = fds[i].revents & POLLOUT;
		if (in || out)
			ares_process_fd(channel, in ? fds[i].fd : ARES_SOCKET_BAD, out ? fds[i].fd : ARES_SOCKET_BAD);
	}
	ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* what timed out */
	return fds[n].revents != 0;
}
