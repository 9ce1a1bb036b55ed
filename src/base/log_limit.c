/* Counts what is not told. Owns nothing. */
#include "log_limit.h"

#define TELL_US 1000000

unsigned log_limit_count(struct log_limit *limit, uint64_t now_us)
{
	unsigned n = ++limit->untold;

	if (limit->last_us && now_us - limit->last_us < TELL_US)
		return 0;
	limit->last_us = now_us;
	limit->untold = 0;
	return n;
}
