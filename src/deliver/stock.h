/* A worker's stock of sockets that may speak from any address (ip(7), IP_TRANSPARENT): a right to have them made
 * is needed, which a worker does not have, and none to use them. Somebody else makes them; who finds the stock
 * empty waits in line. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define STOCK_SUPPLY 4 /* sockets that an answer is counted on to bring */

#define STOCK_OF_A_FAMILY 16
#define STOCK_MAX         (2 * STOCK_OF_A_FAMILY) /* descriptors */

struct stock;
struct shelf;

struct stock_waiter {
	/* Once: an unbound socket, the waiter's now, or -errno. */
	void (*ready)(struct stock_waiter *waiter, int fd);

	struct stock_waiter *next, **link;
	struct shelf *shelf; /* NULL: not waiting */
};

/* `ask` has sockets of the family made, which come to stock_supply(). 0, or -EAGAIN where it cannot be asked now:
 * stock_fill() tries again. NULL: no memory. */
struct stock *stock_new(int (*ask)(void *context, sa_family_t family), void *context);
void stock_free(struct stock *stock); /* nobody waits; accepts NULL */

/* A socket of AF_INET or AF_INET6; or -EINPROGRESS, and the waiter will hear; or -EPIPE: nobody makes them any
 * more. */
int stock_take(struct stock *stock, sa_family_t family, struct stock_waiter *waiter);
void stock_cancel(struct stock_waiter *waiter); /* harmless where it does not wait */

/* The answer to one question: `n` sockets, which are taken over, or `error` for who waits. */
void stock_supply(struct stock *stock, sa_family_t family, const int *fds, size_t n, int error);

void stock_fill(struct stock *stock);
void stock_end(struct stock *stock); /* nobody makes them any more; accepts NULL */
