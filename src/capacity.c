/* Sizes a worker from its descriptors. Refuses nothing and owns nothing: who accepts holds connections to it. */
#include "capacity.h"
#include "fd.h"
#include "identify.h"
#include "relay_pool.h"
#include "stock.h"

/* 0, 1, 2, the line to the master, the log, epoll, what a question of the control socket brings along, and air for what
 * libraries and modules open. */
#define FDS_OF_A_WORKER 32

/* To a receiver that takes datagrams: the socket, and both ends of the stream for receipts. */
#define FDS_OF_A_CHANNEL 3

/* The client's socket and the backend's, or a program's two pipes. */
static unsigned fds_per_connection(const struct policy *policy)
{
	for (size_t i = 0; i < policy->n_services; i++) {
		const struct target *target = &policy->services[i].target;
		if (target->delivery == DELIVERY_EXEC && target->exec.stdio == STDIO_PIPE)
			return 3;
	}
	return 2;
}

static unsigned fds_reserved(const struct policy *policy)
{
	unsigned n = FDS_OF_A_WORKER + (unsigned)policy->n_listeners + 2 * RELAY_PIPES_MAX;

	if (policy->transparent)
		n += STOCK_MAX;
	for (size_t i = 0; i < policy->n_services; i++)
		if (policy->services[i].target.delivery == DELIVERY_HANDOVER)
			n += FDS_OF_A_CHANNEL;
	for (size_t i = 0; i < policy->n_identifiers; i++)
		n += 2 * (policy->identifiers[i].mode == IDENTIFIER_ONCE ? IDENTIFY_RUNS_MAX : 1);
	return n;
}

/* Where there is little, half of it: what is kept in reserve for speed (pipes) can be done without. */
static unsigned capacity_worker(const struct policy *policy, const struct capacity *capacity)
{
	unsigned long half = capacity->descriptors / 2;
	unsigned long left = half > capacity->reserved ? capacity->descriptors - capacity->reserved : half;
	return (unsigned)(left / fds_per_connection(policy));
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

void capacity_of(const struct policy *policy, struct capacity *ret)
{
	*ret = (struct capacity){ .descriptors = fd_raise_limit(), .reserved = fds_reserved(policy) };
	ret->connections = capacity_worker(policy, ret);
	ret->in_all = ret->connections * policy->workers;
	if (policy->max_connections)
		ret->in_all = least(ret->in_all, policy->max_connections);
	/* Clients that say nothing leave half of the room to those that do. */
	unsigned half = ret->connections * policy->workers / 2;
	if (policy->max_undecided)
		ret->undecided = least(policy->max_undecided, half ? half : 1);
	ret->of_one_source = policy->max_undecided_per_source;
}
