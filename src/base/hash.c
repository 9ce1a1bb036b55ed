/* FNV-1a: http://www.isthe.com/chongo/tech/comp/fnv. Owns nothing. */
#include "hash.h"

uint64_t hash_name(const char *name)
{
	uint64_t hash = HASH_START;

	for (; *name; name++)
		hash = hash_byte(hash, (uint8_t)*name);
	return hash;
}

uint64_t hash_bytes(const void *bytes, size_t len)
{
	const uint8_t *in = bytes;
	uint64_t hash = HASH_START;

	for (size_t i = 0; i < len; i++)
		hash = hash_byte(hash, in[i]);
	return hash;
}
