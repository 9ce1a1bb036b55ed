/* What a worker knows of names, and how it has one asked for anew. It never waits for the answer here; who does is told for how long that
 * makes sense. */
#pragma once
#include "resolved.h"
#include <stdint.h>

struct lookup;

/* How who resolves names is asked: by the number of one of the policy's, or for another one, on behalf of a client that counts for `source`.
 * 0, or -errno where that is not possible now. */
struct lookup_calls {
	int (*ask)(void *context, uint32_t name);
	int (*ask_for)(void *context, const char *name, uint64_t source);
};

/* NULL: no memory. The table stays the caller's, NULL where there are no names. */
struct lookup *lookup_new(const struct resolved *table, const struct lookup_calls *calls, void *context);
void lookup_free(struct lookup *lookup); /* accepts NULL */

/* As resolved_read(). */
size_t lookup_read(const struct lookup *lookup, uint32_t name, uint16_t port,
	struct resolved_address ret[RESOLVED_ADDRESSES_MAX]);
uint32_t lookup_version(const struct lookup *lookup, uint32_t name); /* another number: another answer; 0: none yet */

/* Of a name that is not the policy's. False: it is to be asked for, or the answer is not there yet; lookup_ask_for() as often as the caller
 * likes. */
struct name_cached;
bool lookup_find(const struct lookup *lookup, const char *name, struct name_cached *ret);
void lookup_ask_for(struct lookup *lookup, const char *name, uint64_t source);

/* Younger than a second: no question would bring a better one. */
bool lookup_is_fresh(const struct lookup *lookup, uint32_t name);

/* Has the name asked for, unless it was within a second. */
void lookup_ask(struct lookup *lookup, uint32_t name, uint64_t now_us);

/* The answer to the last question may yet come: for at most a second from the question on, and never where the question before had no answer
 * in its time, or the name is failing. So name servers that do not answer cost somebody a second once, and not everybody. */
bool lookup_is_awaited(const struct lookup *lookup, uint32_t name, uint64_t now_us);
