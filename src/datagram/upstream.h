/* A socket that is connected to a backend, for one flow. Only what the backend itself sends arrives there. One whose flow has ended is used
 * again, with another port: making one costs more than a DNS query. */
#pragma once
#include "address.h"
#include "loop.h"

struct datagrams;
struct flow;

struct upstream {
	struct watch watch;
	struct flow *flow; /* NULL: it is spare */
	struct datagrams *datagrams;
	struct upstream *next; /* among the spare ones, or those that were closed */
	sa_family_t family;
};

/* One that the master made (socket_pool.h), connected, for this flow, from its client's address and port, or another port of that address where
 * another socket of this machine has it. Takes over the socket. 0 or -errno. */
int upstream_open_as(struct datagrams *datagrams, int fd, const struct address *from, const struct address *to,
	struct flow *flow, struct upstream **ret);
/* Connected, for this flow; or -errno. */
int upstream_open(struct datagrams *datagrams, const struct address *to, struct flow *flow, struct upstream **ret);
/* The same of a socket that another worker has connected: taken over where it is 0. */
int upstream_adopt(struct datagrams *datagrams, int fd, struct flow *flow, struct upstream **ret);
int upstream_reconnect(struct upstream *upstream, const struct address *to); /* to another backend; 0 or -errno */
void upstream_leave(struct upstream *upstream);                              /* another worker has it */
void upstream_close(struct upstream *upstream);                              /* accepts NULL */
void upstream_free_spare(struct datagrams *datagrams);
void upstream_free_closed(struct datagrams *datagrams); /* in a later turn than they were closed in */
