/* Sizes a worker from its descriptors. Refuses nothing and owns nothing: who accepts holds connections to it. */
#include "capacity.h"
#include "compile.h"
#include "fd.h"
#include "relay_pool.h"
#include "socket_pool.h"

/* 0, 1, 2, the line to the master, the log, epoll, what a question of the control socket brings along, and air for what
 * libraries and modules open. */
#define FDS_OF_A_WORKER 32

/* A worker's share of a UDP listener's sockets, and at a reload a channel to the worker that has each of them then. */
#define FDS_OF_A_GROUP 32

/* Spare sockets to backends of both families (upstream.h). */
#define FDS_SPARE_UPSTREAM 128

/* To a receiver that takes datagrams: the socket, and both ends of the stream for receipts. */
#define FDS_OF_A_CHANNEL 3

/* The client's socket and the backend's, or a program's two pipes. A flow has the backend's alone; one that goes to a receiver its own, and that
 * of its first datagrams. */
static unsigned fds_per_connection(const struct policy *policy)
{
	bool streams = policy_has_transport(policy, TRANSPORT_STREAM), hands_over = false;

	for (size_t i = 0; i < policy->n_services; i++)
		hands_over |= policy->services[i].target.delivery == DELIVERY_HANDOVER;
	if (policy_has_transport(policy, TRANSPORT_DATAGRAM) && !streams)
		return hands_over ? 2 : 1;
	for (size_t i = 0; i < policy->n_services; i++) {
		const struct target *target = &policy->services[i].target;
		if (target->delivery == DELIVERY_EXEC && target->exec.stdio == STDIO_PIPE)
			return 3;
	}
	return 2;
}

static uint64_t fds_reserved(const struct policy *policy)
{
	uint64_t n = FDS_OF_A_WORKER + 2 * RELAY_PIPES_MAX;

	for (size_t i = 0; i < policy->n_listeners; i++)
		n += policy->listeners[i].transport == TRANSPORT_DATAGRAM ? FDS_OF_A_GROUP : 1;
	if (policy_has_transport(policy, TRANSPORT_DATAGRAM))
		n += FDS_SPARE_UPSTREAM;
	if (policy->transparent)
		n += policy_has_transport(policy, TRANSPORT_DATAGRAM) ? 2 * SOCKET_POOL_MAX : SOCKET_POOL_MAX;
	for (size_t i = 0; i < policy->n_services; i++)
		if (policy->services[i].target.delivery == DELIVERY_HANDOVER)
			n += FDS_OF_A_CHANNEL;
	for (size_t i = 0; i < policy->n_identifiers; i++)
		n += 2 * (policy->identifiers[i].mode == IDENTIFIER_ONCE ? IDENTIFIER_RUNS_MAX : 1);
	return n;
}

/* Where there is little, half of it: what is kept in reserve for speed (pipes) can be done without. */
static uint64_t capacity_worker(const struct policy *policy, uint64_t descriptors, uint64_t reserved)
{
	uint64_t half = descriptors / 2;
	uint64_t left = half > reserved ? descriptors - reserved : half;
	return left / fds_per_connection(policy);
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* A limit on descriptors may be any number of 64 bits, and none is the largest of them. */
void capacity_from(const struct policy *policy, unsigned long descriptors, struct capacity *ret)
{
	uint64_t reserved = fds_reserved(policy);
	uint64_t connections = least(capacity_worker(policy, descriptors, reserved), CAPACITY_MOST);
	uint64_t in_all = connections * policy->workers;

	*ret = (struct capacity){
		.descriptors = descriptors,
		.reserved = (unsigned)least(reserved, CAPACITY_MOST),
		.connections = (unsigned)connections,
		.in_all = (unsigned)least(in_all, policy->max_connections ? policy->max_connections : CAPACITY_MOST),
		.of_one_source = policy->max_undecided_per_source,
	};
	/* Clients that say nothing leave half of the room to those that do. */
	if (policy->max_undecided)
		ret->undecided = (unsigned)least(policy->max_undecided, in_all > 1 ? in_all / 2 : 1);
}

void capacity_of(const struct policy *policy, struct capacity *ret)
{
	capacity_from(policy, fd_raise_limit(), ret);
}
