/* Counts what is not written. Owns nothing. */
#include "log_limit.h"

unsigned log_limit_count(struct log_limit *limit, uint64_t each_us, uint64_t now_us)
{
	unsigned n = ++limit->unwritten;

	if (limit->last_us && now_us - limit->last_us < each_us)
		return 0;
	limit->last_us = now_us;
	limit->unwritten = 0;
	return n;
}
