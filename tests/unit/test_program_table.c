/* Programs that run: their limits, and what happens to a service whose programs die at once. */
#include "program_table.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define SECOND      1000000ULL
#define EXIT(code)  ((code) << 8)
#define KILLED(sig) (sig)

static struct program_table *table;
static struct program_end ended;
static struct address here, there;
static const struct access none = { .program = true };

static int setup(void **state)
{
	table = program_table_new();
	address_parse(&here, "192.0.2.1:1");
	address_parse(&there, "192.0.2.2:1");
	return table ? 0 : -1;
}

static int teardown(void **state)
{
	program_table_free(table);
	return 0;
}

static void add(pid_t pid, const char *service, const struct address *client, uint64_t now_us)
{
	assert_int_equal(program_table_add(table, pid, service, client, 1, now_us), 0);
}

static void end(pid_t pid, int status, uint64_t now_us)
{
	assert_true(program_table_remove(table, pid, status, now_us, &ended));
}

static void so_many_of_a_service_and_of_a_source(void **state)
{
	const struct access access = { .program = true, .max_connections = 3, .per_source = 2 };

	add(1, "ssh", &here, 0);
	add(2, "ssh", &here, 0);
	add(3, "web", &here, 0);
	assert_string_equal(program_table_admit(table, "ssh", &access, &here, 0), "per_source");
	assert_null(program_table_admit(table, "ssh", &access, &there, 0));
	add(4, "ssh", &there, 0);
	assert_string_equal(program_table_admit(table, "ssh", &access, &there, 0), "max_connections");
	assert_null(program_table_admit(table, "web", &access, &here, 0));
	end(1, 0, 5 * SECOND);
	assert_null(program_table_admit(table, "ssh", &access, &there, 0));
	assert_int_equal(program_table_count(table), 3);
}

static void young_programs_are_limited_as_sshd_would(void **state)
{
	const struct access access = { .program = true, .max_startups = 4, .max_startups_per_source = 2 };

	add(1, "ssh", &here, 0);
	add(2, "ssh", &here, 10 * SECOND);
	assert_string_equal(
		program_table_admit(table, "ssh", &access, &here, 20 * SECOND), "max_startups_per_source");
	add(3, "ssh", &there, 20 * SECOND);
	add(4, "ssh", &there, 20 * SECOND);
	assert_string_equal(program_table_admit(table, "ssh", &access, &there, 20 * SECOND), "max_startups");
	assert_string_equal(program_table_admit(table, "ssh", &access, &here, 120 * SECOND - 1), "max_startups");
	assert_null(
		program_table_admit(table, "ssh", &access, &here, 120 * SECOND)); /* the first is logged in by now */
	end(4, EXIT(255), 121 * SECOND);
	assert_null(program_table_admit(table, "ssh", &access, &there, 121 * SECOND));
}

static void what_ended_is_told(void **state)
{
	add(77, "a-name-that-is-as-long-as-names-of-services-may-become-63-bytes", &here, SECOND);
	assert_false(program_table_remove(table, 78, 0, SECOND, &ended));
	end(77, 0, 3 * SECOND);
	assert_string_equal(ended.service, "a-name-that-is-as-long-as-names-of-services-may-become-63-bytes");
	assert_true(ended.lived_us == 2 * SECOND && ended.generation == 1 && ended.back_off_us == 0);
	assert_false(program_table_remove(table, 77, 0, SECOND, &ended));
}

/* A program that starts now and dies `status` at once. */
static void dies(const char *service, const struct address *client, int status, uint64_t now_us)
{
	add(99, service, client, now_us);
	end(99, status, now_us + 1000);
}

static void ten_deaths_at_once_are_enough(void **state)
{
	uint64_t now_us = 100 * SECOND, wait_us = SECOND;

	for (int i = 0; i < 9; i++) {
		dies("ssh", &here, EXIT(127), now_us);
		assert_null(program_table_admit(table, "ssh", &none, &here, now_us + 2000));
	}
	dies("ssh", &here, EXIT(127), now_us);
	assert_true(ended.back_off_us == SECOND && ended.back_off_first);
	assert_string_equal(program_table_admit(table, "ssh", &none, &there, now_us + 2000), "back-off");
	assert_null(program_table_admit(table, "web", &none, &here, now_us + 2000));

	/* Each further one for twice as long, up to half a minute, and nobody is told again. */
	for (int i = 0; i < 8; i++) {
		assert_string_equal(program_table_admit(table, "ssh", &none, &here, now_us + wait_us), "back-off");
		now_us += wait_us + 2000;
		assert_null(program_table_admit(table, "ssh", &none, &here, now_us));
		dies("ssh", &here, KILLED(SIGSEGV), now_us);
		wait_us = wait_us * 2 < 30 * SECOND ? wait_us * 2 : 30 * SECOND;
		assert_true(ended.back_off_us == wait_us && !ended.back_off_first);
	}

	now_us += wait_us + 2000;
	add(5, "ssh", &here, now_us);
	end(5, 0, now_us + 10);
	for (int i = 0; i < 9; i++)
		dies("ssh", &here, EXIT(126), now_us);
	assert_null(program_table_admit(table, "ssh", &none, &here, now_us + 2000));
}

static void a_client_that_makes_programs_fail_shuts_out_nobody(void **state)
{
	for (int i = 0; i < 20; i++)
		dies("ssh", &here, i % 2 ? EXIT(255) : KILLED(SIGPIPE), SECOND);
	assert_null(program_table_admit(table, "ssh", &none, &here, SECOND + 2000));
}

static void a_clock_that_is_behind_makes_nobody_old(void **state)
{
	const struct access access = { .program = true, .max_startups = 1 };

	add(1, "ssh", &here, 5 * SECOND);
	assert_string_equal(program_table_admit(table, "ssh", &access, &there, 4 * SECOND), "max_startups");
	end(1, EXIT(127), 4 * SECOND);
	assert_int_equal(ended.lived_us, 0);
}

static void who_lives_longer_or_ends_well_is_no_reason(void **state)
{
	for (int i = 0; i < 50; i++) {
		add(9, "ssh", &here, SECOND);
		end(9, EXIT(127), 2 * SECOND);
		dies("ssh", &here, 0, SECOND);
	}
	assert_null(program_table_admit(table, "ssh", &none, &here, 2 * SECOND));
}

static void many_services_are_remembered_up_to_a_bound(void **state)
{
	char name[16];

	for (uint32_t i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		for (int k = 0; k < 10; k++)
			dies(name, &here, EXIT(127), SECOND + i);
	}
	assert_string_equal(program_table_admit(table, name, &none, &here, SECOND + 6000), "back-off");
	assert_null(program_table_admit(table, "s0", &none, &here, SECOND + 6000));
}

static void ten_thousand_programs(void **state)
{
	const struct access access = { .program = true, .max_connections = 20000, .per_source = 20000 };
	struct timespec from, to;

	for (pid_t pid = 1; pid <= 10000; pid++)
		add(pid, pid % 2 ? "ssh" : "web", &here, SECOND);
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < 1000; i++)
		assert_null(program_table_admit(table, "ssh", &access, &here, SECOND));
	clock_gettime(CLOCK_MONOTONIC, &to);
	print_message("10,000 programs: %.1f us to admit one more\n",
		((double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3) / 1000);
	for (pid_t pid = 10000; pid >= 1; pid--)
		end(pid, 0, 2 * SECOND);
	assert_int_equal(program_table_count(table), 0);
}

#define TABLE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TABLE_TEST(so_many_of_a_service_and_of_a_source),
		TABLE_TEST(young_programs_are_limited_as_sshd_would),
		TABLE_TEST(what_ended_is_told),
		TABLE_TEST(ten_deaths_at_once_are_enough),
		TABLE_TEST(a_client_that_makes_programs_fail_shuts_out_nobody),
		TABLE_TEST(a_clock_that_is_behind_makes_nobody_old),
		TABLE_TEST(who_lives_longer_or_ends_well_is_no_reason),
		TABLE_TEST(many_services_are_remembered_up_to_a_bound),
		TABLE_TEST(ten_thousand_programs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
