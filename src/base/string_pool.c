/* Small pieces of memory, kept by size. Refuses nothing: what is larger than the largest size is the heap's. Owns the spare ones;
 * what was taken belongs to whoever took it. */
#include "string_pool.h"
#include <stdint.h>
#include <stdlib.h>

#define SMALLEST 64

struct pooled_string {
	union {
		struct pooled_string *next; /* while spare */
		uint64_t size;              /* while taken: its place in `spare`; SCRAP_SIZES: the heap's */
	};
	char bytes[];
};

char *string_pool_take(struct string_pool *scraps, size_t size)
{
	unsigned i = 0;

	while (i < STRING_POOL_SIZES && size > (SMALLEST << i) - sizeof(struct pooled_string))
		i++;
	struct pooled_string *scrap = i < STRING_POOL_SIZES ? scraps->spare[i] : NULL;
	if (scrap)
		scraps->spare[i] = scrap->next;
	else
		scrap = malloc(i < STRING_POOL_SIZES ? (size_t)SMALLEST << i : sizeof(*scrap) + size);
	if (!scrap)
		return NULL;
	scrap->size = i;
	return scrap->bytes;
}

void string_pool_give(struct string_pool *scraps, char *bytes)
{
	if (!bytes)
		return;
	struct pooled_string *scrap = (struct pooled_string *)(bytes - offsetof(struct pooled_string, bytes));
	unsigned i = (unsigned)scrap->size;
	if (i == STRING_POOL_SIZES) {
		free(scrap);
		return;
	}
	scrap->next = scraps->spare[i];
	scraps->spare[i] = scrap;
}

void string_pool_fini(struct string_pool *scraps)
{
	for (unsigned i = 0; i < STRING_POOL_SIZES; i++)
		for (struct pooled_string *next; scraps->spare[i]; scraps->spare[i] = next) {
			next = scraps->spare[i]->next;
			free(scraps->spare[i]);
		}
}
