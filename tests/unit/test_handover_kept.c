/* What the worker's side of a handover keeps until it is acknowledged, and to whom it goes when a receiver dies. */
#include "handover_raw.h"

static void what_is_not_acknowledged_is_kept(void **state)
{
	struct world *w = *state;
	struct job jobs[5];
	struct raw r;

	raw_meet(w, &r, jobs, 5);
	raw_hello(&r);
	for (uint64_t id = 1; id <= 5; id++)
		assert_comes(w, &r, id);
	run_ms(w, 100);
	assert_all_wait(jobs, 5);
	raw_acknowledge(&r, 1);
	job_await(w, &jobs[0]);
	assert_done(&jobs[0], 0);
	assert_all_wait(jobs + 1, 4);
	raw_acknowledge(&r, 4); /* one for three */
	await_all(w, jobs + 1, 3, 0);
	assert_waits(&jobs[4]);
	raw_acknowledge(&r, 5);
	await_all(w, jobs + 4, 1, 0);
	raw_close(&r);
}

static void what_a_dead_receiver_had_goes_to_the_next(void **state)
{
	struct world *w = *state;
	struct job jobs[6];
	struct raw r, next;

	raw_meet(w, &r, jobs, 6);
	raw_hello(&r);
	for (uint64_t id = 1; id <= 3; id++)
		assert_comes(w, &r, id);
	raw_acknowledge(&r, 2);
	raw_listen(w, &next);
	raw_close(&r); /* three was read, the others were not */
	raw_accept(w, &next);
	await_all(w, jobs, 2, 0);
	assert_all_wait(jobs + 2, 4);
	raw_hello(&next);
	for (uint64_t id = 3; id <= 6; id++) {
		assert_comes(w, &next, id);
		raw_acknowledge(&next, (uint8_t)(id - 2));
	}
	await_all(w, jobs + 2, 4, 0);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(jobs[i].request.n_sent, i < 2 ? 1 : 2);
	run_ms(w, 20);
	assert_int_equal(raw_read(&next), 0);
	raw_close(&next);
}

static void what_nobody_accepted_goes_to_the_next(void **state)
{
	struct world *w = *state;
	struct job jobs[4];
	struct raw r, next;

	raw_listen(w, &r);
	jobs_send(w, jobs, 4, 1);
	run_ms(w, 100);
	assert_all_wait(jobs, 4);
	raw_listen(w, &next);
	raw_close(&r);
	raw_accept(w, &next);
	raw_hello(&next);
	for (uint64_t id = 1; id <= 4; id++)
		assert_comes(w, &next, id);
	raw_acknowledge(&next, 4);
	await_all(w, jobs, 4, 0);
	raw_close(&next);
}

static void a_receiver_that_dies_without_a_next_fails_what_it_had(void **state)
{
	struct world *w = *state;
	struct job jobs[2];
	struct raw r;

	raw_meet(w, &r, jobs, 2);
	raw_hello(&r);
	assert_comes(w, &r, 1);
	raw_close(&r);
	await_all(w, jobs, 2, -ECONNREFUSED);
}

static void a_receiver_that_dies_again_and_again_is_given_up(void **state)
{
	struct world *w = *state;
	struct job jobs[2];
	struct raw r;

	raw_listen(w, &r);
	jobs_send(w, jobs, 2, 1);
	for (int i = 0; i < 2; i++) {
		raw_accept(w, &r);
		raw_hello(&r);
		assert_comes(w, &r, 1);
		raw_hang_up(&r);
	}
	job_await(w, &jobs[0]);
	assert_true(jobs[0].error == -EPIPE || jobs[0].error == -ECONNRESET);
	await_all(w, jobs, 2, jobs[0].error);
	raw_close(&r);
}

/* The kernel says that it died over what it had not read, once: here to who sends the next one. */
static void what_an_unknown_one_died_over_goes_to_the_next(void **state)
{
	struct world *w = *state;
	struct job jobs[2];
	struct raw r;

	raw_meet(w, &r, jobs, 1);
	raw_hang_up(&r);
	job_send(w, &jobs[1], 2);
	raw_accept(w, &r);
	raw_hello(&r);
	run_ms(w, 1);
	assert_comes(w, &r, 1);
	assert_comes(w, &r, 2);
	raw_acknowledge(&r, 2);
	await_all(w, jobs, 2, 0);
	raw_close(&r);
}

/* Its second attempt was its last, whatever becomes of the others. */
static void one_that_others_leave_alone_has_no_third_attempt(void **state)
{
	struct world *w = *state;
	struct job jobs[2];
	struct raw r;

	raw_meet(w, &r, jobs, 2);
	raw_hello(&r);
	run_ms(w, 1);
	assert_comes(w, &r, 1);
	assert_comes(w, &r, 2);
	raw_hang_up(&r);
	raw_accept(w, &r);
	run_ms(w, 498); /* one more is past since it was opened */
	assert_int_equal(jobs[0].request.n_sent, 1);
	run_ms(w, 1); /* it does not announce itself, and is tried with one */
	assert_int_equal(jobs[0].request.n_sent, 2);
	assert_int_equal(jobs[1].request.n_sent, 1);
	assert_true(handover_cancel(&jobs[1].request));
	raw_hang_up(&r);
	run_ms(w, 1);
	assert_int_equal(jobs[0].calls, 1);
	assert_true(jobs[0].error == -EPIPE || jobs[0].error == -ECONNRESET);
	assert_int_equal(accept(r.listener, NULL, NULL), -1);
	raw_close(&r);
}

static void more_than_may_be_kept_waits(void **state)
{
	struct world *w = *state;
	enum { N = HANDOVER_KEPT_MAX + 10 };
	struct job jobs[N];
	struct raw r;

	raw_meet(w, &r, jobs, N);
	raw_hello(&r);
	for (uint64_t id = 1; id <= HANDOVER_KEPT_MAX; id++)
		assert_comes(w, &r, id);
	run_ms(w, 20);
	assert_int_equal(raw_read(&r), 0);
	assert_null(w->loop.first_task);
	raw_acknowledge(&r, 1);
	assert_comes(w, &r, HANDOVER_KEPT_MAX + 1);
	run_ms(w, 20);
	assert_int_equal(raw_read(&r), 0);
	/* What is cancelled before it was sent makes no room; what was sent and is taken back does. */
	assert_true(handover_cancel(&jobs[N - 1].request));
	raw_acknowledge(&r, HANDOVER_KEPT_MAX + 1);
	for (uint64_t id = HANDOVER_KEPT_MAX + 2; id < N; id++)
		assert_comes(w, &r, id);
	raw_acknowledge(&r, N - 1);
	await_all(w, jobs, N - 1, 0);
	assert_int_equal(jobs[N - 1].calls, 0);
	raw_close(&r);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, world_setup_alone, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_not_acknowledged_is_kept),
		TEST(what_a_dead_receiver_had_goes_to_the_next),
		TEST(what_nobody_accepted_goes_to_the_next),
		TEST(a_receiver_that_dies_without_a_next_fails_what_it_had),
		TEST(a_receiver_that_dies_again_and_again_is_given_up),
		TEST(what_an_unknown_one_died_over_goes_to_the_next),
		TEST(one_that_others_leave_alone_has_no_third_attempt),
		TEST(more_than_may_be_kept_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
