/* Connections that move from one worker to another: each counts in one of the two, or on its way. So no limit is exceeded and `usher status'
 * shows none too few while sessions move, however long either worker stands still.
 *
 * A worker that crashes takes with it what it had sent and nobody had taken: that counts again when it is taken. */
#pragma once
#include "shared_limits.h"
#include <stdbool.h>
#include <stdint.h>

#define LIMITS_TRANSIT_MAX 64 /* that are on their way from one worker at a time */

/* Under what a connection counts that moves. */
struct limits_transit {
	struct limits_ticket ticket;
	uint32_t listener_place;
	bool is_undecided;
	uint32_t undecided_place;
	uint64_t counters[2]; /* keys of the counters that have it open (counters.h); 0: none */
	uint64_t backend;     /* of its backend (backend_table.h); 0: none */
};

/* The sender's: what follows goes to the worker of the slot `to`, which expects it. Nothing is on its way to another one. */
void limits_transit_begin(struct limits *limits, unsigned slot, unsigned to);
/* The receiver's, before the sender of the slot `from` sends anything. */
void limits_transit_expect(struct limits *limits, unsigned slot, unsigned from);

/* The sender's: before it sends one, while fewer than LIMITS_TRANSIT_MAX are on their way; when it is sent, before it leaves the limits
 * and the counters here. */
void limits_transit_write(struct limits *limits, unsigned slot, const struct limits_transit *transit);
void limits_transit_sent(struct limits *limits, unsigned slot);
/* The receiver's, for each that came, also for one that it refuses: when it counts here. */
void limits_transit_take(struct limits *limits, unsigned slot, unsigned from);

/* The sender's: how many are on their way. */
uint32_t limits_transit_count(const struct limits *limits, unsigned slot);
/* The sender's: nothing is on its way to that one any more; what was is lost, since the receiver is gone. */
void limits_transit_end(struct limits *limits, unsigned slot);

/* What `count` says of all workers, and what is on its way that counts under this key. Never too small; while connections move perhaps
 * too big by those that moved meanwhile. */
uint64_t limits_sum_up(
	const struct limits *limits, uint64_t key, uint64_t (*count)(const void *of, uint64_t key), const void *of);
