/* Who is shed first: against a slow model that looks at everybody, and the cases that it is for. */
#include "undecided_registry.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define PLACES  3000
#define SOURCES 40

static struct undecided_registry *registry;

static int setup(void **state)
{
	registry = undecided_registry_new();
	return registry ? 0 : -1;
}

static int teardown(void **state)
{
	undecided_registry_free(registry);
	return 0;
}

static void nobody_is_there(void **state)
{
	struct undecided_place one = { 0 };

	assert_null(undecided_registry_victim(registry, NULL));
	undecided_registry_leave(registry, &one);
	undecided_registry_enter(registry, &one, 5);
	assert_ptr_equal(undecided_registry_victim(registry, NULL), &one);
	assert_null(undecided_registry_victim(registry, &one));
	assert_null(undecided_registry_victim_beside(&one));
	undecided_registry_leave(registry, &one);
	undecided_registry_leave(registry, &one);
	assert_null(undecided_registry_victim(registry, NULL));
	assert_null(undecided_registry_victim_beside(&one));
}

/* One source with hundreds loses its own, though another has waited longer. */
static void the_source_with_most_loses_its_oldest(void **state)
{
	struct undecided_place patient[3] = { 0 }, flood[500] = { 0 }, late = { 0 };

	for (size_t i = 0; i < 3; i++)
		undecided_registry_enter(registry, &patient[i], 1);
	for (size_t i = 0; i < 500; i++)
		undecided_registry_enter(registry, &flood[i], 2);
	undecided_registry_enter(registry, &late, 3);
	for (size_t i = 0; i < 500 - UNDECIDED_FEW; i++) {
		assert_ptr_equal(undecided_registry_victim(registry, &late), &flood[i]);
		undecided_registry_leave(registry, &flood[i]);
	}
	/* What is left of it is no registry any more. */
	assert_ptr_equal(undecided_registry_victim(registry, &late), &patient[0]);
	for (size_t i = 500 - UNDECIDED_FEW; i < 500; i++)
		undecided_registry_leave(registry, &flood[i]);
	for (size_t i = 0; i < 3; i++)
		undecided_registry_leave(registry, &patient[i]);
	undecided_registry_leave(registry, &late);
}

/* A thousand sources with one each: a source with two is not worse for that. */
static void of_many_sources_whoever_has_waited_longest_goes(void **state)
{
	struct undecided_place many[1000] = { 0 }, two[2] = { 0 };

	for (uint64_t i = 0; i < 500; i++)
		undecided_registry_enter(registry, &many[i], 100 + i);
	undecided_registry_enter(registry, &two[0], 1);
	undecided_registry_enter(registry, &two[1], 1);
	for (uint64_t i = 500; i < 1000; i++)
		undecided_registry_enter(registry, &many[i], 100 + i);
	for (uint64_t i = 0; i < 500; i++) {
		assert_ptr_equal(undecided_registry_victim(registry, NULL), &many[i]);
		undecided_registry_leave(registry, &many[i]);
	}
	assert_ptr_equal(undecided_registry_victim(registry, NULL), &two[0]);
	undecided_registry_leave(registry, &two[0]);
	undecided_registry_leave(registry, &two[1]);
	for (uint64_t i = 500; i < 1000; i++)
		undecided_registry_leave(registry, &many[i]);
	assert_null(undecided_registry_victim(registry, NULL));
}

struct model {
	struct undecided_place place;
	uint64_t source, came;
	bool in;
};

static void check_victim(struct model *all, const size_t *counts)
{
	const struct undecided_place *victim = undecided_registry_victim(registry, NULL);
	const struct model *oldest = NULL, *chosen = NULL;
	size_t most = 0;

	for (size_t i = 0; i < SOURCES; i++)
		most = counts[i] > most ? counts[i] : most;
	for (size_t i = 0; i < PLACES; i++) {
		if (all[i].in && &all[i].place == victim)
			chosen = &all[i];
		if (all[i].in && (!oldest || all[i].came < oldest->came))
			oldest = &all[i];
	}
	if (most == 0) {
		assert_null(victim);
		return;
	}
	assert_non_null(chosen);
	if (most <= UNDECIDED_FEW) {
		assert_ptr_equal(chosen, oldest);
		return;
	}
	assert_int_equal(counts[chosen->source], most);
	for (size_t i = 0; i < PLACES; i++)
		assert_false(all[i].in && all[i].source == chosen->source && all[i].came < chosen->came);
}

static void as_a_model_that_looks_at_everybody(void **state)
{
	struct model *all = calloc(PLACES, sizeof(*all));
	size_t counts[SOURCES] = { 0 };

	assert_non_null(all);
	srandom(11);
	for (uint64_t step = 1; step < 40000; step++) {
		struct model *one = &all[(size_t)random() % PLACES];
		bool draining = step / 4000 % 2;
		if (one->in) {
			undecided_registry_leave(registry, &one->place);
			counts[one->source]--;
		} else if (!draining || random() % 8 == 0) {
			one->source = (size_t)random() % (random() % 2 ? SOURCES : 3); /* 0: it has none */
			one->came = step;
			undecided_registry_enter(registry, &one->place, one->source);
			counts[one->source]++;
		} else {
			continue;
		}
		one->in = !one->in;
		if (step % 16 == 0)
			check_victim(all, counts);
	}
	for (size_t i = 0; i < PLACES; i++)
		undecided_registry_leave(registry, &all[i].place);
	assert_null(undecided_registry_victim(registry, NULL));
	free(all);
}

static double seconds_for(size_t n)
{
	struct undecided_place *places = calloc(n, sizeof(*places)), late = { 0 };
	struct timespec begin, end;

	assert_non_null(places);
	for (size_t i = 0; i < n; i++)
		undecided_registry_enter(registry, &places[i], 1 + i % 100);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
	for (size_t i = 0; i < 100000; i++) {
		undecided_registry_enter(registry, &late, 7);
		undecided_registry_leave(registry, undecided_registry_victim(registry, &late));
		undecided_registry_leave(registry, &late);
		undecided_registry_leave(registry, &places[i % n]);
		undecided_registry_enter(registry, &places[i % n], 1 + i % 100);
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
	for (size_t i = 0; i < n; i++)
		undecided_registry_leave(registry, &places[i]);
	free(places);
	return (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
}

/* Not a hundred times as much where there are a hundred times as many; caches and a busy machine have their share. */
static void it_takes_no_longer_where_there_are_many(void **state)
{
	bool well = false;

	for (int i = 0; i < 5 && !well; i++)
		well = seconds_for(100000) < 20 * seconds_for(1000) + 0.05;
	assert_true(well);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nobody_is_there, setup, teardown),
		cmocka_unit_test_setup_teardown(the_source_with_most_loses_its_oldest, setup, teardown),
		cmocka_unit_test_setup_teardown(of_many_sources_whoever_has_waited_longest_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(as_a_model_that_looks_at_everybody, setup, teardown),
		cmocka_unit_test_setup_teardown(it_takes_no_longer_where_there_are_many, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
