/* Makes a roster. Refuses to ask for a name: that is for who connects (dial.h). Owns the candidates and what balancers keep with a tier. */
#include "roster.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_named(const struct backend *backend)
{
	return backend->name != BACKEND_NO_NAME;
}

static uint32_t names_edition(const struct target *target, const struct lookup *lookup)
{
	uint32_t sum = 0;

	for (size_t i = 0; target->connect.has_names && i < target->connect.n_backends; i++)
		if (is_named(&target->connect.backends[i]))
			sum += lookup_version(lookup, target->connect.backends[i].name);
	return sum;
}

bool roster_is_current(const struct roster *roster, const struct target *target, const struct lookup *lookup,
	const struct backend_table *table)
{
	return roster->candidates && roster->names == names_edition(target, lookup) &&
		(!table || roster->orders == backend_orders_edition(table));
}

/* Of the roster that is made. */
struct making {
	const struct target *target;
	uint64_t service;
	enum transport_kind transport;
	struct backend_table *table;
	unsigned slot;
};

static void candidate_make(
	struct candidate *ret, const struct making *of, uint32_t backend, const struct resolved_address *from)
{
	uint32_t weight = (uint32_t)of->target->connect.backends[backend].weight * from->weight;
	enum backend_mode mode = BACKEND_MODE_NONE;

	ret->address = from->address;
	ret->tier = (uint8_t)(from->rank < TIER_RANKS ? from->rank : TIER_RANKS - 1);
	if (of->target->connect.backends[backend].backup)
		ret->tier += TIER_RANKS;
	ret->family = address_unmapped(&ret->address).sa.sa_family;
	ret->backend = backend;
	ret->key = backend_key(of->service, of->transport, &ret->address);
	ret->place = of->table ? backend_table_place(of->table, of->slot, of->service, ret->key) : BACKEND_NONE;
	if (ret->place != BACKEND_NONE) {
		weight = backend_order_weight(of->table, ret->place, weight);
		mode = backend_order_mode(of->table, ret->place);
	}
	ret->is_closed = mode == BACKEND_MODE_DOWN;
	ret->weight = mode == BACKEND_MODE_NONE ? weight : 0;
	ret->share = weight;
}

static int tier_make(struct tier *ret, const struct candidate *candidates, uint32_t n, struct backend_table *table)
{
	uint32_t sum = 0;

	*ret = (struct tier){ .candidates = candidates, .n = n, .table = table, .is_even = true };
	ret->reach = calloc(n + 1, sizeof(*ret->reach));
	if (!ret->reach)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		ret->reach[i] = sum += candidates[i].weight;
		ret->is_even &= candidates[i].weight == candidates[0].weight;
	}
	return 0;
}

void roster_fini(struct roster *roster)
{
	for (size_t i = 0; i < TIERS; i++) {
		free(roster->tiers[i].reach);
		free(roster->tiers[i].own);
	}
	free(roster->candidates);
	*roster = (struct roster){ 0 };
}

/* The addresses that backend number `i` has now. */
static size_t read_addresses(const struct target *target, uint32_t i, const struct lookup *lookup,
	struct resolved_address ret[RESOLVED_ADDRESSES_MAX])
{
	const struct backend *backend = &target->connect.backends[i];

	if (is_named(backend))
		return lookup_read(lookup, backend->name, backend->port, ret);
	ret[0] = (struct resolved_address){ .address = backend->address, .weight = 1 };
	return 1;
}

/* In the order of the list. 0 or -ENOMEM. */
static int candidates_make(struct roster *roster, const struct making *of, const struct lookup *lookup)
{
	struct resolved_address known[RESOLVED_ADDRESSES_MAX];
	const struct target *target = of->target;
	size_t room = 0;

	for (uint32_t i = 0; i < target->connect.n_backends; i++) {
		size_t n = read_addresses(target, i, lookup, known);
		if (roster->n + n + 1 > room) {
			size_t wanted =
				2 * room > target->connect.n_backends + n ? 2 * room : target->connect.n_backends + n;
			struct candidate *grown = realloc(roster->candidates, (wanted + 1) * sizeof(*grown));
			if (!grown)
				return -ENOMEM;
			roster->candidates = grown;
			room = wanted + 1;
		}
		for (size_t k = 0; k < n; k++)
			if (target_takes(target, &target->connect.backends[i], &known[k].address))
				candidate_make(&roster->candidates[roster->n++], of, i, &known[k]);
	}
	return 0;
}

/* A tier's behind each other, those of one in the order that they have. 0 or -ENOMEM. */
static int candidates_sort(struct roster *roster)
{
	struct candidate *sorted = malloc((roster->n + 1) * sizeof(*sorted));
	uint32_t n = 0;

	if (!sorted)
		return -ENOMEM;
	for (unsigned tier = 0; tier < TIERS; tier++)
		for (uint32_t i = 0; i < roster->n; i++)
			if (roster->candidates[i].tier == tier)
				sorted[n++] = roster->candidates[i];
	free(roster->candidates);
	roster->candidates = sorted;
	return 0;
}

static int tiers_make(struct roster *roster, struct backend_table *table)
{
	uint32_t first = 0;
	int error = 0;

	for (unsigned tier = 0; tier < TIERS && error == 0; tier++) {
		uint32_t end = first;
		while (end < roster->n && roster->candidates[end].tier == tier)
			end++;
		error = tier_make(&roster->tiers[tier], roster->candidates + first, end - first, table);
		first = end;
	}
	return error;
}

int roster_make(struct roster *roster, const struct target *target, uint64_t service, enum transport_kind transport,
	const struct lookup *lookup, struct backend_table *table, unsigned slot)
{
	const struct making of = { target, service, transport, table, slot };
	struct roster made = { 0 };

	/* Before they are read: what changes meanwhile is seen at the next look. */
	made.names = names_edition(target, lookup);
	made.orders = table ? backend_orders_edition(table) : 0;
	int error = candidates_make(&made, &of, lookup);
	if (error == 0)
		error = candidates_sort(&made);
	if (error == 0)
		error = tiers_make(&made, table);
	if (error < 0) {
		roster_fini(&made);
		return error;
	}
	roster_fini(roster);
	*roster = made;
	return 0;
}

int roster_make_of(struct roster *roster, const struct target *target, const struct address *addresses, size_t n)
{
	const struct making of = { .target = target };
	struct roster made = { .candidates = calloc(n + 1, sizeof(*made.candidates)) };

	if (!made.candidates)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		candidate_make(&made.candidates[made.n++], &of, 0,
			&(struct resolved_address){ .address = addresses[i], .weight = 1 });
	int error = tiers_make(&made, NULL);
	if (error < 0)
		roster_fini(&made);
	else
		*roster = made;
	return error;
}

uint32_t tier_weight(const struct tier *tier)
{
	return tier->n ? tier->reach[tier->n - 1] : 0;
}

uint32_t tier_at(const struct tier *tier, uint32_t number)
{
	uint32_t low = 0, high = tier->n - 1;

	if (tier->is_even && tier->candidates[0].weight)
		return number / tier->candidates[0].weight;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (tier->reach[middle] > number)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}
