/* Names that are asked for anew: within a rate, and only as long as an answer may come. */
#include "lookup.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#define SECOND 1000000u

static const char *const names[] = { "one.test", "two.test" };
static unsigned asked[2];
static int refusal;

static int ask(void *context, uint32_t name)
{
	asked[name]++;
	return refusal;
}

struct play {
	struct resolved *table;
	struct lookup *lookup;
};

static const struct lookup_calls calls = { .ask = ask };

static void play_start(struct play *play)
{
	asked[0] = asked[1] = 0;
	refusal = 0;
	assert_int_equal(resolved_new(&play->table, names, 2), 0);
	play->lookup = lookup_new(play->table, &calls, NULL);
	assert_non_null(play->lookup);
}

static void play_end(struct play *play)
{
	lookup_free(play->lookup);
	resolved_free(play->table);
}

static void each_name_is_asked_for_once_a_second(void **state)
{
	struct play play;

	play_start(&play);
	for (uint64_t now_us = SECOND; now_us < 4 * SECOND; now_us += 1000) {
		lookup_ask(play.lookup, 0, now_us);
		resolved_end(play.table, 0, false);
	}
	assert_int_equal(asked[0], 3);
	assert_int_equal(asked[1], 0);
	lookup_ask(play.lookup, 1, 4 * SECOND - 1000);
	assert_int_equal(asked[1], 1);
	play_end(&play);
}

static void the_first_question_may_be_early(void **state)
{
	struct play play;

	play_start(&play);
	lookup_ask(play.lookup, 0, 1);
	assert_int_equal(asked[0], 1);
	lookup_ask(play.lookup, 0, 2);
	assert_int_equal(asked[0], 1);
	play_end(&play);
}

static void an_answer_is_awaited_until_the_question_has_ended(void **state)
{
	struct play play;

	play_start(&play);
	assert_false(lookup_is_awaited(play.lookup, 0, SECOND));
	lookup_ask(play.lookup, 0, SECOND);
	assert_true(lookup_is_awaited(play.lookup, 0, SECOND + 1));
	assert_false(lookup_is_awaited(play.lookup, 1, SECOND + 1));
	assert_true(lookup_is_awaited(play.lookup, 0, 2 * SECOND - 1));
	resolved_end(play.table, 1, false);
	assert_true(lookup_is_awaited(play.lookup, 0, 2 * SECOND - 1));
	resolved_end(play.table, 0, false);
	assert_false(lookup_is_awaited(play.lookup, 0, 2 * SECOND - 1));
	play_end(&play);
}

static void name_servers_that_do_not_answer_are_waited_for_once(void **state)
{
	struct play play;

	play_start(&play);
	lookup_ask(play.lookup, 0, SECOND);
	assert_true(lookup_is_awaited(play.lookup, 0, 2 * SECOND - 1));
	assert_false(lookup_is_awaited(play.lookup, 0, 2 * SECOND));
	for (unsigned i = 2; i < 10; i++) {
		lookup_ask(play.lookup, 0, i * SECOND);
		assert_false(lookup_is_awaited(play.lookup, 0, i * SECOND));
	}
	assert_int_equal(asked[0], 9); /* asked for all the same */
	resolved_end(play.table, 0, false);
	lookup_ask(play.lookup, 0, 10 * SECOND);
	assert_true(lookup_is_awaited(play.lookup, 0, 10 * SECOND));
	play_end(&play);
}

static void a_name_that_fails_is_not_waited_for(void **state)
{
	struct play play;

	play_start(&play);
	resolved_end(play.table, 0, true);
	lookup_ask(play.lookup, 0, SECOND);
	assert_int_equal(asked[0], 1);
	assert_false(lookup_is_awaited(play.lookup, 0, SECOND));
	refusal = -EAGAIN; /* nobody heard the question */
	lookup_ask(play.lookup, 1, SECOND);
	assert_false(lookup_is_awaited(play.lookup, 1, SECOND));
	play_end(&play);
}

static void an_answer_is_fresh_for_a_second(void **state)
{
	struct resolved_address address = { .weight = 1 };
	struct play play;

	play_start(&play);
	assert_false(lookup_is_fresh(play.lookup, 0));
	assert_int_equal(address_parse(&address.address, "192.0.2.1:1"), 0);
	uint32_t before = lookup_version(play.lookup, 0);
	resolved_write(play.table, 0, &address, 1);
	assert_true(lookup_version(play.lookup, 0) != before);
	assert_true(lookup_is_fresh(play.lookup, 0));
	assert_false(lookup_is_fresh(play.lookup, 1));
	play_end(&play);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_name_is_asked_for_once_a_second),
		cmocka_unit_test(the_first_question_may_be_early),
		cmocka_unit_test(an_answer_is_awaited_until_the_question_has_ended),
		cmocka_unit_test(name_servers_that_do_not_answer_are_waited_for_once),
		cmocka_unit_test(a_name_that_fails_is_not_waited_for),
		cmocka_unit_test(an_answer_is_fresh_for_a_second),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
