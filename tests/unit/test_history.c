/* What the exporter remembers: samples in order, none across a gap, and nothing that the memory says is believed. */
#include "history.h"
#include "snapshot.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
// after those above
#include <cmocka.h>

static struct history history;
static struct sample samples[HISTORY_SAMPLES];

static int setup(void **state)
{
	memset(&history, 0, sizeof(history));
	return 0;
}

static void add(uint64_t open, int64_t at_s)
{
	history_add(&history, &(struct snapshot){ .connections = open }, at_s);
}

static void test_a_sample_has_sums_of_the_snapshot(void **state)
{
	struct snapshot_listener listeners[] = { { "a", 0, 10, 0 }, { "b", 0, 5, 0 } };
	struct snapshot_service services[] = { { "s", 0, 0, 2, 100, 200, NULL }, { "t", 0, 0, 1, 1, 2, NULL } };
	struct snapshot_total refused[] = { { "deny", 4 } }, shed[] = { { "x", 3 } };
	const struct snapshot snapshot = { .connections = 9,
		.refused = { refused, 1 },
		.shed = { shed, 1 },
		.listeners = listeners,
		.n_listeners = 2,
		.services = services,
		.n_services = 2 };

	history_add(&history, &snapshot, 1000);
	assert_int_equal(history_read(&history, samples), 1);
	assert_int_equal(samples[0].at_s, 1000);
	assert_int_equal(samples[0].open, 9);
	assert_int_equal(samples[0].accepted, 15);
	assert_int_equal(samples[0].turned_away, 10);
	assert_int_equal(samples[0].bytes, 303);
}

static void test_the_oldest_goes_when_it_is_full(void **state)
{
	for (unsigned i = 0; i < HISTORY_SAMPLES + 7; i++)
		add(i, 1000 + (int64_t)i * HISTORY_EACH_S);
	assert_int_equal(history_read(&history, samples), HISTORY_SAMPLES);
	for (unsigned i = 0; i < HISTORY_SAMPLES; i++)
		assert_int_equal(samples[i].open, i + 7);
}

static void test_what_is_before_a_gap_or_a_jump_of_the_clock_is_forgotten(void **state)
{
	add(1, 1000);
	add(2, 1005);
	add(3, 1005 + 6 * HISTORY_EACH_S); /* as long as may be */
	assert_int_equal(history_read(&history, samples), 3);
	add(4, 1006 + 12 * HISTORY_EACH_S);
	assert_int_equal(history_read(&history, samples), 1);
	assert_int_equal(samples[0].open, 4);
	add(5, 500);
	add(6, 505);
	assert_int_equal(history_read(&history, samples), 2);
	assert_int_equal(samples[0].open, 5);
	add(7, 505);
	assert_int_equal(history_read(&history, samples), 1);
}

static void test_numbers_that_lead_outside_are_not_believed(void **state)
{
	add(1, 1000);
	history.n = UINT32_MAX;
	history.next = UINT32_MAX;
	assert_true(history_read(&history, samples) <= HISTORY_SAMPLES);
	add(2, 1005);
	assert_true(history.next < HISTORY_SAMPLES);
	assert_true(history_read(&history, samples) <= HISTORY_SAMPLES);
}

static void test_a_rate_is_none_where_less_is_counted(void **state)
{
	const struct sample from = { .at_s = 10 }, to = { .at_s = 15 };

	assert_float_equal(history_rate(100, 150, &from, &to), 10, 0.001);
	assert_float_equal(history_rate(150, 100, &from, &to), 0, 0);
	assert_float_equal(history_rate(100, 100, &from, &to), 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_a_sample_has_sums_of_the_snapshot, setup),
		cmocka_unit_test_setup(test_the_oldest_goes_when_it_is_full, setup),
		cmocka_unit_test_setup(test_what_is_before_a_gap_or_a_jump_of_the_clock_is_forgotten, setup),
		cmocka_unit_test_setup(test_numbers_that_lead_outside_are_not_believed, setup),
		cmocka_unit_test_setup(test_a_rate_is_none_where_less_is_counted, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
