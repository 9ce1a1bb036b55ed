/* Names that clients ask for, and their addresses: a cache of fixed size that the resolver writes and workers read, in one mapping (resolved.h).
 * Nobody waits for anybody; a writer that dies leaves one entry that is not there.
 *
 * Where a name has its place, strangers do not know: the hash has a key. Where its places are taken, it gets that of a name that is
 * too old, or else of the one that is so first. Not in the cache says nothing of the name. */
#pragma once
#include "address.h"
#include <stddef.h>

#define NAME_CACHE_ADDRESSES 8
#define NAME_MAX_LEN         253

struct name_cache;

struct name_cached {
	bool is_current;                                /* else it is to be asked for again */
	size_t n;                                       /* 0: the name has none, or nobody knows */
	struct address addresses[NAME_CACHE_ADDRESSES]; /* without a port */
};

size_t name_cache_size(void);
int name_cache_init(struct name_cache *cache); /* in memory that is all zero. 0 or -errno */
void name_cache_mend(
	struct name_cache *cache); /* who writes it from now on: what the one before left half written is not there */

/* In lower case and without a dot at the end. False: it is no host name. */
bool name_fold(const char *name, char ret[NAME_MAX_LEN + 1]);

/* False: the name is not there. `name` is folded. Times are of the monotonic clock, in milliseconds, and wrap around. */
bool name_cache_find(const struct name_cache *cache, const char *name, uint32_t now_ms, struct name_cached *ret);

/* Addresses that are no IP addresses, and more than NAME_CACHE_ADDRESSES, are left out. */
void name_cache_put(struct name_cache *cache, const char *name, const struct address *addresses, size_t n,
	uint32_t now_ms, uint32_t keep_ms);
