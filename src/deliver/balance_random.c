/* Two at random, by weight, and of these the one with fewer connections for its weight. */
#include "balance.h"

#define DRAWS 16 /* to find two that it may be */

/* Who guesses it chooses among backends of one service. */
static uint32_t draw(struct tier *tier, const struct pick *pick)
{
	uint64_t x = balance_mix(pick->hash ^ balance_mix(++tier->turn));

	return tier_at(tier, (uint32_t)(x % tier_weight(tier)));
}

static uint64_t load_of(const struct tier *tier, uint32_t candidate)
{
	uint32_t place = tier->candidates[candidate].place;
	return (place == BACKEND_NONE ? 0 : backend_table_published(tier->table, place)) + 1;
}

static uint32_t random_pick(struct tier *tier, const struct pick *pick)
{
	uint32_t one = TIER_NONE;

	for (unsigned i = 0; i < DRAWS; i++) {
		uint32_t other = draw(tier, pick);
		if (other == one || !pick->may_be(pick, tier, other))
			continue;
		if (one == TIER_NONE) {
			one = other;
			continue;
		}
		bool other_has_less = load_of(tier, other) * tier->candidates[one].weight <
			load_of(tier, one) * tier->candidates[other].weight;
		return other_has_less ? other : one;
	}
	return one != TIER_NONE ? one : balance_any(tier, pick, draw(tier, pick));
}

const struct balance balance_random = { .name = "random", .pick = random_pick };
