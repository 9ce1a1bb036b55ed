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

static void candidate_make(struct candidate *ret, const struct target *target, uint32_t backend, uint64_t service,
	enum transport_kind transport, struct backend_table *table, unsigned slot)
{
	uint32_t weight = target->connect.backends[backend].weight;
	enum backend_mode mode = BACKEND_MODE_NONE;

	ret->family = address_unmapped(&ret->address).sa.sa_family;
	ret->backend = backend;
	ret->key = backend_key(service, transport, &ret->address);
	ret->place = table ? backend_table_place(table, slot, service, ret->key) : BACKEND_NONE;
	if (ret->place != BACKEND_NONE) {
		weight = backend_order_weight(table, ret->place, weight);
		mode = backend_order_mode(table, ret->place);
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

int roster_make(struct roster *roster, const struct target *target, uint64_t service, enum transport_kind transport,
	const struct lookup *lookup, struct backend_table *table, unsigned slot)
{
	struct address known[RESOLVED_ADDRESSES_MAX];
	size_t n_backends = target->connect.n_backends, room = n_backends;

	if (target->connect.has_names)
		room *= RESOLVED_ADDRESSES_MAX;
	struct roster made = { .candidates = calloc(room + 1, sizeof(*made.candidates)) };
	uint32_t first = 0;

	if (!made.candidates)
		return -ENOMEM;
	/* Before they are read: what changes meanwhile is seen at the next look. */
	made.names = names_edition(target, lookup);
	made.orders = table ? backend_orders_edition(table) : 0;
	for (int tier = 0; tier < TIERS; tier++) {
		for (uint32_t i = 0; i < n_backends; i++) {
			const struct backend *backend = &target->connect.backends[i];
			size_t n = 1;
			if (backend->backup != (tier == TIER_BACKUP))
				continue;
			if (is_named(backend))
				n = lookup_read(lookup, backend->name, backend->port, known);
			else
				known[0] = backend->address;
			for (size_t k = 0; k < n; k++) {
				struct candidate *candidate = &made.candidates[made.n++];
				candidate->address = known[k];
				candidate_make(candidate, target, i, service, transport, table, slot);
			}
		}
		int error = tier_make(&made.tiers[tier], made.candidates + first, made.n - first, table);
		if (error < 0) {
			roster_fini(&made);
			return error;
		}
		first = made.n;
	}
	roster_fini(roster);
	*roster = made;
	return 0;
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
