/* How often a source has come, kept in a file between the short lives of usher-access: a bucket a source, under a lock. */
#pragma once
#include "access.h"
#include <stdint.h>

/* 1: it may come, and that is noted; 0: not yet, or the table has no room for another source; -errno: the file cannot be
 * used. A file that is none of ours is made anew. `now_us` is CLOCK_BOOTTIME. */
int access_rates_take(
	const char *file, const struct access_rate *rate, const char *protocol, uint64_t source, uint64_t now_us);
