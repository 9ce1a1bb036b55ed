/* A token bucket in one word: the moment at which it will be full again. A token that is taken moves that moment by `each_us`; time fills
 * the bucket without a write. 0: it is full. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Callers in different processes take the time once a turn of their loops: one of them may be behind another by so much. */
#define TOKEN_BUCKET_SKEW_US 10000000

/* Takes one of `burst` tokens, one of which comes back each `each_us`: true, with the moment to keep in *ret_full_us. False: there is none.
 * A moment further off than a whole bucket takes, and the skew, was not made by this rate, and counts as 0. */
static inline bool token_bucket_take(
	uint64_t full_us, uint64_t burst, uint64_t each_us, uint64_t now_us, uint64_t *ret_full_us)
{
	uint64_t whole_us = burst * each_us, missing_us = full_us > now_us ? full_us - now_us : 0;

	if (missing_us > whole_us + TOKEN_BUCKET_SKEW_US)
		missing_us = 0;
	if (missing_us + each_us > whole_us)
		return false;
	*ret_full_us = now_us + missing_us + each_us;
	return true;
}
