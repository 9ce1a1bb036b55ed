/* Memory of one size, used again. Refuses to keep more spare pieces than it may. Owns the spare ones; what was taken belongs to whoever
 * took it. */
#include "pool.h"
#include <stdlib.h>

struct pool_piece {
	struct pool_piece *next;
};

void *pool_take(struct pool *pool)
{
	struct pool_piece *piece = pool->spare;

	if (!piece)
		return malloc(pool->size);
	pool->spare = piece->next;
	pool->n--;
	return piece;
}

void pool_give(struct pool *pool, void *bytes)
{
	struct pool_piece *piece = bytes;

	if (!piece)
		return;
	if (pool->n >= pool->most) {
		free(piece);
		return;
	}
	piece->next = pool->spare;
	pool->spare = piece;
	pool->n++;
}

void pool_fini(struct pool *pool)
{
	for (struct pool_piece *next; pool->spare; pool->spare = next) {
		next = pool->spare->next;
		free(pool->spare);
	}
	pool->n = 0;
}
