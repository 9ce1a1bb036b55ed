/* Fills a worker's pool of sockets that may speak from any address: the master makes them. */
#pragma once
#include "requester.h"
#include "socket_pool.h"

struct supplier; /* a worker's */

/* Of sockets of this type, SOCK_STREAM or SOCK_DGRAM, with a pool of its own. NULL: no memory. */
struct supplier *supplier_new(struct requester *requester, int type);
void supplier_free(struct supplier *supplier); /* accepts NULL */

struct socket_pool *supplier_pool(const struct supplier *supplier); /* NULL where there is no supplier */
