/* A dial to names: their addresses, answers that are waited for or come meanwhile, names that are asked for each time. */
#include "dial_world.h"

/* ---- names --------------------------------------------------------------------------------------------------------------- */

static void the_addresses_of_a_name_are_tried_in_order(void **state)
{
	answer(0, "192.0.2.1:1", "192.0.2.2:1");
	SCRIPT(&connects, -ECONNREFUSED);
	add_name(0);
	add_address("192.0.2.9:80");
	start();
	assert_tried(2, "192.0.2.2:80");
	assert_int_equal(asked[0], 0);
	/* The second address and the other backend share what is left. */
	socket_error = ECONNREFUSED;
	dial_ready(&dial, EPOLLERR);
	assert_tried(3, "192.0.2.9:80");
	assert_int_equal(asked[0], 1); /* none of its addresses takes the connection */
	assert_int_equal(asked[1], 0);
}

static void addresses_of_names_count_for_the_shares(void **state)
{
	answer(0, "192.0.2.1:1", "192.0.2.2:1");
	answer(1, "192.0.2.3:1", "192.0.2.4:1");
	add_name(0);
	add_name(1);
	start();
	assert_int_equal(dial.share_due_us, clock_us + DUE_US / 4);
	turn_after(&loop, DUE_US / 4);
	assert_tried(2, "192.0.2.2:80");
	assert_int_equal(dial.share_due_us, clock_us + DUE_US / 4);
}

static void a_name_without_an_answer_is_waited_for(void **state)
{
	add_name(0);
	start();
	assert_int_equal(n_tried, 0);
	assert_int_equal(asked[0], 1);
	turn_after(&loop, 20 * MILLI_US - 1);
	answer(0, "192.0.2.1:1", NULL);
	turn(&loop);
	assert_int_equal(n_tried, 0);
	turn_after(&loop, 1);
	assert_tried(1, "192.0.2.1:80");
	assert_under_way();
}

static void a_name_without_an_answer_does_not_keep_others_waiting(void **state)
{
	SCRIPT(&connects, 0);
	add_name(0);
	add_address("192.0.2.1:80");
	start();
	assert_connected(EPOLLOUT);
	assert_int_equal(dial.backend, 1);
}

static void where_all_fail_a_new_answer_is_awaited(void **state)
{
	uint64_t pause = MILLI_US;

	SCRIPT(&connects, -ECONNREFUSED, 0);
	answer(0, "192.0.2.1:1", NULL);
	add_name(0);
	start();
	assert_int_equal(asked[0], 1);
	for (uint64_t waited = 0; waited < SECOND_US / 2;
		waited += pause, pause = pause * 2 < 20 * MILLI_US ? pause * 2 : 20 * MILLI_US) {
		assert_int_equal(loop.timers.heap[1]->due_us, clock_us + pause); /* less often the longer it takes */
		turn_after(&loop, pause);
		assert_int_equal(n_tried, 1);
		assert_under_way();
	}
	answer(0, "192.0.2.2:1", NULL);
	turn_after(&loop, pause);
	assert_tried(2, "192.0.2.2:80");
	assert_connected(EPOLLOUT);
}

static void an_answer_that_brings_no_news_ends_the_wait(void **state)
{
	SCRIPT(&connects, -ECONNREFUSED);
	answer(0, "192.0.2.1:1", NULL);
	add_name(0);
	start();
	assert_under_way();
	resolved_end(table, 0, false);
	turn_after(&loop, MILLI_US);
	assert_failed(-ECONNREFUSED);
}

static void an_answer_is_awaited_for_a_second(void **state)
{
	SCRIPT(&connects, -ECONNREFUSED);
	answer(0, "192.0.2.1:1", NULL);
	add_name(0);
	start();
	turn_after(&loop, SECOND_US - 1);
	assert_under_way();
	turn_after(&loop, 20 * MILLI_US);
	assert_failed(-ECONNREFUSED);
}

static void addresses_alone_bring_no_news(void **state)
{
	SCRIPT(&connects, -ECONNREFUSED, -ECONNREFUSED);
	answer(0, "192.0.2.1:1", NULL);
	add_name(0);
	start();
	assert_under_way();
	dial_cancel(&dial);
	forget_backends();
	add_address("192.0.2.1:80");
	start();
	assert_failed(-ECONNREFUSED);
}

static void an_answer_that_came_meanwhile_is_tried_at_once(void **state)
{
	answer(1, "192.0.2.1:1", NULL);
	add_name(1);
	start();
	answer(1, "192.0.2.2:1", NULL);
	socket_error = ECONNREFUSED;
	dial_ready(&dial, EPOLLERR);
	assert_int_equal(n_tried, 1);
	turn_after(&loop, MILLI_US - 1);
	assert_int_equal(n_tried, 1);
	turn_after(&loop, 1);
	assert_tried(2, "192.0.2.2:80");
}

static void a_wait_for_news_without_memory_ends(void **state)
{
	SCRIPT(&connects, -ECONNREFUSED);
	SCRIPT(&reallocs, -1);
	answer(0, "192.0.2.1:1", NULL);
	add_name(0);
	start();
	assert_failed(-ECONNREFUSED);
}

/* ---- an address where nobody is any more --------------------------------------------------------------------------------- */

static void a_name_that_does_not_answer_is_asked_for_after_a_second(void **state)
{
	answer(0, "192.0.2.1:1", NULL);
	add_name(0);
	start();
	turn_after(&loop, SECOND_US - 1);
	assert_int_equal(asked[0], 0);
	turn_after(&loop, 1);
	assert_int_equal(asked[0], 1);
	turn_after(&loop, SECOND_US);
	assert_int_equal(asked[0], 2);
	assert_int_equal(n_tried, 1);
	resolved_end(table, 0, false);
	for (int i = 0; i < 7; i++)
		turn_after(&loop, SECOND_US);
	assert_under_way();
	turn_after(&loop, SECOND_US - 1);
	assert_under_way();
	turn_after(&loop, 1);
	assert_int_equal(asked[0], 10); /* behind its last address, once more: that answer is awaited */
	assert_int_equal(watched.fd, -1);
	resolved_end(table, 0, false);
	turn_after(&loop, MILLI_US);
	assert_failed(-ETIMEDOUT);
}

static void an_address_that_is_not_the_names_any_more_is_given_up(void **state)
{
	answer(0, "192.0.2.1:1", NULL);
	add_name(0);
	start();
	turn_after(&loop, SECOND_US);
	answer(0, "192.0.2.2:1", "192.0.2.3:1");
	turn_after(&loop, SECOND_US);
	assert_tried(2, "192.0.2.2:80");
	assert_under_way();
	/* It has half of what is left of the time, and the second one is not asked for yet. */
	assert_int_equal(dial.share_due_us, clock_us + 4 * SECOND_US);
	assert_int_equal(loop.timers.heap[1]->due_us, clock_us + 4 * SECOND_US);
}

static void an_address_that_still_is_the_names_is_not_given_up(void **state)
{
	answer(0, "192.0.2.1:1", NULL);
	add_name(0);
	start();
	turn_after(&loop, SECOND_US);
	answer(0, "192.0.2.2:1", "192.0.2.1:1");
	turn_after(&loop, SECOND_US);
	assert_int_equal(n_tried, 1);
}

static void a_plain_address_has_no_answer_to_look_for(void **state)
{
	add_address("192.0.2.1:80");
	start();
	assert_int_equal(loop.timers.heap[1]->due_us, clock_us + DUE_US);
}

static void a_share_of_a_second_is_not_interrupted(void **state)
{
	dial.due_us = clock_us + SECOND_US;
	answer(0, "192.0.2.1:1", NULL);
	add_name(0);
	start();
	turn_after(&loop, SECOND_US);
	assert_int_equal(asked[0], 1); /* because all have failed */
	assert_int_equal(watched.fd, -1);
}

/* ---- asked for each time ------------------------------------------------------------------------------------------------- */

static void a_name_can_be_asked_for_first(void **state)
{
	answer(0, "192.0.2.1:1", NULL);
	clock_us += SECOND_US;
	dial.due_us += SECOND_US;
	dial.fresh = true;
	add_name(0);
	start();
	assert_int_equal(asked[0], 1);
	assert_int_equal(n_tried, 0);
	turn_after(&loop, MILLI_US);
	turn_after(&loop, 2 * MILLI_US - 1);
	assert_int_equal(n_tried, 0);
	answer(0, "192.0.2.2:1", NULL);
	turn_after(&loop, 1);
	assert_tried(1, "192.0.2.2:80");
	assert_int_equal(asked[0], 1);
}

static void an_answer_that_is_fresh_needs_no_question(void **state)
{
	answer(0, "192.0.2.1:1", NULL);
	clock_us += SECOND_US - MILLI_US;
	dial.fresh = true;
	add_name(0);
	start();
	assert_tried(1, "192.0.2.1:80");
	assert_int_equal(asked[0], 0);
}

static void a_name_that_was_never_answered_is_not_fresh(void **state)
{
	uint64_t before_us = clock_us;

	clock_us = SECOND_US / 2; /* the machine has just been started */
	assert_false(lookup_is_fresh(lookup, 0));
	clock_us = before_us;
}

static void a_name_that_is_not_answered_is_tried_as_it_was(void **state)
{
	answer(0, "192.0.2.1:1", NULL);
	clock_us += 10 * SECOND_US;
	dial.due_us += 10 * SECOND_US;
	dial.fresh = true;
	add_name(0);
	start();
	for (int i = 0; i < 100 && n_tried == 0; i++)
		turn_after(&loop, 20 * MILLI_US);
	assert_tried(1, "192.0.2.1:80");
	assert_int_equal(asked[0], 1);
}

static void each_name_is_asked_for_when_it_has_its_turn(void **state)
{
	answer(0, "192.0.2.1:1", "192.0.2.2:1");
	answer(1, "192.0.2.3:1", NULL);
	clock_us += SECOND_US;
	dial.due_us += SECOND_US;
	dial.fresh = true;
	add_name(0);
	add_name(1);
	start();
	assert_int_equal(asked[1], 0);
	resolved_end(table, 0, false);
	turn_after(&loop, MILLI_US);
	assert_tried(1, "192.0.2.1:80");
	socket_error = ECONNREFUSED;
	dial_ready(&dial, EPOLLERR);
	assert_tried(2, "192.0.2.2:80"); /* not for each address */
	dial_ready(&dial, EPOLLERR);
	assert_int_equal(asked[1], 1);
	assert_int_equal(n_tried, 2);
	resolved_end(table, 1, false);
	turn_after(&loop, 20 * MILLI_US);
	assert_tried(3, "192.0.2.3:80");
}

static void addresses_are_not_asked_for(void **state)
{
	dial.fresh = true;
	add_address("192.0.2.1:80");
	start();
	assert_tried(1, "192.0.2.1:80");
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(the_addresses_of_a_name_are_tried_in_order),
		UNIT(addresses_of_names_count_for_the_shares),
		UNIT(a_name_without_an_answer_is_waited_for),
		UNIT(a_name_without_an_answer_does_not_keep_others_waiting),
		UNIT(where_all_fail_a_new_answer_is_awaited),
		UNIT(an_answer_that_brings_no_news_ends_the_wait),
		UNIT(an_answer_is_awaited_for_a_second),
		UNIT(addresses_alone_bring_no_news),
		UNIT(an_answer_that_came_meanwhile_is_tried_at_once),
		UNIT(a_wait_for_news_without_memory_ends),
		UNIT(a_name_that_does_not_answer_is_asked_for_after_a_second),
		UNIT(an_address_that_is_not_the_names_any_more_is_given_up),
		UNIT(an_address_that_still_is_the_names_is_not_given_up),
		UNIT(a_plain_address_has_no_answer_to_look_for),
		UNIT(a_share_of_a_second_is_not_interrupted),
		UNIT(a_name_can_be_asked_for_first),
		UNIT(an_answer_that_is_fresh_needs_no_question),
		UNIT(a_name_that_was_never_answered_is_not_fresh),
		UNIT(a_name_that_is_not_answered_is_tried_as_it_was),
		UNIT(each_name_is_asked_for_when_it_has_its_turn),
		UNIT(addresses_are_not_asked_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
