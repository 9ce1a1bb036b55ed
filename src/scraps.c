/* Small pieces of memory, kept by size. Refuses nothing: what is larger than the largest size is the heap's. Owns the spare ones;
 * what was taken belongs to whoever took it. */
#include "scraps.h"
#include <stdint.h>
#include <stdlib.h>

#define SMALLEST 64

struct scrap {
	union {
		struct scrap *next; /* while spare */
		uint64_t size;      /* while taken: its place in `spare`; SCRAP_SIZES: the heap's */
	};
	char bytes[];
};

char *scraps_take(struct scraps *scraps, size_t size)
{
	unsigned i = 0;

	while (i < SCRAP_SIZES && size > (SMALLEST << i) - sizeof(struct scrap))
		i++;
	struct scrap *scrap = i < SCRAP_SIZES ? scraps->spare[i] : NULL;
	if (scrap)
		scraps->spare[i] = scrap->next;
	else
		scrap = malloc(i < SCRAP_SIZES ? (size_t)SMALLEST << i : sizeof(*scrap) + size);
	if (!scrap)
		return NULL;
	scrap->size = i;
	return scrap->bytes;
}

void scraps_give(struct scraps *scraps, char *bytes)
{
	if (!bytes)
		return;
	struct scrap *scrap = (struct scrap *)(bytes - offsetof(struct scrap, bytes));
	unsigned i = (unsigned)scrap->size;
	if (i == SCRAP_SIZES) {
		free(scrap);
		return;
	}
	scrap->next = scraps->spare[i];
	scraps->spare[i] = scrap;
}

void scraps_fini(struct scraps *scraps)
{
	for (unsigned i = 0; i < SCRAP_SIZES; i++)
		for (struct scrap *next; scraps->spare[i]; scraps->spare[i] = next) {
			next = scraps->spare[i]->next;
			free(scraps->spare[i]);
		}
}
