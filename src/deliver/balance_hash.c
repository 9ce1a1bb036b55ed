/* The same client to the same backend, and on every machine that has the same backends: a table of Maglev (Eisenbud et al., "Maglev: A Fast
 * and Reliable Software Network Load Balancer", NSDI 2016, 3.4). Each backend has an order of its own in which it wants the places of the
 * table, by its address; they take places in turn, as many in each round as they weigh. Where one goes, nearly all places of the others
 * stay whose they were.
 *
 * The table has one size, whatever the number of backends: another would move everybody. It does not know who is down. A client whose backend
 * cannot be had looks at further places, of its own hash: so it moves, and nobody else does. */
#include "balance.h"
#include <errno.h>
#include <stdlib.h>

#define PLACES   65537 /* a prime */
#define NOBODY   UINT16_MAX
#define ATTEMPTS 64

struct wish {
	uint64_t digest;
	uint32_t candidate;
	uint32_t share, owed; /* it takes a place for each `most` of them */
	uint32_t at, skip;    /* the next place, and how far on the one behind it */
};

static int compare_wishes(const void *a, const void *b)
{
	uint64_t one = ((const struct wish *)a)->digest, other = ((const struct wish *)b)->digest;
	return (one > other) - (one < other);
}

/* The order of the file says nothing: two machines may have another one. */
static struct wish *wishes_new(const struct tier *tier)
{
	struct wish *wishes = calloc(tier->n + 1, sizeof(*wishes));

	for (uint32_t i = 0; wishes && i < tier->n; i++) {
		uint64_t digest = backend_digest(&tier->candidates[i].address);
		wishes[i] = (struct wish){ .digest = digest,
			.candidate = i,
			.share = tier->candidates[i].share,
			.at = (uint32_t)(balance_mix(digest) % PLACES),
			.skip = (uint32_t)(balance_mix(digest ^ UINT64_MAX) % (PLACES - 1) + 1) };
	}
	if (wishes)
		qsort(wishes, tier->n, sizeof(*wishes), compare_wishes);
	return wishes;
}

/* The heaviest takes one in each round. 1 where it took one, else 0. */
static uint32_t wish_take(struct wish *wish, uint32_t most, uint16_t *places)
{
	wish->owed += wish->share;
	if (wish->owed < most)
		return 0;
	wish->owed -= most;
	while (places[wish->at] != NOBODY)
		wish->at = (wish->at + wish->skip) % PLACES;
	places[wish->at] = (uint16_t)wish->candidate;
	return 1;
}

static int hash_prepare(struct tier *tier)
{
	struct wish *wishes = wishes_new(tier);
	uint16_t *places = malloc(PLACES * sizeof(*places));
	uint32_t taken = 0, most = 0;

	if (!wishes || !places) {
		free(wishes);
		free(places);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < PLACES; i++)
		places[i] = NOBODY;
	for (uint32_t i = 0; i < tier->n; i++)
		most = wishes[i].share > most ? wishes[i].share : most;
	while (taken < PLACES && most > 0)
		for (uint32_t i = 0; i < tier->n && taken < PLACES; i++)
			taken += wish_take(&wishes[i], most, places);
	free(wishes);
	tier->own = places;
	return 0;
}

static uint32_t hash_pick(struct tier *tier, const struct pick *pick)
{
	const uint16_t *places = tier->own;
	uint64_t hash = pick->hash;
	uint32_t at = 0;

	for (unsigned i = 0; i < ATTEMPTS; i++) {
		hash = balance_mix(hash + i);
		at = places[hash % PLACES];
		if (pick->may_be(pick, tier, at))
			return at;
	}
	return balance_any(tier, pick, at);
}

const struct balance balance_hash = { .name = "hash", .hashes = true, .prepare = hash_prepare, .pick = hash_pick };
