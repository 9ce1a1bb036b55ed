/* A balanced tree (the C library's tsearch) of names: no number of services makes a look-up slow.
 *
 * Refuses nothing; out of memory ends the process, as it does in the arena. Names are borrowed from their
 * owner. */
#include "index.h"
#include "nearest.h"
#include <search.h>
#include <stdlib.h>
#include <string.h>

struct index {
	void *root;
};

struct item {
	const char *name;
	uint32_t number;
};

struct index *index_new(void)
{
	struct index *index = calloc(1, sizeof(*index));
	if (!index)
		abort();
	return index;
}

void index_free(struct index *index)
{
	if (!index)
		return;
	tdestroy(index->root, free);
	free(index);
}

static int item_compare(const void *a, const void *b)
{
	return strcmp(((const struct item *)a)->name, ((const struct item *)b)->name);
}

uint32_t index_add(struct index *index, const char *name, uint32_t number)
{
	struct item *item = malloc(sizeof(*item));
	if (!item)
		abort();
	*item = (struct item){ name, number };

	struct item **found = tsearch(item, &index->root, item_compare);
	if (!found)
		abort();
	if (*found != item)
		free(item);
	return (*found)->number;
}

void index_move(struct index *index, const char *name, uint32_t number)
{
	struct item wanted = { name, 0 };
	struct item **found = tfind(&wanted, &index->root, item_compare);
	(*found)->number = number;
}

uint32_t index_find(const struct index *index, const char *name)
{
	struct item wanted = { name, 0 };
	struct item **found = tfind(&wanted, &index->root, item_compare);
	return found ? (*found)->number : INDEX_NONE;
}

struct search {
	const char *wanted;
	const char *best;
	unsigned distance;
};

static void nearest_visit(const void *node, VISIT order, void *context)
{
	struct search *search = context;
	if (order != postorder && order != leaf)
		return;
	const char *name = (*(const struct item *const *)node)->name;
	unsigned distance = nearest_distance(search->wanted, name);
	if (distance < search->distance) {
		search->best = name;
		search->distance = distance;
	}
}

const char *index_nearest(const struct index *index, const char *name)
{
	struct search search = { name, NULL, NEAREST_NONE };
	twalk_r(index->root, nearest_visit, &search);
	return search.best;
}
