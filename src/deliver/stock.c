/* Keeps a few sockets of each family, and asks for more before they run out. Asks for nothing until a first one is
 * taken, and for no more than are kept and waited for. Owns the sockets in stock; waiters are embedded in what
 * waits. */
#include "stock.h"
#include "fd.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct shelf {
	sa_family_t family;
	int kept[STOCK_OF_A_FAMILY];
	size_t n_kept;
	size_t n_asked; /* questions without an answer */
	struct stock_waiter *first, **last;
	size_t n_waiting;
	bool wanted; /* somebody has taken one, and there has been no error since */
};

struct stock {
	int (*ask)(void *context, sa_family_t family);
	void *context;
	bool ended;
	struct shelf shelves[2];
};

struct stock *stock_new(int (*ask)(void *context, sa_family_t family), void *context)
{
	struct stock *stock = calloc(1, sizeof(*stock));

	if (!stock)
		return NULL;
	stock->ask = ask;
	stock->context = context;
	for (int i = 0; i < 2; i++) {
		stock->shelves[i].family = i ? AF_INET6 : AF_INET;
		stock->shelves[i].last = &stock->shelves[i].first;
	}
	return stock;
}

void stock_free(struct stock *stock)
{
	for (int i = 0; stock && i < 2; i++)
		while (stock->shelves[i].n_kept)
			fd_close(stock->shelves[i].kept[--stock->shelves[i].n_kept]);
	free(stock);
}

static struct shelf *stock_shelf(struct stock *stock, sa_family_t family)
{
	assert(family == AF_INET || family == AF_INET6);
	return &stock->shelves[family == AF_INET6];
}

static void shelf_fill(struct stock *stock, struct shelf *shelf)
{
	while (!stock->ended &&
		shelf->n_kept + shelf->n_asked * STOCK_SUPPLY < STOCK_OF_A_FAMILY + shelf->n_waiting) {
		if (stock->ask(stock->context, shelf->family) < 0)
			return;
		shelf->n_asked++;
	}
}

void stock_fill(struct stock *stock)
{
	for (int i = 0; i < 2; i++)
		if (stock->shelves[i].wanted)
			shelf_fill(stock, &stock->shelves[i]);
}

static void shelf_leave(struct shelf *shelf, struct stock_waiter *waiter)
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
	struct stock_waiter *waiter = shelf->first;

	shelf_leave(shelf, waiter);
	waiter->ready(waiter, fd);
}

/* Who waits now; who comes in again from within asks anew. */
static void shelf_fail(struct shelf *shelf, int error)
{
	shelf->wanted = false;
	for (size_t n = shelf->n_waiting; n > 0 && shelf->first; n--)
		shelf_serve(shelf, error);
}

int stock_take(struct stock *stock, sa_family_t family, struct stock_waiter *waiter)
{
	struct shelf *shelf = stock_shelf(stock, family);
	int fd = -EINPROGRESS;

	if (stock->ended && shelf->n_kept == 0)
		return -EPIPE;
	shelf->wanted = true;
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
	shelf_fill(stock, shelf);
	return fd;
}

void stock_cancel(struct stock_waiter *waiter)
{
	if (waiter->shelf)
		shelf_leave(waiter->shelf, waiter);
}

void stock_supply(struct stock *stock, sa_family_t family, const int *fds, size_t n, int error)
{
	struct shelf *shelf = stock_shelf(stock, family);

	if (shelf->n_asked)
		shelf->n_asked--;
	if (error < 0) {
		shelf_fail(shelf, error);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		if (shelf->first)
			shelf_serve(shelf, fds[i]);
		else if (shelf->n_kept < STOCK_OF_A_FAMILY)
			shelf->kept[shelf->n_kept++] = fds[i];
		else
			fd_close(fds[i]);
	}
	shelf_fill(stock, shelf);
}

void stock_end(struct stock *stock)
{
	if (!stock)
		return;
	stock->ended = true;
	for (int i = 0; i < 2; i++)
		shelf_fail(&stock->shelves[i], -EPIPE);
}
