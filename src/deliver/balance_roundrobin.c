/* Each in turn, over all workers: a number that all of them count up says whose turn it is. With weights the numbers of a round are gone through
 * in steps of about its golden section, which touch each once, so that each has as many turns of a round as it weighs and those of a heavy
 * one are spread over it. */
#include "balance.h"
#include <stdatomic.h>

#define TURNS 16 /* of backends that it may not be, before the next one is taken */

static uint32_t common_divisor(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

static int roundrobin_prepare(struct tier *tier)
{
	uint32_t round = tier_weight(tier), step = (uint32_t)((uint64_t)round * 618 / 1000);

	while (step > 1 && common_divisor(step, round) != 1)
		step--;
	tier->step = step ? step : 1;
	return 0;
}

static uint32_t next_turn(struct tier *tier)
{
	uint32_t place = tier->candidates[0].place;

	if (place == BACKEND_NONE)
		return tier->turn++;
	return atomic_fetch_add_explicit(&backend_table_at(tier->table, place)->turn, 1, memory_order_relaxed);
}

static uint32_t roundrobin_pick(struct tier *tier, const struct pick *pick)
{
	uint32_t round = tier_weight(tier), at = 0;

	for (unsigned i = 0; i < TURNS; i++) {
		uint32_t turn = next_turn(tier);
		at = tier->is_even ? turn % tier->n
				   : tier_at(tier, (uint32_t)((uint64_t)(turn % round) * tier->step % round));
		if (pick->may_be(pick, tier, at))
			return at;
	}
	return balance_any(tier, pick, at);
}

const struct balance balance_roundrobin = {
	.name = "roundrobin", .prepare = roundrobin_prepare, .pick = roundrobin_pick
};
