/* The one with the fewest connections for its weight, over all workers; among equals each in turn. */
#include "balance.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define UNIT (1U << 20) /* what a connection weighs with one that has weight 1 */

/* What is looked at of each, close together: there may be a thousand. */
struct scale {
	uint32_t place;
	uint32_t per_connection; /* UNIT / weight */
};

/* Without a place in the table nobody knows how many it has: then each is taken in turn. */
static int least_prepare(struct tier *tier)
{
	struct scale *scales = calloc(tier->n + 1, sizeof(*scales));

	tier->own = scales;
	if (!scales)
		return -ENOMEM;
	tier->step = 1; /* all have places */
	for (uint32_t i = 0; i < tier->n; i++) {
		const struct candidate *candidate = &tier->candidates[i];
		scales[i] = (struct scale){ candidate->place, candidate->weight ? UNIT / candidate->weight : UNIT };
		if (candidate->place == BACKEND_NONE)
			tier->step = 0;
	}
	return 0;
}

struct found {
	uint32_t at; /* TIER_NONE */
	uint64_t load;
};

/* Among those from `from` on that are below `to`. */
static void least_among(
	const struct tier *tier, const struct pick *pick, uint32_t from, uint32_t to, struct found *found)
{
	const _Atomic uint32_t *open = backend_table_all_published(tier->table);
	const struct scale *scales = tier->own;
	uint64_t least = found->load;

	for (uint32_t at = from; at < to; at++) {
		uint64_t load = (uint64_t)atomic_load_explicit(&open[scales[at].place], memory_order_relaxed) + 1;
		load *= scales[at].per_connection;
		if (load >= least || !pick->may_be(pick, tier, at))
			continue;
		*found = (struct found){ at, load };
		least = load;
	}
}

static uint32_t least_pick(struct tier *tier, const struct pick *pick)
{
	struct found found = { TIER_NONE, UINT64_MAX };
	uint32_t from = ++tier->turn % tier->n;

	if (!tier->step)
		return balance_any(tier, pick, from);
	least_among(tier, pick, from, tier->n, &found);
	least_among(tier, pick, 0, from, &found);
	return found.at;
}

const struct balance balance_least = { .name = "least", .prepare = least_prepare, .pick = least_pick };
