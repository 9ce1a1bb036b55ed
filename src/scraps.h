/* Small pieces of memory that are taken and given back all the time: a connection's names. Four sizes; what is given back is
 * kept for the next of its size, so that a worker that is warm asks nothing of the heap. */
#pragma once
#include <stddef.h>

#define SCRAP_SIZES 4 /* 56, 120, 248 and 504 bytes */

struct scrap;

struct scraps {
	struct scrap *spare[SCRAP_SIZES];
};

char *scraps_take(struct scraps *scraps, size_t size); /* NULL: no memory */
void scraps_give(struct scraps *scraps, char *bytes);  /* accepts NULL */
void scraps_fini(struct scraps *scraps);               /* frees what is spare */
