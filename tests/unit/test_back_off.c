/* Waits that double, up to the longest. */
#include "back_off.h"
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// after those above
#include <cmocka.h>

static void waits_double_up_to_the_longest(void **state)
{
	static const uint64_t expected[] = { 100, 200, 400, 800, 1000, 1000 };

	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(back_off_us(100, 1000, i), expected[i]);
	assert_int_equal(back_off_us(100, 800, 3), 800);
	assert_int_equal(back_off_us(100, 800, 4), 800);
	assert_int_equal(back_off_us(100, 50, 0), 50);
}

static void no_number_of_times_overflows(void **state)
{
	static const uint64_t firsts[] = { 1, 3, 100000, UINT64_MAX / 2 };
	const uint64_t most[] = { 7, 5000000, UINT64_MAX };

	for (unsigned times = 0; times < 200; times++)
		for (size_t i = 0; i < 4; i++)
			for (size_t j = 0; j < 3; j++) {
				uint64_t wait = back_off_us(firsts[i], most[j], times);
				assert_true(wait <= most[j] && wait > 0);
				assert_true(back_off_us(firsts[i], most[j], times + 1) >= wait);
			}
	assert_int_equal(back_off_us(100, 1000, UINT_MAX), 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waits_double_up_to_the_longest),
		cmocka_unit_test(no_number_of_times_overflows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
