/* Names that clients ask for, looked up for the cache that workers read. What strangers can make of it has bounds: names that are allowed, so many
 * questions at a time, so many a second, in all and for one source. What is beyond is not asked, and workers ask again. */
#pragma once
#include "name_cache.h"
#include <ares.h>
#include <stdbool.h>

struct client_lookups;

struct client_lookups_of {
	struct name_cache *cache;
	bool (*allows)(const void *context, const char *name); /* NULL: none */
	const void *context;
	unsigned max_age_s;
};

struct client_lookups *client_lookups_new(
	const struct client_lookups_of *of); /* NULL: no memory, or no random numbers */

/* `name` need not be sound. */
void client_lookups_ask(struct client_lookups *lookups, ares_channel channel, const char *name, uint64_t source);
