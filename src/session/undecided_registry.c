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
	struct undecided_source *next;            /* in its bucket, or among the spare ones */
	struct undecided_source *before, *behind; /* in its rank */
	struct undecided_place *oldest, *newest;
	uint32_t n;
};

struct rank {
	struct undecided_source *first, *last;
};

struct undecided_registry {
	uint64_t seed;
	struct undecided_place *oldest, *newest;
	struct undecided_source nobody; /* who has no source */
	struct undecided_source *spare;
	uint32_t highest; /* of the ranks that have somebody; 0: none has */
	struct rank ranks[RANKS];
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

/* ---- ranks ---------------------------------------------------------------------------------------------------------- */

static uint32_t rank_of(uint32_t n)
{
	return n < RANKS ? n : RANKS - 1;
}

static void rank_leave(struct undecided_registry *registry, struct undecided_source *source)
{
	struct rank *rank = &registry->ranks[rank_of(source->n)];

	*(source->before ? &source->before->behind : &rank->first) = source->behind;
	*(source->behind ? &source->behind->before : &rank->last) = source->before;
	source->before = source->behind = NULL;
}

/* Behind the others: who got there first is the first to lose one. */
static void rank_join(struct undecided_registry *registry, struct undecided_source *source)
{
	struct rank *rank = &registry->ranks[rank_of(source->n)];

	source->before = rank->last;
	*(rank->last ? &rank->last->behind : &rank->first) = source;
	rank->last = source;
}

static void source_recount(struct undecided_registry *registry, struct undecided_source *source, uint32_t n)
{
	if (source->n)
		rank_leave(registry, source);
	source->n = n;
	if (n)
		rank_join(registry, source);
	if (rank_of(n) > registry->highest)
		registry->highest = rank_of(n);
	while (registry->highest && !registry->ranks[registry->highest].first)
		registry->highest--;
}

/* ---- sources --------------------------------------------------------------------------------------------------------- */

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

/* ---- places ---------------------------------------------------------------------------------------------------------- */

void undecided_registry_enter(struct undecided_registry *registry, struct undecided_place *place, uint64_t from)
{
	struct undecided_source *source = source_get(registry, from);

	place->source = source;
	place->older = registry->newest;
	place->newer = NULL;
	*(place->older ? &place->older->newer : &registry->oldest) = place;
	registry->newest = place;
	place->older_here = source->newest;
	place->newer_here = NULL;
	*(place->older_here ? &place->older_here->newer_here : &source->oldest) = place;
	source->newest = place;
	source_recount(registry, source, source->n + 1);
}

void undecided_registry_leave(struct undecided_registry *registry, struct undecided_place *place)
{
	struct undecided_source *source = place->source;

	if (!source)
		return;
	*(place->older ? &place->older->newer : &registry->oldest) = place->newer;
	*(place->newer ? &place->newer->older : &registry->newest) = place->older;
	*(place->older_here ? &place->older_here->newer_here : &source->oldest) = place->newer_here;
	*(place->newer_here ? &place->newer_here->older_here : &source->newest) = place->older_here;
	place->source = NULL;
	source_recount(registry, source, source->n - 1);
	if (source->n == 0)
		source_forget(registry, source);
}

struct undecided_place *undecided_registry_victim(
	const struct undecided_registry *registry, const struct undecided_place *spared)
{
	struct undecided_place *victim = registry->oldest;

	if (registry->highest > UNDECIDED_FEW)
		victim = registry->ranks[registry->highest].first->oldest;
	return victim == spared ? NULL : victim;
}

struct undecided_place *undecided_registry_victim_beside(const struct undecided_place *spared)
{
	struct undecided_place *victim = spared->source ? spared->source->oldest : NULL;
	return victim == spared ? NULL : victim;
}
