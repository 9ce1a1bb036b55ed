/* Who is to be shed first among the undecided.
 *
 *	all        oldest - ... - newest
 *	source     oldest - ... - newest, and how many
 *	ranks      [1] - source - source   [2] - source   ...   [RANKS - 1] - so many or more
 *
 * A source moves one rank up or down as a session comes or goes, so the highest that has somebody is found without a search.
 * Refuses to fail: a source for which there is no memory counts with those that have none. Owns the sources; the places belong
 * to the sessions. */
#include "undecided_registry.h"
#include "hash.h"
#include <stdlib.h>
#include <sys/random.h>

#define RANKS   1024
#define BUCKETS 4096 /* of the hash table */

struct undecided_source {
	uint64_t source;
	struct undecided_source *next; /* in its bucket, or among the spare ones */
	struct list_item of_rank;
	struct list places; /* the oldest first */
	uint32_t n;
};

struct undecided_registry {
	uint64_t seed;
	struct list places;             /* the oldest first */
	struct undecided_source nobody; /* who has no source */
	struct undecided_source *spare;
	uint32_t highest; /* of the ranks that have somebody; 0: none has */
	struct list ranks[RANKS];
	struct undecided_source *buckets[BUCKETS];
};

struct undecided_registry *undecided_registry_new(void)
{
	struct undecided_registry *registry = calloc(1, sizeof(*registry));

	if (registry && getrandom(&registry->seed, sizeof(registry->seed), 0) != sizeof(registry->seed)) {
		free(registry);
		return NULL;
	}
	return registry;
}

void undecided_registry_free(struct undecided_registry *registry)
{
	if (!registry)
		return;
	for (struct undecided_source *next, *spare = registry->spare; spare; spare = next) {
		next = spare->next;
		free(spare);
	}
	free(registry);
}

/* ---- ranks ---- */

static uint32_t rank_of(uint32_t n)
{
	return n < RANKS ? n : RANKS - 1;
}

static void source_recount(struct undecided_registry *registry, struct undecided_source *source, uint32_t n)
{
	if (source->n)
		list_remove(&registry->ranks[rank_of(source->n)], &source->of_rank);
	source->n = n;
	if (n) /* behind the others: who got there first is the first to lose one */
		list_append(&registry->ranks[rank_of(n)], &source->of_rank);
	if (rank_of(n) > registry->highest)
		registry->highest = rank_of(n);
	while (registry->highest && !registry->ranks[registry->highest].first)
		registry->highest--;
}

/* ---- sources ---- */

/* Clients choose their addresses, in part: the seed keeps them from choosing a bucket. */
static struct undecided_source **source_bucket(struct undecided_registry *registry, uint64_t source)
{
	return &registry->buckets[hash_mix(source ^ registry->seed, registry->seed | 1) % BUCKETS];
}

static struct undecided_source *source_get(struct undecided_registry *registry, uint64_t source)
{
	struct undecided_source **bucket = source_bucket(registry, source), *found;

	if (!source)
		return &registry->nobody;
	for (found = *bucket; found; found = found->next)
		if (found->source == source)
			return found;
	found = registry->spare;
	if (found)
		registry->spare = found->next;
	else if (!(found = malloc(sizeof(*found))))
		return &registry->nobody;
	*found = (struct undecided_source){ .source = source, .next = *bucket };
	*bucket = found;
	return found;
}

static void source_forget(struct undecided_registry *registry, struct undecided_source *source)
{
	struct undecided_source **link = source_bucket(registry, source->source);

	if (source == &registry->nobody)
		return;
	while (*link != source)
		link = &(*link)->next;
	*link = source->next;
	source->next = registry->spare;
	registry->spare = source;
}

/* ---- places ---- */

void undecided_registry_enter(struct undecided_registry *registry, struct undecided_place *place, uint64_t from)
{
	struct undecided_source *source = source_get(registry, from);

	place->source = source;
	list_append(&registry->places, &place->of_all);
	list_append(&source->places, &place->of_source);
	source_recount(registry, source, source->n + 1);
}

void undecided_registry_leave(struct undecided_registry *registry, struct undecided_place *place)
{
	struct undecided_source *source = place->source;

	if (!source)
		return;
	list_remove(&registry->places, &place->of_all);
	list_remove(&source->places, &place->of_source);
	place->source = NULL;
	source_recount(registry, source, source->n - 1);
	if (source->n == 0)
		source_forget(registry, source);
}

static struct undecided_place *source_oldest(const struct undecided_source *source)
{
	return list_of(source->places.first, struct undecided_place, of_source);
}

struct undecided_place *undecided_registry_victim(
	const struct undecided_registry *registry, const struct undecided_place *spared)
{
	struct undecided_place *victim = list_of(registry->places.first, struct undecided_place, of_all);

	if (registry->highest > UNDECIDED_FEW)
		victim = source_oldest(
			list_of(registry->ranks[registry->highest].first, struct undecided_source, of_rank));
	return victim == spared ? NULL : victim;
}

struct undecided_place *undecided_registry_victim_beside(const struct undecided_place *spared)
{
	struct undecided_place *victim = spared->source ? source_oldest(spared->source) : NULL;
	return victim == spared ? NULL : victim;
}
