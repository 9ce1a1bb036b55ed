/* SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF"): a hash of what strangers choose, for tables. Who does not know
 * the key cannot find inputs that fall into one bucket. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct siphash_key {
	uint64_t words[2];
};

int siphash_key_new(struct siphash_key *ret); /* by the kernel's random numbers. 0 or -errno */
uint64_t siphash(const struct siphash_key *key, const void *bytes, size_t len);
