/* Pieces of memory that are used again, and no more spare ones than may be. */
#include "pool.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MOST 3

static void what_is_given_back_is_taken_next(void **state)
{
	struct pool pool = { .size = 100, .most = MOST };
	uint8_t *one = pool_take(&pool), *two = pool_take(&pool);

	assert_non_null(one);
	assert_ptr_not_equal(one, two);
	memset(one, 1, pool.size);
	pool_give(&pool, one);
	assert_ptr_equal(pool_take(&pool), one);
	pool_give(&pool, two);
	pool_give(&pool, one);
	assert_int_equal(pool.n, 2);
	pool_fini(&pool);
	assert_int_equal(pool.n, 0);
}

static void no_more_are_kept_than_may_be(void **state)
{
	struct pool pool = { .size = sizeof(void *), .most = MOST };
	void *taken[MOST + 2];

	for (unsigned i = 0; i < MOST + 2; i++)
		assert_non_null(taken[i] = pool_take(&pool));
	for (unsigned i = 0; i < MOST + 2; i++)
		pool_give(&pool, taken[i]);
	assert_int_equal(pool.n, MOST);
	pool_give(&pool, NULL);
	assert_int_equal(pool.n, MOST);
	pool_fini(&pool);
	assert_null(pool.spare);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_given_back_is_taken_next),
		cmocka_unit_test(no_more_are_kept_than_may_be),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
