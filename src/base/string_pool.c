/* Small pieces of memory, kept by size. Refuses nothing: what is larger than the largest size is the heap's. Owns the spare ones;
 * what was taken belongs to whoever took it. */
#include "string_pool.h"
#include <stdint.h>
#include <stdlib.h>

#define SMALLEST 64

struct pooled_string {
	union {
		struct pooled_string *next; /* while spare */
		uint64_t size;              /* while taken: its place in `spare`; STRING_POOL_SIZES: the heap's */
	};
	char bytes[];
};

char *string_pool_take(struct string_pool *pool, size_t size)
{
	unsigned i = 0;

	while (i < STRING_POOL_SIZES && size > (SMALLEST << i) - sizeof(struct pooled_string))
		i++;
	struct pooled_string *string = i < STRING_POOL_SIZES ? pool->spare[i] : NULL;
	if (string)
		pool->spare[i] = string->next;
	else
		string = malloc(i < STRING_POOL_SIZES ? (size_t)SMALLEST << i : sizeof(*string) + size);
	if (!string)
		return NULL;
	string->size = i;
	return string->bytes;
}

void string_pool_give(struct string_pool *pool, char *bytes)
{
	if (!bytes)
		return;
	struct pooled_string *string = (struct pooled_string *)(bytes - offsetof(struct pooled_string, bytes));
	unsigned i = (unsigned)string->size;
	if (i == STRING_POOL_SIZES) {
		free(string);
		return;
	}
	string->next = pool->spare[i];
	pool->spare[i] = string;
}

void string_pool_fini(struct string_pool *pool)
{
	for (unsigned i = 0; i < STRING_POOL_SIZES; i++)
		for (struct pooled_string *next; pool->spare[i]; pool->spare[i] = next) {
			next = pool->spare[i]->next;
			free(pool->spare[i]);
		}
}
