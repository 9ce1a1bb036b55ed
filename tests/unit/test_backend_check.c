/* Results of checks and the health of a backend: what takes it down and up, and how that goes with what clients find. */
#include "backend_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SECOND_US 1000000ULL
#define WORKER    0
#define KEY       77

static struct backend_table *table;
static struct backend_check_rule rule;
static uint32_t place;
static uint64_t now_us;

static int setup(void **state)
{
	rule = (struct backend_check_rule){ .rise = 2, .fall = 3 };
	now_us = 1000 * SECOND_US;
	assert_int_equal(backend_table_new(&table, &(int){ -1 }), 0);
	place = backend_table_place(table, BACKEND_CHECKER, 1, KEY);
	assert_int_not_equal(place, BACKEND_NONE);
	return 0;
}

static int teardown(void **state)
{
	backend_table_free(table);
	return 0;
}

static enum backend_change note(enum check_result result)
{
	now_us += SECOND_US;
	return backend_check_note(table, place, &rule, check_word(result, 0), 1500, now_us);
}

static _Atomic uint64_t *health(void)
{
	return &backend_table_at(table, place)->health;
}

static enum backend_health look(void)
{
	return backend_health_look(health(), now_us);
}

static void first_passes(void)
{
	assert_int_equal(note(CHECK_PASSED), BACKEND_STAYS);
}

static void goes_down(void)
{
	first_passes();
	assert_int_equal(note(CHECK_SILENT), BACKEND_STAYS);
	assert_int_equal(note(CHECK_SILENT), BACKEND_STAYS);
	assert_int_equal(note(CHECK_SILENT), BACKEND_WENT_DOWN);
	assert_int_equal(look(), BACKEND_DOWN);
}

static void so_many_failures_in_a_row_take_it_down(void **state)
{
	first_passes();
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(note(i % 3 == 2 ? CHECK_PASSED : CHECK_SILENT), BACKEND_STAYS);
	assert_int_equal(look(), BACKEND_UP);
	note(CHECK_UNEXPECTED);
	assert_int_equal(note(CHECK_SILENT), BACKEND_WENT_DOWN);
	assert_int_equal(note(CHECK_SILENT), BACKEND_STAYS); /* told once */
}

static void so_many_passes_in_a_row_bring_it_back(void **state)
{
	goes_down();
	assert_int_equal(note(CHECK_PASSED), BACKEND_STAYS);
	assert_int_equal(note(CHECK_SILENT), BACKEND_STAYS);
	assert_int_equal(note(CHECK_PASSED), BACKEND_STAYS);
	assert_int_equal(look(), BACKEND_DOWN);
	assert_int_equal(note(CHECK_PASSED), BACKEND_CAME_UP);
	assert_int_equal(look(), BACKEND_UP);
	assert_int_equal(note(CHECK_PASSED), BACKEND_STAYS);
}

static void the_first_result_of_all_decides_alone(void **state)
{
	assert_int_equal(note(CHECK_SILENT), BACKEND_WENT_DOWN);
	assert_int_equal(note(CHECK_PASSED), BACKEND_STAYS);
	assert_int_equal(note(CHECK_PASSED), BACKEND_CAME_UP);
}

static void what_says_nothing_of_the_backend_changes_nothing(void **state)
{
	const struct backend_check *check = backend_table_check_look(table, place);

	assert_int_equal(note(CHECK_NONE), BACKEND_STAYS);
	assert_int_equal(check->total, 0);
	goes_down();
	assert_int_equal(note(CHECK_NONE), BACKEND_STAYS);
	assert_int_equal(check_word_result(check->result), CHECK_SILENT);
}

static void results_are_counted(void **state)
{
	const struct backend_check *check = backend_table_check_look(table, place);

	goes_down();
	assert_int_equal(check->total, 4);
	assert_int_equal(check->failed, 3);
	assert_int_equal(check->latency_us, 1500);
	assert_int_equal(check->at_us, now_us);
	assert_int_equal(check->down_us, now_us);
	assert_int_equal(backend_table_downs(table), 1);
}

static void no_client_brings_it_back_while_checks_fail(void **state)
{
	goes_down();
	assert_false(backend_health_worked(health(), now_us));
	assert_false(backend_health_try(health(), WORKER, now_us));
	for (unsigned i = 0; i < 100; i++) {
		now_us += 30 * SECOND_US;
		backend_health_check_renew(health(), now_us);
		assert_int_equal(look(), BACKEND_DOWN);
	}
}

static void clients_find_out_when_nobody_checks_any_more(void **state)
{
	goes_down();
	now_us += BACKEND_CHECKED_US - SECOND_US;
	assert_int_equal(look(), BACKEND_DOWN);
	now_us += SECOND_US;
	assert_int_equal(look(), BACKEND_DUE);
	assert_true(backend_health_try(health(), WORKER, now_us));
	assert_true(backend_health_worked(health(), now_us));
	assert_int_equal(look(), BACKEND_UP);
}

static void checks_that_pass_bring_back_what_clients_found_down(void **state)
{
	first_passes();
	note(CHECK_PASSED);
	assert_true(backend_health_failed(health(), WORKER, false, now_us));
	assert_int_equal(note(CHECK_PASSED), BACKEND_STAYS); /* those before it went down do not count */
	assert_int_equal(note(CHECK_PASSED), BACKEND_CAME_UP);
}

static void checks_of_another_port_do_not(void **state)
{
	rule.is_elsewhere = true;
	first_passes();
	assert_true(backend_health_failed(health(), WORKER, false, now_us));
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(note(CHECK_PASSED), BACKEND_STAYS);
	/* But they take back what they said themselves. */
	for (unsigned i = 0; i < 3; i++)
		note(CHECK_SILENT);
	assert_true(backend_health_is_checked(health()));
	note(CHECK_PASSED);
	assert_int_equal(note(CHECK_PASSED), BACKEND_CAME_UP);
}

static void what_clients_found_down_is_told_once(void **state)
{
	first_passes();
	assert_true(backend_health_failed(health(), WORKER, false, now_us));
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(note(CHECK_SILENT), BACKEND_STAYS);
	assert_true(backend_health_is_checked(health()));
}

static void the_operator_has_the_last_word_until_the_next_check(void **state)
{
	goes_down();
	backend_health_clear(health());
	assert_int_equal(look(), BACKEND_UP);
	assert_int_equal(note(CHECK_SILENT), BACKEND_WENT_DOWN);
}

static void one_that_is_back_knows_for_how_long(void **state)
{
	assert_true(backend_health_up_us(health(), now_us) == UINT64_MAX);
	goes_down();
	assert_true(backend_health_up_us(health(), now_us) == UINT64_MAX);
	note(CHECK_PASSED);
	note(CHECK_PASSED);
	now_us += 4 * SECOND_US;
	assert_int_equal(backend_health_up_us(health(), now_us), 4 * SECOND_US);
}

static void results_have_texts(void **state)
{
	char buf[CHECK_TEXT_MAX];

	assert_string_equal(check_word_text(check_word(CHECK_STATUS, 503), buf), "HTTP status 503");
	assert_string_equal(check_word_text(check_word(CHECK_ERROR, 111), buf), "Connection refused");
	assert_string_equal(check_word_text(check_word(CHECK_SILENT, 0), buf), "no answer in time");
	for (uint32_t word = 0; word < 1 << 20; word++)
		assert_true(check_word_text(word * 4099, buf)[0]);
}

int main(void)
{
#define UNIT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		UNIT(so_many_failures_in_a_row_take_it_down),
		UNIT(so_many_passes_in_a_row_bring_it_back),
		UNIT(the_first_result_of_all_decides_alone),
		UNIT(what_says_nothing_of_the_backend_changes_nothing),
		UNIT(results_are_counted),
		UNIT(no_client_brings_it_back_while_checks_fail),
		UNIT(clients_find_out_when_nobody_checks_any_more),
		UNIT(checks_that_pass_bring_back_what_clients_found_down),
		UNIT(checks_of_another_port_do_not),
		UNIT(what_clients_found_down_is_told_once),
		UNIT(the_operator_has_the_last_word_until_the_next_check),
		UNIT(one_that_is_back_knows_for_how_long),
		UNIT(results_have_texts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
