/* A bucket of tokens: its burst, its rate, and moments that it did not make itself. */
#include "token_bucket.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// after those above
#include <cmocka.h>

#define EACH_US 1000

static unsigned taken(uint64_t *full_us, uint64_t burst, uint64_t now_us)
{
	unsigned n = 0;

	while (n < 1000 && token_bucket_take(*full_us, burst, EACH_US, now_us, full_us))
		n++;
	return n;
}

static void a_full_bucket_has_its_burst_and_no_more(void **state)
{
	uint64_t full_us = 0;

	assert_int_equal(taken(&full_us, 5, 100000), 5);
	assert_int_equal(full_us, 105000);
	assert_int_equal(taken(&full_us, 5, 100000), 0);
	assert_int_equal(full_us, 105000);
}

static void tokens_come_back_one_by_one(void **state)
{
	uint64_t full_us = 0;

	taken(&full_us, 5, 100000);
	assert_int_equal(taken(&full_us, 5, 100999), 0);
	assert_int_equal(taken(&full_us, 5, 101000), 1);
	assert_int_equal(taken(&full_us, 5, 103500), 2);
	assert_int_equal(taken(&full_us, 5, 900000), 5);
}

static void a_moment_that_is_too_far_off_is_forgotten(void **state)
{
	uint64_t full_us = 100000 + 5 * EACH_US + TOKEN_BUCKET_SKEW_US + 1;

	assert_int_equal(taken(&full_us, 5, 100000), 5);
	full_us = UINT64_MAX;
	assert_int_equal(taken(&full_us, 5, 100000), 5);
	full_us = 100000 + 5 * EACH_US;
	assert_int_equal(taken(&full_us, 5, 100000), 0);
}

static void a_caller_whose_clock_is_behind_finds_the_bucket_empty(void **state)
{
	uint64_t full_us = 0;

	assert_int_equal(taken(&full_us, 1, 104000), 1);
	assert_int_equal(taken(&full_us, 1, 100000), 0);
	assert_int_equal(full_us, 104000 + EACH_US);
}

static void a_bucket_without_room_has_none(void **state)
{
	uint64_t full_us = 0;

	assert_int_equal(taken(&full_us, 0, 100000), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_bucket_has_its_burst_and_no_more),
		cmocka_unit_test(tokens_come_back_one_by_one),
		cmocka_unit_test(a_moment_that_is_too_far_off_is_forgotten),
		cmocka_unit_test(a_caller_whose_clock_is_behind_finds_the_bucket_empty),
		cmocka_unit_test(a_bucket_without_room_has_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
