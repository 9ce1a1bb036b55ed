/* The health of a backend: one word, a clock that is the test's, and clients of two workers. */
#include "backend_health.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SECOND_US 1000000ULL
#define A         3 /* slots of workers */
#define B         200

static _Atomic uint64_t word;
static uint64_t now_us;

static int setup(void **state)
{
	word = 0;
	now_us = 1000 * SECOND_US;
	return 0;
}

static enum backend_health look(void)
{
	return backend_health_look(&word, now_us);
}

static void go_down(void)
{
	assert_true(backend_health_failed(&word, A, false, now_us));
	assert_int_equal(look(), BACKEND_DOWN);
}

static void one_that_nobody_has_tried_is_up(void **state)
{
	assert_int_equal(look(), BACKEND_UP);
	assert_false(backend_health_worked(&word, now_us));
	assert_int_equal(word, 0);
}

static void one_failure_takes_it_down_for_a_second(void **state)
{
	go_down();
	assert_false(backend_health_failed(&word, B, false, now_us)); /* told once */
	now_us += SECOND_US - 1000;
	assert_int_equal(look(), BACKEND_DOWN);
	now_us += 1000;
	assert_int_equal(look(), BACKEND_DUE);
}

static void one_client_at_a_time_is_the_trial(void **state)
{
	go_down();
	assert_false(backend_health_try(&word, A, now_us));
	now_us += SECOND_US;
	assert_true(backend_health_try(&word, A, now_us));
	assert_int_equal(look(), BACKEND_DOWN);
	assert_false(backend_health_try(&word, B, now_us));
	assert_true(backend_health_worked(&word, now_us));
	assert_int_equal(look(), BACKEND_UP);
	assert_false(backend_health_worked(&word, now_us));
}

static void the_back_off_doubles_up_to_a_minute(void **state)
{
	static const unsigned seconds[] = { 2, 4, 8, 16, 32, 60, 60 };

	go_down();
	now_us += SECOND_US;
	for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++) {
		assert_true(backend_health_try(&word, A, now_us));
		assert_false(backend_health_failed(&word, A, true, now_us));
		now_us += seconds[i] * SECOND_US - 1000;
		assert_int_equal(look(), BACKEND_DOWN);
		now_us += 1000;
		assert_int_equal(look(), BACKEND_DUE);
	}
}

static void what_others_find_while_it_is_down_does_not_lengthen_it(void **state)
{
	go_down();
	for (unsigned i = 0; i < 100; i++)
		assert_false(backend_health_failed(&word, B, false, now_us));
	now_us += SECOND_US;
	assert_int_equal(look(), BACKEND_DUE);
}

static void any_client_that_gets_through_brings_it_back(void **state)
{
	go_down();
	assert_true(backend_health_worked(&word, now_us));
	assert_int_equal(look(), BACKEND_UP);
}

static void one_that_fails_again_within_a_minute_goes_on_where_it_was(void **state)
{
	go_down();
	now_us += SECOND_US;
	assert_true(backend_health_worked(&word, now_us));
	now_us += 59 * SECOND_US;
	go_down();
	now_us += SECOND_US;
	assert_int_equal(look(), BACKEND_DOWN);
	now_us += SECOND_US;
	assert_int_equal(look(), BACKEND_DUE);
	assert_true(backend_health_worked(&word, now_us));
	now_us += 61 * SECOND_US;
	go_down();
	now_us += SECOND_US;
	assert_int_equal(look(), BACKEND_DUE);
}

static void a_trial_whose_client_leaves_decides_nothing(void **state)
{
	go_down();
	now_us += SECOND_US;
	assert_true(backend_health_try(&word, A, now_us));
	backend_health_give_up(&word, B, now_us); /* not its trial */
	assert_false(backend_health_try(&word, B, now_us));
	backend_health_give_up(&word, A, now_us);
	assert_int_equal(look(), BACKEND_DOWN);
	now_us += SECOND_US;
	assert_true(backend_health_try(&word, B, now_us));
}

static void a_trial_ends_with_its_worker(void **state)
{
	go_down();
	now_us += SECOND_US;
	assert_true(backend_health_try(&word, B, now_us));
	backend_health_forget(&word, A, now_us);
	assert_int_equal(look(), BACKEND_DOWN);
	backend_health_forget(&word, B, now_us);
	assert_true(backend_health_try(&word, A, now_us));
}

static void a_trial_that_takes_too_long_is_over(void **state)
{
	go_down();
	now_us += SECOND_US;
	assert_true(backend_health_try(&word, A, now_us));
	now_us += 60 * SECOND_US;
	assert_true(backend_health_try(&word, B, now_us));
	/* And its result is not that of the one that followed. */
	uint64_t before = word;
	assert_false(backend_health_failed(&word, A, true, now_us));
	assert_int_equal(word, before);
}

static void resets_in_a_row_take_it_down(void **state)
{
	for (unsigned i = 0; i < BACKEND_RESETS_MAX - 1; i++)
		assert_false(backend_health_reset(&word, now_us));
	backend_health_spoke(&word);
	for (unsigned i = 0; i < BACKEND_RESETS_MAX - 1; i++)
		assert_false(backend_health_reset(&word, now_us));
	assert_int_equal(look(), BACKEND_UP);
	assert_true(backend_health_reset(&word, now_us));
	assert_int_equal(look(), BACKEND_DOWN);
	assert_false(backend_health_reset(&word, now_us));
}

static void no_word_keeps_a_backend_away_for_longer_than_a_back_off(void **state)
{
	uint64_t random = 1;

	for (unsigned i = 0; i < 100000; i++) {
		random ^= random << 13, random ^= random >> 7, random ^= random << 17;
		word = random;
		uint64_t at = now_us;
		if (look() == BACKEND_UP)
			continue;
		now_us += 65 * SECOND_US;
		assert_int_not_equal(look(), BACKEND_DOWN);
		assert_true(backend_health_worked(&word, now_us));
		assert_int_equal(look(), BACKEND_UP);
		now_us = at;
	}
}

int main(void)
{
#define UNIT(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		UNIT(one_that_nobody_has_tried_is_up),
		UNIT(one_failure_takes_it_down_for_a_second),
		UNIT(one_client_at_a_time_is_the_trial),
		UNIT(the_back_off_doubles_up_to_a_minute),
		UNIT(what_others_find_while_it_is_down_does_not_lengthen_it),
		UNIT(any_client_that_gets_through_brings_it_back),
		UNIT(one_that_fails_again_within_a_minute_goes_on_where_it_was),
		UNIT(a_trial_whose_client_leaves_decides_nothing),
		UNIT(a_trial_ends_with_its_worker),
		UNIT(a_trial_that_takes_too_long_is_over),
		UNIT(resets_in_a_row_take_it_down),
		UNIT(no_word_keeps_a_backend_away_for_longer_than_a_back_off),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
