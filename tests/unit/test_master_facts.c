/* What the master alone knows, written for the exporter: read as it was written, whatever is in the memory. */
#include "master_facts.h"
#include "snapshot.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
// after those above
#include <cmocka.h>

static struct master_facts facts;
static bool serves;

static void test_what_was_written_is_read(void **state)
{
	struct snapshot_worker serving[] = { { 11, true }, { 12, false } }, retiring[] = { { 13, true } };
	struct snapshot_generation generations[] = { { "serving", "f", serving, 2 },
		{ "retiring", "f", retiring, 1 } };
	const struct snapshot snapshot = { .pid = 10,
		.state = SNAPSHOT_ENDING,
		.since = 1,
		.reloading_since = 2,
		.ending_since = 3,
		.programs = 4,
		.descriptors = 5,
		.generations = generations,
		.n_generations = 2 };
	struct snapshot read;

	master_facts_write(&facts, &snapshot, true);
	assert_int_equal(facts.edition, 2);
	assert_int_equal(master_facts_read(&facts, "/file", &read, &serves), 0);
	assert_true(serves && read.pid == 10 && read.state == SNAPSHOT_ENDING && read.since == 1);
	assert_true(
		read.reloading_since == 2 && read.ending_since == 3 && read.programs == 4 && read.descriptors == 5);
	assert_int_equal(read.n_generations, 2);
	assert_string_equal(read.generations[0].state, "serving");
	assert_string_equal(read.generations[1].state, "retiring");
	assert_string_equal(read.generations[1].file, "/file");
	assert_int_equal(read.generations[0].n_workers, 2);
	assert_true(read.generations[0].workers[0].is_ready && !read.generations[0].workers[1].is_ready);
	assert_int_equal(read.generations[1].workers[0].pid, 13);
	snapshot_fini(&read);
}

static void test_what_does_not_fit_is_left_out(void **state)
{
	static struct snapshot_worker workers[FACTS_WORKERS];
	struct snapshot_generation generations[FACTS_GENERATIONS + 3];
	const struct snapshot snapshot = { .generations = generations, .n_generations = FACTS_GENERATIONS + 3 };
	struct snapshot read;

	for (size_t i = 0; i < FACTS_GENERATIONS + 3; i++)
		generations[i] =
			(struct snapshot_generation){ "retiring", "f", workers, i < 2 ? FACTS_WORKERS - 1 : 0 };
	master_facts_write(&facts, &snapshot, false);
	assert_int_equal(master_facts_read(&facts, "f", &read, &serves), 0);
	assert_false(serves);
	assert_int_equal(read.n_generations, FACTS_GENERATIONS);
	assert_int_equal(read.generations[0].n_workers, FACTS_WORKERS - 1);
	assert_int_equal(read.generations[1].n_workers, 1);
	snapshot_fini(&read);
}

static void test_numbers_that_lead_outside_are_not_believed(void **state)
{
	struct snapshot read;

	memset(&facts.content, 0xff, sizeof(facts.content));
	facts.content.serves = true;
	for (size_t i = 0; i < FACTS_WORKERS; i++)
		facts.content.workers[i].is_ready = true;
	facts.edition = 7; /* and it is never finished */
	assert_int_equal(master_facts_read(&facts, "f", &read, &serves), 0);
	assert_int_equal(read.state, SNAPSHOT_UNKNOWN);
	assert_int_equal(read.n_generations, FACTS_GENERATIONS);
	assert_int_equal(read.generations[0].n_workers, FACTS_WORKERS);
	assert_int_equal(read.generations[1].n_workers, 0);
	assert_string_equal(read.generations[0].state, "starting");
	snapshot_fini(&read);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_written_is_read),
		cmocka_unit_test(test_what_does_not_fit_is_left_out),
		cmocka_unit_test(test_numbers_that_lead_outside_are_not_believed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
