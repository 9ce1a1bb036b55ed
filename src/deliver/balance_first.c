/* The first of the list that takes it. */
#include "balance.h"

static uint32_t first_pick(struct tier *tier, const struct pick *pick)
{
	return balance_any(tier, pick, 0);
}

const struct balance balance_first = { .name = "first", .pick = first_pick };
