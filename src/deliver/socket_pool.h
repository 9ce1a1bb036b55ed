/* A worker's stock of sockets that may speak from any address (ip(7), IP_TRANSPARENT): a right to have them made
 * is needed, which a worker does not have, and none to use them. Somebody else makes them; who finds the stock
 * empty waits in line. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define SOCKET_POOL_SUPPLY 4 /* sockets that an answer is counted on to bring */

#define SOCKET_POOL_OF_A_FAMILY 16
#define SOCKET_POOL_MAX         (2 * SOCKET_POOL_OF_A_FAMILY) /* descriptors */

struct socket_pool;
struct shelf;

struct socket_pool_waiter {
	/* Once: an unbound socket, the waiter's now, or -errno. */
	void (*ready)(struct socket_pool_waiter *waiter, int fd);

	struct socket_pool_waiter *next, **link;
	struct shelf *shelf; /* NULL: not waiting */
};

/* `ask` has sockets of the family made, which come to socket_pool_supply(). 0, or -errno: it cannot be asked now, and is asked again after
 * the next answer. NULL: no memory. */
struct socket_pool *socket_pool_new(int (*ask)(void *context, sa_family_t family), void *context);
void socket_pool_free(struct socket_pool *socket_pool); /* nobody waits; accepts NULL */

/* A socket of AF_INET or AF_INET6; or -EINPROGRESS, and the waiter will hear; or another -errno: nobody can be asked (-EPIPE: for
 * ever). */
int socket_pool_take(struct socket_pool *socket_pool, sa_family_t family, struct socket_pool_waiter *waiter);
void socket_pool_cancel(struct socket_pool_waiter *waiter); /* harmless where it does not wait */

/* The answer to one question: `n` sockets, which are taken over, or `error` for who waits. */
void socket_pool_supply(struct socket_pool *socket_pool, sa_family_t family, const int *fds, size_t n, int error);

void socket_pool_end(struct socket_pool *socket_pool); /* nobody makes them any more; accepts NULL */
