/* Warnings at intervals: which are written, and how many each stands for. */
#include "log_limit.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// after those above
#include <cmocka.h>

#define EACH_US 1000

static void the_first_is_written_and_others_are_counted(void **state)
{
	struct log_limit limit = { 0 };

	assert_int_equal(log_limit_count(&limit, EACH_US, 5000), 1);
	assert_int_equal(log_limit_count(&limit, EACH_US, 5000), 0);
	assert_int_equal(log_limit_count(&limit, EACH_US, 5999), 0);
	assert_int_equal(log_limit_count(&limit, EACH_US, 6000), 3);
	assert_int_equal(log_limit_count(&limit, EACH_US, 6999), 0);
	assert_int_equal(log_limit_count(&limit, EACH_US, 99000), 2);
}

static void rare_ones_are_all_written(void **state)
{
	struct log_limit limit = { 0 };

	for (uint64_t now_us = 1; now_us < 100 * EACH_US; now_us += EACH_US)
		assert_int_equal(log_limit_count(&limit, EACH_US, now_us), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_is_written_and_others_are_counted),
		cmocka_unit_test(rare_ones_are_all_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
