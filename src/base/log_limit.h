/* A warning that is due again and again is written at intervals, with how often it was due. A zeroed one was never written. */
#pragma once
#include <stdint.h>

#define LOG_LIMIT_US 1000000 /* the usual interval */

struct log_limit {
	uint64_t last_us; /* when it was written; 0: never */
	unsigned unwritten;
};

/* It is due: how often since it was last written, this time included; 0: less than `each_us` ago, and it is not to be written. */
unsigned log_limit_count(struct log_limit *limit, uint64_t each_us, uint64_t now_us);
