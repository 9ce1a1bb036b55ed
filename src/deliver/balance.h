/* Balancers: which of a service's backends a client gets, of those that it may get. Each is one file (balance_NAME.c) and a row in
 * balance.c. */
#pragma once
#include "roster.h"

#define TIER_NONE UINT32_MAX

/* What is asked of a balancer. */
struct pick {
	uint64_t hash; /* of what the client is told by, for those that go by it; else any number */
	/* May it be this one? Says so of a candidate by its place in the tier, and costs little. */
	bool (*may_be)(const struct pick *pick, const struct tier *tier, uint32_t candidate);
};

struct balance {
	const char *name; /* as `balance' has it */
	bool hashes;      /* it goes by the hash */
	/* Once for each tier that is made. 0 or -ENOMEM. NULL: nothing is to be prepared. */
	int (*prepare)(struct tier *tier);
	/* TIER_NONE: it may be none of them. The tier has candidates, and some weight. */
	uint32_t (*pick)(struct tier *tier, const struct pick *pick);
};

/* In the order of the choices of `balance' (keys.c). */
enum balance_kind { BALANCE_FIRST, BALANCE_ROUNDROBIN, BALANCE_LEAST, BALANCE_RANDOM, BALANCE_HASH, BALANCES };

extern const struct balance *const balances[BALANCES];
extern const struct balance balance_first, balance_roundrobin, balance_least, balance_random, balance_hash;

/* The first from this one on, round, that it may be: what is left where a balancer's own ways have found none. */
uint32_t balance_any(const struct tier *tier, const struct pick *pick, uint32_t from);

/* 64 bits without a pattern, from 64 bits with one. */
uint64_t balance_mix(uint64_t x);
