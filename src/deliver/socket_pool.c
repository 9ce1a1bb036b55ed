/* Keeps a few sockets of each family, and asks for more before they run out: when one is taken, and when an answer has come. Asks for
 * no more than are kept and waited for. Owns the sockets in stock; waiters are embedded in what waits. */
#include "socket_pool.h"
#include "fd.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct shelf {
	sa_family_t family;
	int kept[SOCKET_POOL_OF_A_FAMILY];
	size_t n_kept;
	size_t n_asked; /* questions without an answer */
	struct socket_pool_waiter *first, **last;
	size_t n_waiting;
};

struct socket_pool {
	int (*ask)(void *context, sa_family_t family);
	void *context;
	bool ended;
	struct shelf shelves[2];
};

struct socket_pool *socket_pool_new(int (*ask)(void *context, sa_family_t family), void *context)
{
	struct socket_pool *socket_pool = calloc(1, sizeof(*socket_pool));

	if (!socket_pool)
		return NULL;
	socket_pool->ask = ask;
	socket_pool->context = context;
	for (int i = 0; i < 2; i++) {
		socket_pool->shelves[i].family = i ? AF_INET6 : AF_INET;
		socket_pool->shelves[i].last = &socket_pool->shelves[i].first;
	}
	return socket_pool;
}

void socket_pool_free(struct socket_pool *socket_pool)
{
	for (int i = 0; socket_pool && i < 2; i++)
		while (socket_pool->shelves[i].n_kept)
			fd_close(socket_pool->shelves[i].kept[--socket_pool->shelves[i].n_kept]);
	free(socket_pool);
}

static struct shelf *socket_pool_shelf(struct socket_pool *socket_pool, sa_family_t family)
{
	assert(family == AF_INET || family == AF_INET6);
	return &socket_pool->shelves[family == AF_INET6];
}

/* 0, or why not more is asked for. */
static int shelf_fill(struct socket_pool *socket_pool, struct shelf *shelf)
{
	while (!socket_pool->ended &&
		shelf->n_kept + shelf->n_asked * SOCKET_POOL_SUPPLY < SOCKET_POOL_OF_A_FAMILY + shelf->n_waiting) {
		int error = socket_pool->ask(socket_pool->context, shelf->family);
		if (error < 0)
			return error;
		shelf->n_asked++;
	}
	return 0;
}

static void shelf_leave(struct shelf *shelf, struct socket_pool_waiter *waiter)
{
	*waiter->link = waiter->next;
	if (waiter->next)
		waiter->next->link = waiter->link;
	else
		shelf->last = waiter->link;
	waiter->shelf = NULL;
	shelf->n_waiting--;
}

static void shelf_serve(struct shelf *shelf, int fd)
{
	struct socket_pool_waiter *waiter = shelf->first;

	shelf_leave(shelf, waiter);
	waiter->ready(waiter, fd);
}

/* Who waits now; who comes in again from within asks anew. */
static void shelf_fail(struct shelf *shelf, int error)
{
	for (size_t n = shelf->n_waiting; n > 0 && shelf->first; n--)
		shelf_serve(shelf, error);
}

int socket_pool_take(struct socket_pool *socket_pool, sa_family_t family, struct socket_pool_waiter *waiter)
{
	struct shelf *shelf = socket_pool_shelf(socket_pool, family);
	int fd = -EINPROGRESS;

	if (socket_pool->ended && shelf->n_kept == 0)
		return -EPIPE;
	if (shelf->n_kept) {
		fd = shelf->kept[--shelf->n_kept];
	} else {
		waiter->next = NULL;
		waiter->link = shelf->last;
		waiter->shelf = shelf;
		*shelf->last = waiter;
		shelf->last = &waiter->next;
		shelf->n_waiting++;
	}
	int error = shelf_fill(socket_pool, shelf);
	if (fd < 0 && shelf->n_asked == 0) { /* no answer would come */
		shelf_leave(shelf, waiter);
		return error;
	}
	return fd;
}

void socket_pool_cancel(struct socket_pool_waiter *waiter)
{
	if (waiter->shelf)
		shelf_leave(waiter->shelf, waiter);
}

void socket_pool_supply(struct socket_pool *socket_pool, sa_family_t family, const int *fds, size_t n, int error)
{
	struct shelf *shelf = socket_pool_shelf(socket_pool, family);

	if (shelf->n_asked)
		shelf->n_asked--;
	if (error < 0) {
		shelf_fail(shelf, error);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		if (shelf->first)
			shelf_serve(shelf, fds[i]);
		else if (shelf->n_kept < SOCKET_POOL_OF_A_FAMILY)
			shelf->kept[shelf->n_kept++] = fds[i];
		else
			fd_close(fds[i]);
	}
	shelf_fill(socket_pool, shelf);
}

void socket_pool_end(struct socket_pool *socket_pool)
{
	if (!socket_pool)
		return;
	socket_pool->ended = true;
	for (int i = 0; i < 2; i++)
		shelf_fail(&socket_pool->shelves[i], -EPIPE);
}
