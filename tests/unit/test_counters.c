/* Counters of several workers: sums, what a dead one leaves, and more names than there are places. */
#include "counters.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct counted sum(const struct counters *counters, enum counter_kind kind, const char *name)
{
	struct counted counted;

	counters_sum(counters, kind, name, &counted);
	return counted;
}

static void sums_are_over_all_workers(void **state)
{
	struct counters *counters;

	assert_int_equal(counters_new(&counters, &(int){ -1 }), 0);
	assert_int_equal(sum(counters, COUNTER_SERVICE, "web").total, 0);
	counters_begin(counters, 10);
	for (unsigned slot = 0; slot < 3; slot++) {
		struct counter *counter = counter_get(counters, 5 * slot, COUNTER_SERVICE, "web");
		assert_ptr_equal(counter_get(counters, 5 * slot, COUNTER_SERVICE, "web"), counter);
		assert_ptr_not_equal(counter_get(counters, 5 * slot, COUNTER_LISTENER, "web"), counter);
		counter_open(counter);
		counter_open(counter);
		counter_close(counter);
		counter_add(&counter->bytes_up, 10);
		counter_add(&counter->failed, slot);
	}
	struct counted counted = sum(counters, COUNTER_SERVICE, "web");
	assert_int_equal(counted.open, 3);
	assert_int_equal(counted.total, 6);
	assert_int_equal(counted.bytes_up, 30);
	assert_int_equal(counted.bytes_down, 0);
	assert_int_equal(counted.failed, 3);
	assert_int_equal(sum(counters, COUNTER_LISTENER, "web").total, 0);
	counters_free(counters);
	counters_free(NULL);
}

static void what_a_dead_worker_had_open_is_forgotten(void **state)
{
	struct counters *counters;

	assert_int_equal(counters_new(&counters, &(int){ -1 }), 0);
	counters_begin(counters, 2);
	counter_open(counter_get(counters, 1, COUNTER_SERVICE, "web"));
	counter_open(counter_get(counters, 2, COUNTER_SERVICE, "web"));
	counters_forget_open(counters, 1);
	assert_int_equal(sum(counters, COUNTER_SERVICE, "web").open, 1);
	assert_int_equal(sum(counters, COUNTER_SERVICE, "web").total, 2);
	counters_free(counters);
}

static void names_past_the_last_place_are_counted_together(void **state)
{
	struct counters *counters;
	struct counter *last = NULL;
	char name[32];

	assert_int_equal(counters_new(&counters, &(int){ -1 }), 0);
	counters_begin(counters, 0);
	for (int i = 0; i < COUNTERS_ENTRIES + 100; i++) {
		snprintf(name, sizeof(name), "service-%d", i);
		last = counter_get(counters, 0, COUNTER_SERVICE, name);
		counter_open(last);
	}
	assert_int_equal(last->total, 101);
	assert_int_equal(sum(counters, COUNTER_SERVICE, "service-0").total, 1);
	assert_int_equal(sum(counters, COUNTER_SERVICE, name).total, 0);
	counters_free(counters);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_are_over_all_workers),
		cmocka_unit_test(what_a_dead_worker_had_open_is_forgotten),
		cmocka_unit_test(names_past_the_last_place_are_counted_together),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
