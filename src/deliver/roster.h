/* The backends of a service as they are now: those of the list, each address of a name by itself, with the weights that are in force. It is
 * made anew when a name has another answer or the operator says something else.
 *
 * Tiers: those that are not `backup`, by the priorities of their SRV records, and those that are, likewise; each in the order of the list. A
 * balancer (balance.h) chooses within one. */
#pragma once
#include "backend_table.h"
#include "lookup.h"
#include "target.h"

struct candidate {
	struct address address;
	sa_family_t family; /* of the address where it is mapped into IPv6 */
	uint8_t tier;
	uint32_t backend; /* its place in the list */
	uint32_t place;   /* in the table; BACKEND_NONE: it is not counted, and always up */
	uint64_t key;
	uint32_t weight; /* 0: it gets nobody new */
	bool is_closed;  /* the operator took it down: also nobody who is known to belong to it */
	uint32_t share;  /* the weight that it has, or would have if the operator had not taken it out */
};

struct tier {
	const struct candidate *candidates;
	uint32_t n;
	uint32_t *reach; /* the sum of weights up to and with each */
	uint32_t turn;   /* the balancer's own */
	uint32_t step;   /* likewise */
	void *own;       /* likewise, on the heap; NULL */
	bool is_even;    /* all weights are the same */
	bool is_prepared;
	struct backend_table *table; /* NULL: none */
};

#define TIER_RANKS 4 /* of priorities; from the fourth on they are one */
#define TIERS      (2 * TIER_RANKS)

struct roster {
	struct candidate *candidates; /* of all tiers, one behind the other */
	uint32_t n;
	struct tier tiers[TIERS];
	uint32_t names, orders; /* editions: of the answers, of the orders */
};

/* 0 or -ENOMEM: then it is as it was. `table` NULL: there is none. */
int roster_make(struct roster *roster, const struct target *target, uint64_t service, enum transport_kind transport,
	const struct lookup *lookup, struct backend_table *table, unsigned slot);
/* Of these addresses for the target's one backend, which count nowhere. It stays as it is. */
int roster_make_of(struct roster *roster, const struct target *target, const struct address *addresses, size_t n);
void roster_fini(struct roster *roster);

/* Is it still what it was made of? Looks at every name. */
bool roster_is_current(const struct roster *roster, const struct target *target, const struct lookup *lookup,
	const struct backend_table *table);

/* The sum of all weights of a tier; the one to which a number below it belongs. */
uint32_t tier_weight(const struct tier *tier);
uint32_t tier_at(const struct tier *tier, uint32_t number);
