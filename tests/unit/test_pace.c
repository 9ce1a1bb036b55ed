/* Rates of bytes: a bucket, the table that workers share, and directions that wait for theirs. The clock is the test's. */
#include "pace.h"
#include "turn.h"

#define RATE 1000000 /* bytes a second */

static const struct byte_rate rate = { RATE, RATE / 10 };
static const struct byte_rate none;
static struct pace_table table;
static struct pace_line line;
static struct loop loop;

struct end {
	struct pace pace;
	struct task wake;
	unsigned woken;
	size_t takes; /* at each wake */
	uint64_t moved;
};

static void end_moves(struct end *end)
{
	size_t n = pace_room(&end->pace, end->takes);

	pace_moved(&end->pace, n);
	pace_rest(&end->pace);
	end->moved += n;
}

static void end_woken(struct task *task)
{
	struct end *end = container_of(task, struct end, wake);

	end->woken++;
	end_moves(end);
	if (!pace_is_waiting(&end->pace)) /* until it waits again */
		loop_defer(&loop, task);
}

static void end_begin(struct end *end, struct byte_rate own, struct pace_line *shared)
{
	*end = (struct end){ .wake = { .run = end_woken }, .takes = 65536 };
	pace_init(&end->pace, &loop, &end->wake, own, shared);
}

static int set_up(void **state)
{
	memset(&table, 0, sizeof(table));
	assert_int_equal(loop_init(&loop), 0);
	loop.now_us = clock_us;
	pace_line_init(&line, &loop, &table, pace_table_key("web", 0, &rate), rate);
	return 0;
}

static int tear_down(void **state)
{
	assert_null(line.waiting.first);
	assert_false(timer_is_running(&line.timer));
	loop_fini(&loop);
	return 0;
}

/* ---- a bucket ---- */

static void a_bucket_has_its_burst_and_fills_with_its_rate(void **state)
{
	uint64_t full_ns = 0, now_us = 5000000;

	assert_int_equal(byte_bucket_room(full_ns, &rate, now_us), rate.burst);
	full_ns = byte_bucket_taken(full_ns, &rate, rate.burst, now_us);
	assert_int_equal(byte_bucket_room(full_ns, &rate, now_us), 0);
	assert_int_equal(byte_bucket_room(full_ns, &rate, now_us + 1000), RATE / 1000);
	assert_int_equal(byte_bucket_room(full_ns, &rate, now_us + 200000), rate.burst);
	assert_in_range(byte_bucket_due_us(full_ns, &rate, 25000, now_us), now_us + 25000, now_us + 25001);
	assert_int_equal(byte_bucket_due_us(full_ns, &rate, 25000, now_us + 30000), now_us + 30000);
}

static void the_slowest_and_the_fastest_rate_leave_no_number(void **state)
{
	const struct byte_rate slow = { 1000, BYTE_BURST_LEAST }, fast = { BYTE_RATE_MOST, BYTE_RATE_MOST / 10 };
	const uint64_t now_us = UINT64_C(10) * 365 * 86400 * 1000000;

	uint64_t full_ns = byte_bucket_taken(0, &slow, slow.burst, now_us);
	assert_int_equal(byte_bucket_room(full_ns, &slow, now_us + 1000000), 1000);
	full_ns = byte_bucket_taken(0, &fast, fast.burst, now_us);
	assert_int_equal(byte_bucket_room(full_ns, &fast, now_us), 0);
	assert_int_equal(byte_bucket_room(full_ns, &fast, now_us + 50000), fast.burst / 2);
}

static void a_moment_that_no_bucket_of_the_rate_has_counts_as_full(void **state)
{
	uint64_t now_us = 5000000;

	assert_int_equal(byte_bucket_room(UINT64_MAX, &rate, now_us), rate.burst);
	uint64_t full_ns = byte_bucket_taken(UINT64_MAX, &rate, rate.burst, now_us);
	assert_int_equal(byte_bucket_room(full_ns, &rate, now_us), 0);
	assert_int_equal(byte_bucket_room(full_ns, &rate, now_us + 100000), rate.burst);
}

/* ---- the table ---- */

static void workers_share_a_bucket_by_the_name_and_the_rate_of_its_service(void **state)
{
	uint64_t key = pace_table_key("web", 0, &rate), other = pace_table_key("web", 1, &rate), now_us = 5000000;

	assert_int_not_equal(key, other);
	assert_int_not_equal(key, pace_table_key("web", 0, &(struct byte_rate){ RATE + 1, RATE / 10 }));
	assert_int_equal(pace_table_take(&table, key, &rate, 1, 60000, now_us), 60000);
	assert_int_equal(pace_table_take(&table, key, &rate, 1, 60000, now_us), 40000);
	assert_int_equal(pace_table_take(&table, key, &rate, 1, 60000, now_us), 0);
	assert_int_equal(pace_table_take(&table, other, &rate, 1, 60000, now_us), 60000);
	pace_table_give_back(&table, key, &rate, 30000);
	assert_int_equal(pace_table_take(&table, key, &rate, 30001, 60000, now_us), 0);
	assert_int_equal(pace_table_take(&table, key, &rate, 30000, 60000, now_us), 30000);
}

static void a_full_bucket_makes_room_for_another(void **state)
{
	uint64_t now_us = 5000000;
	unsigned held = 0;

	/* Neighbours of one another: no more of them have a bucket than are looked at. */
	for (uint64_t key = 7; key < 7 + 100 * PACE_PLACES; key += PACE_PLACES)
		held += pace_table_take(&table, key, &rate, 1, rate.burst, now_us) == rate.burst &&
			pace_table_take(&table, key, &rate, 1, rate.burst, now_us) == 0;
	assert_int_equal(held, 32);
	now_us += 200000;
	assert_int_equal(pace_table_take(&table, 7 + 99 * PACE_PLACES, &rate, 1, rate.burst, now_us), rate.burst);
	assert_int_equal(pace_table_take(&table, 7 + 99 * PACE_PLACES, &rate, 1, rate.burst, now_us), 0);
}

/* ---- one direction ---- */

static void a_direction_without_limits_never_waits(void **state)
{
	struct end end;

	end_begin(&end, none, NULL);
	for (unsigned i = 0; i < 100; i++)
		end_moves(&end);
	assert_int_equal(end.moved, 100 * 65536);
	pace_leave(&end.pace);
}

static void it_waits_for_a_quarter_of_its_burst_by_a_timer(void **state)
{
	struct end end;

	end_begin(&end, rate, NULL);
	end_moves(&end);
	end_moves(&end);
	assert_int_equal(end.moved, rate.burst);
	assert_false(pace_is_waiting(&end.pace));
	end_moves(&end);
	assert_int_equal(end.moved, rate.burst);
	assert_true(pace_is_waiting(&end.pace));
	turn_after(&loop, 24999);
	assert_int_equal(end.woken, 0);
	turn_after(&loop, 2);
	assert_in_range(end.woken, 1, 2);
	assert_in_range(end.moved, rate.burst + 25000, rate.burst + 25002);
	pace_leave(&end.pace);
	assert_false(timer_is_running(&end.pace.rest));
}

static void in_ten_seconds_it_moves_what_the_rate_says_and_is_woken_forty_times_a_second(void **state)
{
	struct end end;

	end_begin(&end, rate, NULL);
	loop_defer(&loop, &end.wake);
	for (unsigned i = 0; i < 10000; i++)
		turn_after(&loop, 1000);
	assert_in_range(end.moved, 10 * RATE, 10 * RATE + rate.burst);
	assert_in_range(end.woken, 300, 900);
	pace_leave(&end.pace);
	loop_cancel(&loop, &end.wake);
}

/* ---- many that share ---- */

static void those_who_share_get_equal_shares_in_turn(void **state)
{
	struct end ends[5];
	uint64_t sum = 0;

	for (unsigned i = 0; i < 5; i++) {
		end_begin(&ends[i], none, &line);
		loop_defer(&loop, &ends[i].wake);
	}
	for (unsigned i = 0; i < 10000; i++)
		turn_after(&loop, 1000);
	for (unsigned i = 0; i < 5; i++) {
		sum += ends[i].moved;
		assert_in_range(ends[i].moved, 2 * RATE * 9 / 10, 2 * RATE * 11 / 10);
		pace_leave(&ends[i].pace);
		loop_cancel(&loop, &ends[i].wake);
	}
	assert_in_range(sum, 10 * RATE - rate.burst, 10 * RATE + rate.burst);
}

static void a_thousand_that_wait_cost_one_timer(void **state)
{
	static struct end ends[1000];
	unsigned woken = 0;

	for (unsigned i = 0; i < 1000; i++) {
		end_begin(&ends[i], none, &line);
		loop_defer(&loop, &ends[i].wake);
	}
	turn(&loop);
	turn(&loop);
	assert_int_equal(loop.timers.count, 1);
	for (unsigned i = 0; i < 1000; i++)
		ends[i].woken = 0;
	for (unsigned i = 0; i < 100; i++)
		turn_after(&loop, 10000);
	for (unsigned i = 0; i < 1000; i++) {
		woken += ends[i].woken;
		pace_leave(&ends[i].pace);
		loop_cancel(&loop, &ends[i].wake);
	}
	assert_in_range(
		woken, 100, 400); /* a second's bytes in slices of a sixteenth of the burst, each wakes one twice */
}

static void what_is_not_used_of_a_slice_goes_to_others(void **state)
{
	struct end greedy, modest;

	end_begin(&greedy, none, &line);
	end_begin(&modest, none, &line);
	modest.takes = 100;
	for (unsigned i = 0; i < 4; i++)
		end_moves(&greedy);
	assert_true(pace_is_waiting(&greedy.pace));
	end_moves(&modest);
	assert_true(pace_is_waiting(&modest.pace));
	for (unsigned i = 0; i < 1000 && pace_is_waiting(&modest.pace); i++)
		turn_after(&loop, 1000);
	assert_int_equal(modest.pace.granted, 0);
	assert_true(modest.moved > 0);
	pace_leave(&greedy.pace);
	pace_leave(&modest.pace);
	loop_cancel(&loop, &greedy.wake);
	loop_cancel(&loop, &modest.wake);
	turn_after(&loop, 200000);
	assert_int_equal(pace_table_take(&table, line.key, &rate, 1, 1000000, clock_us), rate.burst);
}

static void both_limits_hold(void **state)
{
	struct end slow, fast;

	end_begin(&slow, (struct byte_rate){ RATE / 10, RATE / 100 }, &line);
	end_begin(&fast, none, &line);
	loop_defer(&loop, &slow.wake);
	loop_defer(&loop, &fast.wake);
	for (unsigned i = 0; i < 10000; i++)
		turn_after(&loop, 1000);
	assert_in_range(slow.moved, RATE * 7 / 10, RATE + RATE / 100);
	assert_in_range(slow.moved + fast.moved, 10 * RATE - rate.burst, 10 * RATE + rate.burst);
	pace_leave(&slow.pace);
	pace_leave(&fast.pace);
	loop_cancel(&loop, &slow.wake);
	loop_cancel(&loop, &fast.wake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bucket_has_its_burst_and_fills_with_its_rate),
		cmocka_unit_test(the_slowest_and_the_fastest_rate_leave_no_number),
		cmocka_unit_test(a_moment_that_no_bucket_of_the_rate_has_counts_as_full),
		cmocka_unit_test_setup(workers_share_a_bucket_by_the_name_and_the_rate_of_its_service, set_up),
		cmocka_unit_test_setup(a_full_bucket_makes_room_for_another, set_up),
		cmocka_unit_test_setup_teardown(a_direction_without_limits_never_waits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(it_waits_for_a_quarter_of_its_burst_by_a_timer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			in_ten_seconds_it_moves_what_the_rate_says_and_is_woken_forty_times_a_second, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(those_who_share_get_equal_shares_in_turn, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_thousand_that_wait_cost_one_timer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_not_used_of_a_slice_goes_to_others, set_up, tear_down),
		cmocka_unit_test_setup_teardown(both_limits_hold, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
