/* Packets of a capture put together to flows: of each the bytes that its client sent first. */
#pragma once
#include "evidence.h"
#include "packet.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLOWS_UDP_IDLE_US 60000000 /* after so long without a packet the same ends are another flow */
#define FLOW_RANGES       16

struct flow {
	struct packet_end client, server;
	bool is_udp;
	const uint8_t *bytes; /* in order, without a gap; of UDP the first datagrams with bytes in them */
	size_t len;           /* at most EVIDENCE_MAX */
	uint16_t ends[EVIDENCE_DATAGRAMS_MAX]; /* UDP: where each datagram ends in `bytes` */
	size_t n_datagrams;

	bool is_midstream; /* TCP without its beginning: whoever sent bytes first is taken to be the client */
	bool is_cut;       /* bytes behind these were sent, but are not in the capture */
	bool was_answered; /* TCP: the server sent bytes before the client had sent more than ... */
	size_t answered;   /* ... these */
	bool was_closed;   /* TCP: the client sent FIN behind these bytes, before the server said anything */
	bool was_reset;    /* likewise RST */
};

struct flows;

/* NULL: no memory. */
struct flows *flows_new(size_t max_flows, size_t max_bytes);
void flows_free(struct flows *flows); /* accepts NULL */

/* A packet of TCP or UDP, in the order of the capture. 0, -ENOMEM, or -E2BIG: there would be more flows, or more bytes in
 * them, than may be; nothing was taken then. */
int flows_take(struct flows *flows, const struct packet *packet, uint64_t time_us);

/* In the order in which they began. A flow is valid until flows_take() or flows_free(). */
size_t flows_count(const struct flows *flows);
void flows_get(const struct flows *flows, size_t number, struct flow *ret);
