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

static void histograms_are_sums_over_all_workers_and_outlive_them(void **state)
{
	struct measured measured[HISTOGRAMS];
	struct counters *counters;

	assert_int_equal(counters_new(&counters, &(int){ -1 }), 0);
	counters_begin(counters, 7);
	assert_false(counters_measured(counters, "web", measured));
	for (unsigned slot = 0; slot < 2; slot++) {
		struct measures *measures = counters_measures(counters, 7 * slot, "web");
		assert_ptr_equal(counters_measures(counters, 7 * slot, "web"), measures);
		assert_ptr_not_equal(counters_measures(counters, 7 * slot, "ssh"), measures);
		histogram_observe(&measures->of[HISTOGRAM_DECISION], HISTOGRAM_DECISION, 400 + slot);
	}
	counters_forget_open(counters, 7);
	assert_true(counters_measured(counters, "web", measured));
	assert_int_equal(measured[HISTOGRAM_DECISION].buckets[2], 2);
	assert_int_equal(measured[HISTOGRAM_DECISION].sum, 801);
	assert_int_equal(measured[HISTOGRAM_CONNECT].sum, 0);
	counters_free(counters);
}

static void a_bound_belongs_to_its_bucket_and_what_is_above_all_has_the_last(void **state)
{
	for (int kind = 0; kind < HISTOGRAMS; kind++) {
		for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++) {
			struct histogram histogram = { 0 };
			uint64_t bound = histogram_bounds[kind][i];
			assert_true(i == 0 || bound > histogram_bounds[kind][i - 1]);
			histogram_observe(&histogram, (enum histogram_kind)kind, bound);
			histogram_observe(&histogram, (enum histogram_kind)kind, bound + 1);
			assert_int_equal(histogram.buckets[i], 1);
			assert_int_equal(histogram.buckets[i + 1], 1);
			assert_int_equal(histogram.sum, 2 * bound + 1);
		}
	}
}

static void a_service_past_the_last_place_has_no_histograms(void **state)
{
	struct counters *counters;
	char name[32];

	assert_int_equal(counters_new(&counters, &(int){ -1 }), 0);
	counters_begin(counters, 0);
	for (int i = 0; i < COUNTERS_MEASURED; i++) {
		snprintf(name, sizeof(name), "service-%d", i);
		assert_non_null(counters_measures(counters, 0, name));
	}
	assert_null(counters_measures(counters, 0, "one-more"));
	assert_non_null(counters_measures(counters, 0, "service-0"));
	counters_free(counters);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_are_over_all_workers),
		cmocka_unit_test(what_a_dead_worker_had_open_is_forgotten),
		cmocka_unit_test(names_past_the_last_place_are_counted_together),
		cmocka_unit_test(histograms_are_sums_over_all_workers_and_outlive_them),
		cmocka_unit_test(a_bound_belongs_to_its_bucket_and_what_is_above_all_has_the_last),
		cmocka_unit_test(a_service_past_the_last_place_has_no_histograms),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
