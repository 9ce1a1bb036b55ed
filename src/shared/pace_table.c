/* Buckets of bytes, found by their keys in a table with open addressing. Refuses nothing: where the table is full of buckets that are in use,
 * a rate that has none is no limit. Owns nothing: the table is in the page that all workers share (shared.h). */
#include "pace_table.h"
#include "hash.h"

#define PROBES 32

uint64_t pace_table_key(const char *service, int upwards, const struct byte_rate *rate)
{
	uint64_t key = hash_mix(hash_name(service) + (uint64_t)upwards + 1, HASH_GOLDEN) ^ rate->each_s * HASH_GOLDEN;

	return key ? key : 1;
}

static struct pace_place *place_at(const struct pace_table *table, uint64_t key, unsigned probe)
{
	return (struct pace_place *)&table->of[(key + probe) % PACE_PLACES];
}

static struct pace_place *place_find(const struct pace_table *table, uint64_t key)
{
	for (unsigned i = 0; i < PROBES; i++) {
		struct pace_place *place = place_at(table, key, i);
		if (atomic_load_explicit(&place->key, memory_order_relaxed) == key)
			return place;
	}
	return NULL;
}

/* A place of its own, or one that nobody needs now: its bucket is full. Two that take the same one at once may both use it for a moment. */
static struct pace_place *place_get(struct pace_table *table, uint64_t key, uint64_t now_us)
{
	struct pace_place *found = place_find(table, key);

	for (unsigned i = 0; !found && i < PROBES; i++) {
		struct pace_place *place = place_at(table, key, i);
		uint64_t there = atomic_load(&place->key);
		if (there != 0 && atomic_load(&place->full_ns) > now_us * 1000)
			continue;
		if (atomic_compare_exchange_strong(&place->key, &there, key)) {
			atomic_store(&place->full_ns, 0);
			found = place;
		}
	}
	return found;
}

uint64_t pace_table_take(struct pace_table *table, uint64_t key, const struct byte_rate *rate, uint64_t least,
	uint64_t most, uint64_t now_us)
{
	struct pace_place *place = place_get(table, key, now_us);
	uint64_t full_ns = place ? atomic_load(&place->full_ns) : 0, room;

	if (!place)
		return most;
	do {
		room = byte_bucket_room(full_ns, rate, now_us);
		if (room < least)
			return 0;
		if (room > most)
			room = most;
	} while (!atomic_compare_exchange_weak(
		&place->full_ns, &full_ns, byte_bucket_taken(full_ns, rate, room, now_us)));
	return room;
}

uint64_t pace_table_due_us(
	const struct pace_table *table, uint64_t key, const struct byte_rate *rate, uint64_t wanted, uint64_t now_us)
{
	const struct pace_place *place = place_find(table, key);

	return place ? byte_bucket_due_us(atomic_load(&place->full_ns), rate, wanted, now_us) : now_us;
}

void pace_table_give_back(struct pace_table *table, uint64_t key, const struct byte_rate *rate, uint64_t bytes)
{
	struct pace_place *place = bytes ? place_find(table, key) : NULL;
	uint64_t ns = bytes ? byte_rate_ns(rate, bytes) : 0, full_ns = place ? atomic_load(&place->full_ns) : 0;

	while (place && full_ns > ns && !atomic_compare_exchange_weak(&place->full_ns, &full_ns, full_ns - ns))
		;
}
