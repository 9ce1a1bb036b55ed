/* The worker's side of the table of names. Refuses to ask for a name more than once a second. Owns when it asked for which. */
#include "lookup.h"
#include "name_cache.h"
#include "timer.h"
#include <assert.h>
#include <stdlib.h>

#define ASK_EACH_US 1000000
#define WAIT_US     1000000
#define FRESH_MS    1000

struct asked {
	uint64_t at_us; /* 0: never */
	uint32_t ended; /* questions at that time, by whomever */
	bool awaited;
};

struct lookup {
	const struct resolved *table;
	const struct lookup_calls *calls;
	void *context;
	struct asked asked[]; /* one a name */
};

struct lookup *lookup_new(const struct resolved *table, const struct lookup_calls *calls, void *context)
{
	size_t n = table ? resolved_count(table) : 0;
	struct lookup *lookup = calloc(1, sizeof(*lookup) + n * sizeof(lookup->asked[0]));

	if (!lookup)
		return NULL;
	lookup->table = table;
	lookup->calls = calls;
	lookup->context = context;
	return lookup;
}

void lookup_free(struct lookup *lookup)
{
	free(lookup);
}

size_t lookup_read(const struct lookup *lookup, uint32_t name, uint16_t port,
	struct resolved_address ret[RESOLVED_ADDRESSES_MAX])
{
	return resolved_read(lookup->table, name, port, ret);
}

uint32_t lookup_version(const struct lookup *lookup, uint32_t name)
{
	struct resolved_state state;

	resolved_look(lookup->table, name, &state);
	return state.version;
}

bool lookup_is_fresh(const struct lookup *lookup, uint32_t name)
{
	struct resolved_state state;

	resolved_look(lookup->table, name, &state);
	return state.version > 0 && state.age_ms < FRESH_MS;
}

void lookup_ask(struct lookup *lookup, uint32_t name, uint64_t now_us)
{
	struct asked *asked = &lookup->asked[name];
	struct resolved_state state;

	if (asked->at_us > 0 && now_us - asked->at_us < ASK_EACH_US)
		return;
	resolved_look(lookup->table, name, &state);
	bool answers = asked->at_us == 0 || state.ended != asked->ended;
	*asked = (struct asked){ .at_us = now_us, .ended = state.ended };
	asked->awaited = lookup->calls->ask(lookup->context, name) == 0 && answers && !state.failing;
}

bool lookup_is_awaited(const struct lookup *lookup, uint32_t name, uint64_t now_us)
{
	const struct asked *asked = &lookup->asked[name];
	struct resolved_state state;

	if (!asked->awaited || now_us - asked->at_us >= WAIT_US)
		return false;
	resolved_look(lookup->table, name, &state);
	return state.ended == asked->ended;
}

bool lookup_find(const struct lookup *lookup, const char *name, struct name_cached *ret)
{
	uint32_t now_ms = (uint32_t)(clock_monotonic_us() / 1000);
	char folded[NAME_MAX_LEN + 1];

	return lookup->table && name_fold(name, folded) &&
		name_cache_find(resolved_cache(lookup->table), folded, now_ms, ret) && ret->is_current;
}

void lookup_ask_for(struct lookup *lookup, const char *name, uint64_t source)
{
	char folded[NAME_MAX_LEN + 1];

	if (name_fold(name, folded))
		lookup->calls->ask_for(lookup->context, folded, source);
}
