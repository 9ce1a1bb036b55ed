/* Hashes for tables in memory. None is for a secret: who must not find collisions is kept from it by a seed in hash_mix(). */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define HASH_START  UINT64_C(0xcbf29ce484222325) /* of no bytes yet */
#define HASH_GOLDEN UINT64_C(0x9e3779b97f4a7c15) /* 2^64 over the golden ratio: an odd number without a pattern */

/* FNV-1a, 64 bits, one byte more. */
static inline uint64_t hash_byte(uint64_t hash, uint8_t c)
{
	return (hash ^ c) * UINT64_C(0x100000001b3);
}

/* Of a whole name. Without a seed: for names that the operator or usher chose. The same in every version: it is in shared memory. */
uint64_t hash_name(const char *name);
uint64_t hash_bytes(const void *bytes, size_t len);

/* The product of both, its halves folded: every bit of the result depends on every bit of both. 0 where one of them is 0, so that who
 * chooses one must not know the other. */
static inline uint64_t hash_mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}
