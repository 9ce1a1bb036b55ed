/* How many connections there is room for: what the policy says, as far as descriptors allow it. */
#pragma once
#include "policy.h"
#include <stdint.h>

struct capacity {
	unsigned long descriptors;         /* that a process may have */
	unsigned reserved;                 /* of these, a worker's own */
	unsigned connections;              /* of a worker */
	unsigned in_all;                   /* of all workers: these, or the policy's max_connections */
	unsigned undecided, of_one_source; /* of all workers; 0: no limit */
};

/* More than that nobody counts: it is what the counters of all workers together hold. */
#define CAPACITY_MOST ((uint64_t)INT32_MAX)

/* For so many descriptors a process. */
void capacity_from(const struct policy *policy, unsigned long descriptors, struct capacity *ret);

/* Raises the limit on descriptors as far as it goes. */
void capacity_of(const struct policy *policy, struct capacity *ret);
