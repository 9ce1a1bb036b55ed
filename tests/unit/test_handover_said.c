/* What receivers say to the worker's side of a handover: those that announce themselves, those that say nothing, rubbish. */
#include "handover_raw.h"

static void answers_may_be_cut_anywhere(void **state)
{
	static const char answers[] = "USHR\1\1\0\10USHR\1\2\0\20\0\0\0\0\0\0\0\1USHR\1\2\0\20\0\0\0\0\0\0\0\2";
	struct world *w = *state;

	for (size_t size = 1; size <= 40; size++) {
		struct job jobs[2];
		struct raw r;

		raw_meet(w, &r, jobs, 2);
		for (size_t at = 0; at < 40; at += size) {
			assert_waits(&jobs[1]);
			raw_say(&r, answers + at, 40 - at < size ? 40 - at : size);
			run_ms(w, 1);
			assert_int_equal(jobs[0].calls, at + size >= 24);
		}
		await_all(w, jobs, 2, 0);
		raw_close(&r);
		world_handover(w, HANDOVER_USHER); /* one that expects nothing */
	}
}

static void one_that_says_nothing_has_what_the_kernel_took(void **state)
{
	struct world *w = *state;
	enum { N = 100 };
	struct job jobs[N], late;
	struct raw r;

	raw_meet(w, &r, jobs, N);
	run_ms(w, 100);
	assert_all_wait(jobs, N); /* it may still announce itself */
	assert_comes(w, &r, 1);
	await_all(w, jobs, N, 0);
	job_send(w, &late, N + 1);
	assert_done(&late, 0);
	for (uint64_t id = 2; id <= N + 1; id++)
		assert_comes(w, &r, id);
	raw_close(&r);
}

/* It read, and closed its end: the same event tells of both. */
static void one_that_takes_and_goes_has_what_it_took(void **state)
{
	struct world *w = *state;
	struct raw r;

	raw_listen(w, &r);
	for (uint64_t id = 1; id <= 5; id++) {
		struct job job;

		job_send(w, &job, id);
		raw_accept(w, &r);
		assert_int_equal(raw_read(&r), id);
		raw_hang_up(&r);
		job_await(w, &job);
		assert_done(&job, 0);
	}
	run_ms(w, 20);
	assert_int_equal(accept(r.listener, NULL, NULL), -1);
	raw_close(&r);
}

/* As much as there was before is unread: one more, and one less. */
static void one_that_takes_while_the_next_is_sent_has_taken(void **state)
{
	struct world *w = *state;
	struct job jobs[2];
	struct raw r;

	raw_meet(w, &r, jobs, 1);
	assert_int_equal(raw_read(&r), 1);
	job_send(w, &jobs[1], 2);
	run_ms(w, 60);
	assert_done(&jobs[0], 0);
	assert_done(&jobs[1], 0);
	raw_close(&r);
}

/* Also where it was looked at before. */
static void one_that_takes_late_and_goes_has_what_it_took(void **state)
{
	struct world *w = *state;
	struct job job;
	struct raw r;

	raw_meet(w, &r, &job, 1);
	run_ms(w, 120);
	assert_waits(&job);
	assert_int_equal(raw_read(&r), 1);
	raw_hang_up(&r);
	run_ms(w, 1);
	assert_done(&job, 0);
	raw_close(&r);
}

static void one_that_closes_only_its_own_direction_is_used_on(void **state)
{
	struct world *w = *state;
	struct job jobs[3];
	struct raw r;

	raw_meet(w, &r, jobs, 1);
	assert_int_equal(shutdown(r.channel, SHUT_WR), 0);
	await_all(w, jobs, 1, 0);
	jobs_send(w, jobs + 1, 2, 2);
	await_all(w, jobs + 1, 2, 0);
	for (uint64_t id = 1; id <= 3; id++)
		assert_comes(w, &r, id);
	raw_close(&r);
}

static void rubbish_before_a_hello_announces_nothing(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
#define CASE(bytes) { bytes, sizeof(bytes) - 1 }
		CASE("x"),
		CASE("HTTP/1.1 200 OK\r\n"),
		CASE("USHR\2\1\0\10"), /* a version to come */
		CASE("USHR\1\2\0\20\0\0\0\0\0\0\0\1"),
		CASE("USHR\1\1\0\11"),
		CASE("\xaf\xbe\xad\xde"),
#undef CASE
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct job jobs[2];
		struct raw r;

		raw_meet(w, &r, jobs, 1);
		raw_say(&r, cases[i].bytes, cases[i].len);
		await_all(w, jobs, 1, 0);
		raw_hello(&r); /* too late */
		run_ms(w, 2);
		job_send(w, &jobs[1], 2);
		assert_done(&jobs[1], 0);
		assert_comes(w, &r, 1);
		assert_comes(w, &r, 2);
		raw_close(&r);
		world_handover(w, HANDOVER_USHER);
	}
}

static void rubbish_after_a_hello_costs_the_channel(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
#define CASE(bytes) { bytes, sizeof(bytes) - 1 }
		CASE("x"),
		CASE("USHR\1\1\0\10"),                 /* another hello */
		CASE("USHR\1\2\0\20\0\0\0\0\0\0\0\0"), /* of nothing */
		CASE("USHR\1\2\0\20\0\0\0\0\0\0\0\3"), /* more than were sent */
		CASE("USHR\1\2\0\20\1\0\0\0\0\0\0\1"), /* far more */
		CASE("USHR\1\2\0\20\377\377\377\377\377\377\377\377"),
		CASE("USHR\1\2\0\21\0\0\0\0\0\0\0\1"),
		CASE("USHR\1\3\0\10"), /* no such kind */
		CASE("USHR\2\2\0\20\0\0\0\0\0\0\0\1"),
#undef CASE
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct job jobs[2], next;
		struct raw r;

		raw_meet(w, &r, jobs, 2);
		raw_hello(&r);
		run_ms(w, 1);
		raw_say(&r, cases[i].bytes, cases[i].len);
		await_all(w, jobs, 2, -EPROTO);
		raw_hang_up(&r);
		job_send(w, &next, 3); /* has its own chance */
		raw_accept(w, &r);
		raw_hello(&r);
		assert_comes(w, &r, 3);
		raw_acknowledge(&r, 1);
		await_all(w, &next, 1, 0);
		raw_close(&r);
		world_handover(w, HANDOVER_USHER);
	}
}

static void the_same_acknowledgement_twice_costs_the_channel(void **state)
{
	struct world *w = *state;
	struct job jobs[2];
	struct raw r;

	raw_meet(w, &r, jobs, 2);
	raw_hello(&r);
	raw_acknowledge(&r, 1);
	raw_acknowledge(&r, 1);
	await_all(w, jobs, 1, 0);
	await_all(w, jobs + 1, 1, -EPROTO);
	raw_close(&r);
}

static void a_hello_may_come_late(void **state)
{
	struct world *w = *state;
	struct job jobs[3];
	struct raw r;

	raw_meet(w, &r, jobs, 1);
	assert_comes(w, &r, 1);
	await_all(w, jobs, 1, 0);
	raw_hello(&r);
	run_ms(w, 2);
	jobs_send(w, jobs + 1, 2, 2);
	assert_all_wait(jobs + 1, 2);
	raw_acknowledge(&r, 2); /* it has counted the first */
	await_all(w, jobs + 1, 1, 0);
	raw_acknowledge(&r, 3);
	await_all(w, jobs + 2, 1, 0);
	raw_close(&r);
}

/* After one that announced itself, the next is told nothing until it does; for a while. */
static void the_next_is_expected_to_announce_itself(void **state)
{
	struct world *w = *state;
	struct job jobs[4];
	struct raw r;

	raw_meet(w, &r, jobs, 1);
	raw_hello(&r);
	raw_acknowledge(&r, 1);
	await_all(w, jobs, 1, 0);
	raw_hang_up(&r);
	run_ms(w, 2);
	jobs_send(w, jobs + 1, 3, 2);
	raw_accept(w, &r);
	run_ms(w, 100);
	assert_int_equal(raw_read(&r), 0);
	assert_true(handover_cancel(&jobs[1].request)); /* it was not sent */
	run_ms(w, 800);
	assert_int_equal(jobs[2].request.n_sent, 1);
	assert_int_equal(jobs[3].request.n_sent, 0);
	/* It is one of the old kind. */
	assert_comes(w, &r, 3);
	await_all(w, jobs + 2, 2, 0);
	assert_comes(w, &r, 4);
	raw_hang_up(&r);
	run_ms(w, 2);
	/* And so the next one is not waited for. */
	job_send(w, &jobs[0], 5);
	raw_accept(w, &r);
	assert_int_equal(raw_read(&r), 5);
	await_all(w, jobs, 1, 0);
	raw_close(&r);
}

static void in_tcpmux_format_nothing_is_kept_or_heard(void **state)
{
	struct world *w = *state;
	uint8_t bytes[8];
	struct job jobs[3];
	struct raw r;

	world_handover(w, HANDOVER_TCPMUX);
	raw_listen(w, &r);
	job_send(w, &jobs[0], 1);
	assert_done(&jobs[0], 0);
	raw_accept(w, &r);
	raw_hello(&r);
	raw_acknowledge(&r, 9);
	run_ms(w, 5);
	job_send(w, &jobs[1], 2);
	assert_done(&jobs[1], 0);
	assert_int_equal(recv(r.channel, bytes, sizeof(bytes), 0), 4); /* each with its descriptor: apart */
	raw_hang_up(&r);
	run_ms(w, 5);
	job_send(w, &jobs[2], 3);
	assert_done(&jobs[2], 0);
	raw_close(&r);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, world_setup_alone, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(answers_may_be_cut_anywhere),
		TEST(one_that_says_nothing_has_what_the_kernel_took),
		TEST(one_that_takes_and_goes_has_what_it_took),
		TEST(one_that_takes_late_and_goes_has_what_it_took),
		TEST(one_that_takes_while_the_next_is_sent_has_taken),
		TEST(one_that_closes_only_its_own_direction_is_used_on),
		TEST(rubbish_before_a_hello_announces_nothing),
		TEST(rubbish_after_a_hello_costs_the_channel),
		TEST(the_same_acknowledgement_twice_costs_the_channel),
		TEST(a_hello_may_come_late),
		TEST(the_next_is_expected_to_announce_itself),
		TEST(in_tcpmux_format_nothing_is_kept_or_heard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
