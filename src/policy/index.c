/* Names in the order in which they came, found through an open hash table.
 *
 * Refuses nothing; out of memory ends the process, as it does in the arena. Names are borrowed from their
 * owner: the operator, who has no reason to make them collide. */
#include "index.h"
#include "hash.h"
#include "nearest.h"
#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN 64 /* a power of two */

struct item {
	const char *name;
	uint32_t number, hash;
};

struct index {
	struct item *items;
	size_t n_items;
	uint32_t *slots; /* places in items, plus one; 0: free. At most half of them are taken */
	size_t n_slots;
};

static void *enough(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

static void index_resize(struct index *index, size_t n_slots)
{
	free(index->slots);
	index->n_slots = n_slots;
	index->slots = enough(calloc(n_slots, sizeof(*index->slots)));
	index->items = enough(reallocarray(index->items, n_slots / 2, sizeof(*index->items)));
	for (size_t i = 0; i < index->n_items; i++) {
		size_t at = index->items[i].hash & (n_slots - 1);
		while (index->slots[at])
			at = (at + 1) & (n_slots - 1);
		index->slots[at] = (uint32_t)i + 1;
	}
}

struct index *index_new(void)
{
	struct index *index = enough(calloc(1, sizeof(*index)));

	index_resize(index, SLOTS_MIN);
	return index;
}

void index_free(struct index *index)
{
	if (!index)
		return;
	free(index->items);
	free(index->slots);
	free(index);
}

static uint32_t name_hash(const char *name)
{
	uint64_t hash = hash_name(name);
	return (uint32_t)(hash ^ hash >> 32);
}

/* The slot of the name, or the free one where it belongs. */
static uint32_t *slot_find(const struct index *index, const char *name, uint32_t hash)
{
	for (size_t at = hash;; at++) {
		uint32_t *slot = &index->slots[at & (index->n_slots - 1)];
		const struct item *item = *slot ? &index->items[*slot - 1] : NULL;
		if (!item || (item->hash == hash && strcmp(item->name, name) == 0))
			return slot;
	}
}

uint32_t index_add(struct index *index, const char *name, uint32_t number)
{
	uint32_t hash = name_hash(name);

	if (index->n_items == index->n_slots / 2)
		index_resize(index, 2 * index->n_slots);
	uint32_t *slot = slot_find(index, name, hash);
	if (*slot)
		return index->items[*slot - 1].number;
	index->items[index->n_items++] = (struct item){ name, number, hash };
	*slot = (uint32_t)index->n_items;
	return number;
}

void index_move(struct index *index, const char *name, uint32_t number)
{
	index->items[*slot_find(index, name, name_hash(name)) - 1].number = number;
}

uint32_t index_find(const struct index *index, const char *name)
{
	uint32_t slot = *slot_find(index, name, name_hash(name));
	return slot ? index->items[slot - 1].number : INDEX_NONE;
}

const char *index_nearest(const struct index *index, const char *name)
{
	unsigned least = NEAREST_NONE;
	const char *best = NULL;

	for (size_t i = 0; i < index->n_items; i++) {
		const char *known = index->items[i].name;
		unsigned distance = nearest_distance(name, known);
		/* Of two that are as near the first in the alphabet: whatever their order is. */
		if (distance < least || (best && distance == least && strcmp(known, best) < 0)) {
			best = known;
			least = distance;
		}
	}
	return best;
}
