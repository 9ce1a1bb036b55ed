/* A table of flows: buckets of chains, by a keyed hash with a key of its own. It never grows: a bucket costs 8 bytes, and pages without
 * flows cost nothing. Owns the buckets. */
#include "flow_table.h"
#include "siphash.h"
#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN 256
#define BUCKETS_MAX 131072

struct flow_table {
	struct siphash_key key;
	size_t mask;
	struct flow_place *buckets[];
};

_Static_assert(sizeof(struct flow_key) == 40, "a key has no gaps, which would be hashed and compared");

struct flow_table *flow_table_new(size_t flows)
{
	size_t n = BUCKETS_MIN;

	while (n < flows && n < BUCKETS_MAX)
		n *= 2;
	struct flow_table *table = calloc(1, sizeof(*table) + n * sizeof(table->buckets[0]));
	if (!table)
		return NULL;
	table->mask = n - 1;
	if (siphash_key_new(&table->key) < 0) {
		free(table);
		return NULL;
	}
	return table;
}

void flow_table_free(struct flow_table *table)
{
	free(table);
}

static size_t bucket_of(const struct flow_table *table, const struct flow_key *key)
{
	return siphash(&table->key, key, sizeof(*key)) & table->mask;
}

struct flow_place *flow_table_find(const struct flow_table *table, const struct flow_key *key)
{
	struct flow_place *place = table->buckets[bucket_of(table, key)];

	while (place && memcmp(&place->key, key, sizeof(*key)) != 0)
		place = place->next;
	return place;
}

void flow_table_insert(struct flow_table *table, struct flow_place *place)
{
	struct flow_place **bucket = &table->buckets[bucket_of(table, &place->key)];

	place->next = *bucket;
	*bucket = place;
}

void flow_table_remove(struct flow_table *table, struct flow_place *place)
{
	struct flow_place **link = &table->buckets[bucket_of(table, &place->key)];

	while (*link != place)
		link = &(*link)->next;
	*link = place->next;
}
