/* Buckets of bytes that all workers share: how fast the connections of a service may be relayed, all together (total_bandwidth).
 *
 * No lock: a bucket is a word that is changed by compare-and-swap, so a worker may end anywhere; what it had taken and not used is lost, a slice
 * at most. All of it is any worker's to write, and nothing of it bounds a loop or locates data: a worker that was taken over can slow services
 * down or let them be faster, for as long as it lives. A place whose bucket is full is free for another rate. */
#pragma once
#include "byte_bucket.h"
#include <stdatomic.h>
#include <stdint.h>

#define PACE_PLACES 2048
#define PACE_SERVICES_MAX                                                                                            \
	512 /* of a policy; each has two buckets, and there is room for those of the policy before */

struct pace_table {
	struct pace_place {
		_Atomic uint64_t key; /* 0: never used */
		_Atomic uint64_t full_ns;
	} of[PACE_PLACES];
};

/* Of a service by its name, upwards or downwards. Another rate after a reload is another bucket. */
uint64_t pace_table_key(const char *service, int upwards, const struct byte_rate *rate);

/* Takes as many bytes as there are, from `least` to `most`, which is no more than the burst. 0: there are fewer than `least`. Where no place is
 * free, all may go. */
uint64_t pace_table_take(struct pace_table *table, uint64_t key, const struct byte_rate *rate, uint64_t least,
	uint64_t most, uint64_t now_us);

/* When there will be so many, if nobody takes any. */
uint64_t pace_table_due_us(
	const struct pace_table *table, uint64_t key, const struct byte_rate *rate, uint64_t wanted, uint64_t now_us);

/* Bytes that were taken and not used. */
void pace_table_give_back(struct pace_table *table, uint64_t key, const struct byte_rate *rate, uint64_t bytes);
