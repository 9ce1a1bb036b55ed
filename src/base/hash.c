/* FNV-1a: http://www.isthe.com/chongo/tech/comp/fnv. Owns nothing. */
#include "hash.h"

uint64_t hash_name(const char *name)
{
	uint64_t hash = HASH_START;

	for (; *name; name++)
		hash = hash_byte(hash, (uint8_t)*name);
	return hash;
}
