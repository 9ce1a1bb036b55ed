/* Small pieces of memory that are taken and given back all the time: a session's names. Four sizes; what is given back is
 * kept for the next of its size, so that a worker that is warm asks nothing of the heap. */
#pragma once
#include <stddef.h>

#define STRING_POOL_SIZES 4 /* 56, 120, 248 and 504 bytes */

struct pooled_string;

struct string_pool {
	struct pooled_string *spare[STRING_POOL_SIZES];
};

char *string_pool_take(struct string_pool *pool, size_t size); /* NULL: no memory */
void string_pool_give(struct string_pool *pool, char *bytes);  /* accepts NULL */
void string_pool_fini(struct string_pool *pool);               /* frees what is spare */
