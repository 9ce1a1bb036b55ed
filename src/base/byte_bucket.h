/* A token bucket of bytes in one word, for a rate of so many bytes a second: the moment, in nanoseconds, at which it will be full again. What is
 * taken moves that moment; time fills the bucket without a write. 0: it is full. */
#pragma once
#include "token_bucket.h"
#include <stdint.h>

#define BYTE_RATE_MOST UINT64_C(100000000000) /* bytes a second: so no product below leaves 64 bits */

/* `burst`: what the bucket holds. At most a tenth of a second's bytes, or BYTE_BURST_LEAST where that is more. */
struct byte_rate {
	uint64_t each_s; /* 1 .. BYTE_RATE_MOST; 0: no limit */
	uint64_t burst;
};

#define BYTE_BURST_LEAST 4096

static inline uint64_t byte_rate_ns(const struct byte_rate *rate, uint64_t bytes)
{
	return bytes * UINT64_C(1000000000) / rate->each_s;
}

/* How many bytes are in it. A moment further off than a whole bucket takes, and the skew of token_bucket.h, was not made by this rate, and counts
 * as 0. */
static inline uint64_t byte_bucket_room(uint64_t full_ns, const struct byte_rate *rate, uint64_t now_us)
{
	uint64_t whole_ns = byte_rate_ns(rate, rate->burst), now_ns = now_us * 1000;
	uint64_t missing_ns = full_ns > now_ns ? full_ns - now_ns : 0;

	if (missing_ns > whole_ns + TOKEN_BUCKET_SKEW_US * UINT64_C(1000) || missing_ns == 0)
		return rate->burst;
	if (missing_ns >= whole_ns)
		return 0;
	return (whole_ns - missing_ns) * rate->each_s / UINT64_C(1000000000);
}

/* The word to keep once `bytes` were taken, of which there is room. */
static inline uint64_t byte_bucket_taken(
	uint64_t full_ns, const struct byte_rate *rate, uint64_t bytes, uint64_t now_us)
{
	uint64_t whole_ns = byte_rate_ns(rate, rate->burst), now_ns = now_us * 1000;

	if (full_ns < now_ns || full_ns - now_ns > whole_ns + TOKEN_BUCKET_SKEW_US * UINT64_C(1000))
		full_ns = now_ns;
	return full_ns + byte_rate_ns(rate, bytes);
}

/* When there will be room for so many, which the bucket can hold; now_us or later. */
static inline uint64_t byte_bucket_due_us(
	uint64_t full_ns, const struct byte_rate *rate, uint64_t bytes, uint64_t now_us)
{
	if (byte_bucket_room(full_ns, rate, now_us) >= bytes)
		return now_us;
	return (full_ns - byte_rate_ns(rate, rate->burst - bytes)) / 1000 + 1;
}
