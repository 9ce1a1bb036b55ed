/* Of datagrams.h, for this room's files. */
#pragma once
#include "context.h"
#include "counters.h"
#include "datagram.h"
#include "list.h"
#include "pool.h"
#include "reasons.h"

#define UPSTREAM_FAMILIES  2
#define UPSTREAM_SPARE_MAX 64 /* of a family; capacity.c counts them */
#define OPENING_SPARE_MAX  256

/* A socket of a listener. */
struct datagram_listener {
	struct watch watch;
	struct datagrams *datagrams;
	struct datagram_listener *next;
	const struct listener_policy *policy;
	size_t number;                 /* in the policy */
	uint32_t place;                /* of the socket, among those of the listener */
	struct flow_handing *draining; /* flows that wait until it is read empty */
	uint64_t limits_key;           /* its name there */
	struct counter *counter;
	int fd; /* also while it is not watched */
	sa_family_t family;
	uint16_t port;      /* in network order */
	uint64_t n_emptied; /* times that a batch has left nothing there */
	uint32_t drops;     /* of the kernel's, at this socket, that were counted */
	struct log_limit told_unwanted, told_refused, told_full, told_drops;
};

struct datagrams {
	struct context *context;
	struct datagram_listener *listeners;
	struct flow_table *table;
	bool is_draining, is_finishing, is_closed; /* datagrams_drain(), datagrams_finish(), datagrams_close() */

	struct datagram_batch *incoming; /* what clients have sent; empty between two calls */
	uint32_t next_of_flow[DATAGRAM_BATCH];
	struct datagram_sender *sender;
	struct datagram_out list[DATAGRAM_BATCH];

	/* What backends have sent in this turn of the loop. */
	struct datagram_batch *answers;
	struct datagram_out answers_out[DATAGRAM_BATCH];
	struct datagram_listener *answers_through[DATAGRAM_BATCH];
	size_t n_answers;
	struct task flush;

	uint64_t *service_hashes;           /* hash_name() of each service's name */
	uint32_t protocols[AFFINITY_KINDS]; /* of the policy; PROTOCOL_NONE */

	struct counter *events[DATAGRAM_EVENTS];
	struct list spare_flows;
	struct upstream *spare_upstreams[UPSTREAM_FAMILIES];
	unsigned n_spare_upstreams[UPSTREAM_FAMILIES];
	struct upstream *closed_upstreams; /* to be freed after the loop's turn */
	struct task upstream_burial;
	struct pool kept_pool, opening_pool;
};

void datagrams_count(struct datagrams *datagrams, enum datagram_event event, uint64_t n);
void datagrams_count_sent(struct datagrams *datagrams, const struct datagram_sent *sent);

/* One batch of what is there: how many messages, or -errno. */
int datagrams_read(struct datagram_listener *listener);

/* What was received for clients goes out. */
void datagrams_flush(struct datagrams *datagrams);
