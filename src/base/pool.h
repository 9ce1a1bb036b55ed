/* Pieces of memory of one size. Some of those that are given back are kept for the next, so that a worker that is warm asks nothing of
 * the heap. */
#pragma once
#include <stddef.h>

struct pool_piece;

/* The caller sets `size` and `most`; the rest is zero. */
struct pool {
	size_t size;   /* of a piece, at least that of a pointer */
	unsigned most; /* that are kept */
	unsigned n;
	struct pool_piece *spare;
};

void *pool_take(struct pool *pool);             /* with whatever is in it; NULL: no memory */
void pool_give(struct pool *pool, void *piece); /* accepts NULL */
void pool_fini(struct pool *pool);              /* frees what is spare */
