/* A name that a client says, and the memory that the resolver writes, which a process that was taken over may have filled with anything. */
#include "fuzz.h"
#include "name_cache.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct name_cache *cache;
	char name[512] = "", folded[NAME_MAX_LEN + 1], again[NAME_MAX_LEN + 1];
	struct name_cached found;

	if (!cache && !(cache = aligned_alloc(64, name_cache_size())))
		abort();
	memcpy(name, data, size < sizeof(name) - 1 ? size : sizeof(name) - 1);
	if (!name_fold(name, folded))
		return 0;
	if (!name_fold(folded, again) || strcmp(folded, again) != 0 || strlen(folded) > NAME_MAX_LEN)
		abort();
	size_t used = strlen(name) + 1 < size ? strlen(name) + 1 : size;
	for (size_t at = 0; at < name_cache_size(); at++)
		((uint8_t *)cache)[at] = used < size ? data[used + at % (size - used)] : 0;
	if (name_cache_find(cache, folded, 0, &found))
		for (size_t i = 0; i < found.n; i++)
			if (found.n > NAME_CACHE_ADDRESSES || !address_is_ip(&found.addresses[i]))
				abort();
	name_cache_mend(cache);
	name_cache_put(cache, folded, NULL, 0, 0, 1000);
	if (!name_cache_find(cache, folded, 0, &found) || found.n > 0)
		abort();
	return 0;
}
