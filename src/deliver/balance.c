/* The balancers there are, and what they share. */
#include "balance.h"

const struct balance *const balances[BALANCES] = {
	[BALANCE_FIRST] = &balance_first,
	[BALANCE_ROUNDROBIN] = &balance_roundrobin,
	[BALANCE_LEAST] = &balance_least,
	[BALANCE_RANDOM] = &balance_random,
	[BALANCE_HASH] = &balance_hash,
};

uint32_t balance_any(const struct tier *tier, const struct pick *pick, uint32_t from)
{
	for (uint32_t i = 0, at = from; i < tier->n; i++, at++) {
		if (at >= tier->n)
			at -= tier->n;
		if (pick->may_be(pick, tier, at))
			return at;
	}
	return TIER_NONE;
}

/* The finalizer of MurmurHash3. */
uint64_t balance_mix(uint64_t x)
{
	x = (x ^ x >> 33) * UINT64_C(0xff51afd7ed558ccd);
	x = (x ^ x >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ x >> 33;
}
