/* Gives the places of backends back that no generation has any more: addresses that a name had, backends that were in a file. */
#pragma once
#include "backend_table.h"
#include "loop.h"

struct generation;
struct limits;

struct backend_upkeep {
	struct loop *loop;
	struct backend_table *table;
	const struct limits *limits;
	const struct generation *const *all; /* the head of the list of those that live */
	struct timer again;
	uint8_t idle[BACKEND_BITS]; /* were of no generation the last time */
};

void backend_upkeep_init(struct backend_upkeep *upkeep, struct loop *loop, struct backend_table *table,
	const struct limits *limits, const struct generation *const *all);
void backend_upkeep_fini(struct backend_upkeep *upkeep); /* harmless on one that is zero */

/* A generation serves: from here on, once a minute, as long as there can be any. */
void backend_upkeep_follow(struct backend_upkeep *upkeep);

/* What it does once a minute. Returns whether there is anything to do the next time. */
bool backend_upkeep_now(struct backend_upkeep *upkeep);
