/* Looks once a minute which places of the table of backends no generation has any more, and gives those back of which that was so a minute
 * before as well: a name that has an address again soon finds what was known of it. Refuses to do so while workers live whose policy the
 * master does not have. Owns nothing but the marks. */
#include "backend_upkeep.h"
#include "backend_walk.h"
#include "generation.h"
#include <string.h>

#define EACH_US 60000000

static int mark_used(void *context, const struct backend_at *at)
{
	struct backend_upkeep *upkeep = context;
	uint32_t place = at->key ? backend_table_find(upkeep->table, at->service_hash, at->key) : BACKEND_NONE;

	if (place != BACKEND_NONE)
		upkeep->idle[place / 8] &= (uint8_t) ~(1U << place % 8);
	return 0;
}

/* False: of some generation the backends are not known. */
static bool mark_idle(struct backend_upkeep *upkeep)
{
	memset(upkeep->idle, 0, sizeof(upkeep->idle));
	for (const struct generation *one = *upkeep->all; one; one = one->next)
		if (one->kind == GENERATION_STALE)
			return false;
	for (uint32_t place = 0; place < BACKEND_PLACES; place++)
		if (backend_table_is_used(upkeep->table, place) && !backend_order_said(upkeep->table, place))
			upkeep->idle[place / 8] |= (uint8_t)(1U << place % 8);
	for (const struct generation *one = *upkeep->all; one; one = one->next)
		backend_walk(one->policy, one->resolved, mark_used, upkeep);
	return true;
}

static bool any(const uint8_t bits[BACKEND_BITS])
{
	for (size_t i = 0; i < BACKEND_BITS; i++)
		if (bits[i])
			return true;
	return false;
}

bool backend_upkeep_now(struct backend_upkeep *upkeep)
{
	uint8_t before[BACKEND_BITS];
	bool changes = false;

	memcpy(before, upkeep->idle, sizeof(before));
	bool is_known = mark_idle(upkeep);
	for (size_t i = 0; i < BACKEND_BITS; i++)
		before[i] &= upkeep->idle[i];
	if (any(before))
		backend_table_sweep(upkeep->table, upkeep->limits, before);
	for (const struct generation *one = *upkeep->all; one; one = one->next)
		changes |= one->resolved != NULL;
	return changes || !is_known || any(upkeep->idle);
}

static void upkeep_again(struct timer *timer)
{
	struct backend_upkeep *upkeep = container_of(timer, struct backend_upkeep, again);

	if (backend_upkeep_now(upkeep))
		loop_timer(upkeep->loop, timer, upkeep->loop->now_us + EACH_US);
}

void backend_upkeep_init(struct backend_upkeep *upkeep, struct loop *loop, struct backend_table *table,
	const struct limits *limits, const struct generation *const *all)
{
	*upkeep = (struct backend_upkeep){
		.loop = loop, .table = table, .limits = limits, .all = all, .again = { .fired = upkeep_again }
	};
}

void backend_upkeep_fini(struct backend_upkeep *upkeep)
{
	if (upkeep->loop)
		loop_timer_stop(upkeep->loop, &upkeep->again);
}

void backend_upkeep_follow(struct backend_upkeep *upkeep)
{
	loop_timer(upkeep->loop, &upkeep->again, upkeep->loop->now_us + EACH_US);
}
