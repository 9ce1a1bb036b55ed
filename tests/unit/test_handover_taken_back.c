/* What the worker's side of a handover takes back from a receiver that has it already. */
#include "handover_raw.h"
#include <sys/syscall.h>

/* Stands behind the recvmsg() of usher's side: what the receiver does in the moment after it. */
static struct raw *acknowledging;
static size_t acknowledging_after;
static uint8_t acknowledging_number = 1;
static ssize_t acknowledged;

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	ssize_t n = syscall(SYS_recvmsg, fd, message, flags);

	if (acknowledging && acknowledging_after-- == 0) {
		int error = errno;

		acknowledged = raw_acknowledge_now(acknowledging, acknowledging_number);
		acknowledging = NULL;
		errno = error;
	}
	return n;
}

static void what_is_taken_back_cannot_be_acknowledged(void **state)
{
	struct world *w = *state;
	struct job jobs[4];
	struct raw r, next;

	raw_meet(w, &r, jobs, 4);
	raw_hello(&r);
	run_ms(w, 1);
	raw_acknowledge(&r, 1); /* not heard yet */
	assert_true(handover_cancel(&jobs[1].request));
	assert_done(&jobs[0], 0);
	for (uint64_t id = 1; id <= 4; id++)
		assert_int_equal(raw_read(&r), id);
	assert_int_equal(send(r.channel, "USHR", 4, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	/* The others come again, on another channel. */
	next.listener = r.listener;
	raw_accept(w, &next);
	raw_hello(&next);
	assert_comes(w, &next, 3);
	assert_comes(w, &next, 4);
	raw_acknowledge(&next, 2);
	await_all(w, jobs + 2, 2, 0);
	assert_int_equal(jobs[1].calls, 0);
	raw_hang_up(&r);
	raw_close(&next);
}

static void what_was_acknowledged_cannot_be_taken_back(void **state)
{
	struct world *w = *state;
	struct job jobs[2];
	struct raw r;

	raw_meet(w, &r, jobs, 2);
	raw_hello(&r);
	raw_acknowledge(&r, 1);
	assert_false(handover_cancel(&jobs[0].request)); /* nothing was heard until now */
	assert_int_equal(jobs[0].calls, 0);
	assert_waits(&jobs[1]);
	raw_acknowledge(&r, 2); /* and the channel is as it was */
	await_all(w, jobs + 1, 1, 0);
	raw_close(&r);
}

/* Between the last look at what it has said and the end of its channel there is no moment for an acknowledgement. */
static void an_acknowledgement_in_the_last_moment_is_heard_or_fails(void **state)
{
	struct world *w = *state;

	for (size_t when = 0; when < 2; when++) {
		struct job job;
		struct raw r;

		raw_meet(w, &r, &job, 1);
		raw_hello(&r);
		run_ms(w, 1);
		acknowledging = &r;
		acknowledging_after = when;
		acknowledged = 0;
		bool mine = handover_cancel(&job.request);
		assert_int_equal(job.calls, 0);
		assert_null(acknowledging); /* it was tried */
		assert_int_equal(acknowledged, mine ? -1 : 16);
		assert_int_equal(mine, when > 0);
		raw_close(&r);
		run_ms(w, 1);
		world_handover(w, HANDOVER_USHER);
	}
}

static void what_is_sent_meanwhile_does_not_go_out_on_the_channel_that_ends(void **state)
{
	struct world *w = *state;
	struct job jobs[2], late;
	struct raw r, next;

	raw_meet(w, &r, jobs, 2);
	raw_hello(&r);
	run_ms(w, 1);
	job_init(w, &late, 9);
	jobs[0].then_send = &late;
	raw_acknowledge(&r, 1); /* not heard yet */
	assert_true(handover_cancel(&jobs[1].request));
	assert_done(&jobs[0], 0);
	assert_int_equal(late.request.n_sent, 0);
	next.listener = r.listener;
	raw_accept(w, &next);
	raw_hello(&next);
	assert_comes(w, &next, 9);
	raw_acknowledge(&next, 1);
	run_ms(w, 1);
	assert_done(&late, 0);
	assert_int_equal(late.request.n_sent, 1);
	raw_hang_up(&r);
	raw_close(&next);
}

/* Then it cannot be known what it has, of the others neither. */
static void rubbish_in_the_last_moment_costs_all_that_was_sent(void **state)
{
	struct world *w = *state;
	struct job jobs[2];
	struct raw r;

	raw_meet(w, &r, jobs, 2);
	raw_hello(&r);
	run_ms(w, 1);
	acknowledging = &r;
	acknowledging_after = 0;
	acknowledging_number = 9;
	assert_false(handover_cancel(&jobs[0].request));
	acknowledging_number = 1;
	assert_int_equal(acknowledged, 16);
	assert_int_equal(jobs[0].calls, 0);
	assert_done(&jobs[1], -EPROTO);
	raw_close(&r);
}

static void what_an_unknown_one_was_sent_cannot_be_taken_back(void **state)
{
	struct world *w = *state;
	struct job jobs[3];
	struct raw r;

	raw_listen(w, &r);
	jobs_send(w, jobs, 3, 1);
	assert_false(handover_cancel(&jobs[0].request));
	raw_accept(w, &r);
	assert_false(handover_cancel(&jobs[1].request));
	raw_hello(&r);
	assert_true(handover_cancel(&jobs[2].request)); /* known now */
	raw_hang_up(&r);
	/* Nor what one read that says nothing. */
	world_handover(w, HANDOVER_USHER);
	jobs_send(w, jobs, 2, 1);
	raw_accept(w, &r);
	assert_int_equal(raw_read(&r), 1);
	assert_false(handover_cancel(&jobs[0].request));
	assert_done(&jobs[1], 0);
	/* But what one died with, unread. */
	world_handover(w, HANDOVER_USHER);
	jobs_send(w, jobs, 2, 1);
	raw_close(&r);
	assert_true(handover_cancel(&jobs[0].request));
	await_all(w, jobs + 1, 1, -ECONNREFUSED);
}

static void what_ends_may_send_and_cancel_what_is_kept(void **state)
{
	struct world *w = *state;
	struct job jobs[4], late;
	struct raw r, next;

	raw_listen(w, &r);
	jobs_send(w, jobs, 4, 1);
	job_init(w, &late, 9);
	jobs[0].then_cancel = &jobs[2];
	jobs[0].then_send = &late;
	raw_accept(w, &r);
	raw_hello(&r);
	run_ms(w, 1);
	raw_acknowledge(&r, 1);
	next.listener = r.listener;
	raw_accept(w, &next);
	assert_done(&jobs[0], 0);
	raw_hello(&next);
	assert_comes(w, &next, 2);
	assert_comes(w, &next, 4);
	assert_comes(w, &next, 9);
	raw_acknowledge(&next, 3);
	await_all(w, &late, 1, 0);
	assert_done(&jobs[1], 0);
	assert_int_equal(jobs[2].calls, 0);
	assert_done(&jobs[3], 0);
	raw_hang_up(&r);
	raw_close(&next);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, world_setup_alone, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_taken_back_cannot_be_acknowledged),
		TEST(what_was_acknowledged_cannot_be_taken_back),
		TEST(an_acknowledgement_in_the_last_moment_is_heard_or_fails),
		TEST(what_is_sent_meanwhile_does_not_go_out_on_the_channel_that_ends),
		TEST(rubbish_in_the_last_moment_costs_all_that_was_sent),
		TEST(what_an_unknown_one_was_sent_cannot_be_taken_back),
		TEST(what_ends_may_send_and_cancel_what_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
