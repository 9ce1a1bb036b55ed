/* Copies of a flow's first datagrams, in their order. Bounded in number and in bytes. */
#pragma once
#include "datagram.h"
#include "evidence.h"
#include "pool.h"

#define KEPT_BYTES_MAX 16384

/* Of a flow that goes to a receiver: until it has a socket of its own. */
#define KEPT_OVER_MAX       64
#define KEPT_OVER_BYTES_MAX 98304

struct kept_datagram {
	struct kept_datagram *next;
	struct datagram datagram; /* one; its bytes are behind this */
};

struct flow_kept {
	struct kept_datagram *first, *last;
	uint32_t n, bytes;
	bool goes_over; /* so more are kept */
};

/* Of memory for them, a worker's: a piece has room for a datagram of an Ethernet frame. */
#define KEPT_PIECE 2048
#define KEPT_POOL  ((struct pool){ .size = KEPT_PIECE, .most = 1024 })

/* One datagram: `len` bytes of it from `at` on. 0, -ENOSPC or -ENOMEM. */
int flow_kept_add(struct flow_kept *kept, struct pool *pool, const struct datagram *of, uint32_t at, uint32_t len);
void flow_kept_free(struct flow_kept *kept, struct pool *pool);

/* In a row, with where each ends: those that have bytes, as far as they fit, the first one cut where it alone is too long. */
size_t flow_kept_gather(const struct flow_kept *kept, uint8_t *to, size_t size,
	uint32_t ret_ends[EVIDENCE_DATAGRAMS_MAX], size_t *ret_n);
