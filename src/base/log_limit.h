/* A warning that comes up again and again is told once a second, with how often it did. */
#pragma once
#include <stdint.h>

struct log_limit {
	uint64_t last_us;
	unsigned untold;
};

/* How often since it was last told, this once included; 0: it was told a moment ago. */
unsigned log_limit_count(struct log_limit *limit, uint64_t now_us);
