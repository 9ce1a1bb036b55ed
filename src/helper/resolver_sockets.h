/* The sockets of c-ares' channel, and waiting for them. c-ares says which it wants watched by calls (ARES_OPT_SOCK_STATE_CB), the
 * only way that all of its versions have and none of them deprecates. */
#pragma once
#include <ares.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#define RESOLVER_SOCKETS_MAX                                                                                         \
	256 /* two questions a name in flight, and some over TCP; further ones are not watched, what they ask times out */

struct resolver_sockets {
	size_t n;
	struct pollfd fds[RESOLVER_SOCKETS_MAX];
};

/* An ares_sock_state_cb; `sockets` is a struct resolver_sockets. Both false: the socket is about to be closed. */
void resolver_sockets_change(void *sockets, ares_socket_t fd, int readable, int writable);

/* Waits until a socket is ready, or `other` (-1: none), or the time is over, and has the channel do what there is to do. True:
 * `other` is ready. */
bool resolver_sockets_wait(struct resolver_sockets *sockets, ares_channel channel, int other, int timeout_ms);
