/* What the worker's side of a handover keeps until it is acknowledged, against receivers of the test's own: some announce
 * themselves, some say nothing, some rubbish; some die. */
#include "handover_world.h"
#include <sys/syscall.h>

struct raw {
	int listener, channel;
};

/* Stands behind the recv() of usher's side: what the receiver does in the moment after it. */
static struct raw *acknowledging;
static size_t acknowledging_after;
static ssize_t acknowledged;

static void raw_acknowledge_now(struct raw *r, uint8_t n);

ssize_t recv(int fd, void *buffer, size_t len, int flags)
{
	ssize_t n = syscall(SYS_recvfrom, fd, buffer, len, flags, NULL, NULL);

	if (acknowledging && acknowledging_after-- == 0) {
		int error = errno;

		raw_acknowledge_now(acknowledging, 1);
		acknowledging = NULL;
		errno = error;
	}
	return n;
}

static int setup(void **state)
{
	int error = world_setup(state);
	struct world *w = *state;

	usher_close(w->receiver);
	w->receiver = NULL;
	return error;
}

static void raw_listen(struct world *w, struct raw *r)
{
	struct sockaddr_un address = place_address(w->place.path);

	(void)unlink(w->place.path);
	r->channel = -1;
	r->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(r->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(r->listener, 10), 0);
}

static void raw_accept(struct world *w, struct raw *r)
{
	for (int i = 0; i < 1000; i++) {
		r->channel = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (r->channel >= 0)
			return;
		run_ms(w, 1);
	}
	fail();
}

static void raw_say(struct raw *r, const void *bytes, size_t len)
{
	assert_int_equal(send(r->channel, bytes, len, MSG_NOSIGNAL), len);
}

static void raw_hello(struct raw *r)
{
	raw_say(r, "USHR\1\1\0\10", 8);
}

static void raw_acknowledge(struct raw *r, uint8_t n)
{
	const uint8_t bytes[] = { 'U', 'S', 'H', 'R', 1, 2, 0, 16, 0, 0, 0, 0, 0, 0, 0, n };

	raw_say(r, bytes, sizeof(bytes));
}

static void raw_acknowledge_now(struct raw *r, uint8_t n)
{
	const uint8_t bytes[] = { 'U', 'S', 'H', 'R', 1, 2, 0, 16, 0, 0, 0, 0, 0, 0, 0, n };

	acknowledged = send(r->channel, bytes, sizeof(bytes), MSG_NOSIGNAL);
}

/* The id of the next message, or 0: none there. */
static uint64_t raw_read(struct raw *r)
{
	uint8_t message[USHER_MESSAGE_MAX];
	struct iovec part = { .iov_base = message, .iov_len = sizeof(message) };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr m = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	ssize_t n = recvmsg(r->channel, &m, MSG_CMSG_CLOEXEC);
	uint64_t id = 0;
	int fd;

	if (n <= 0)
		return 0;
	assert_true(n >= 20);
	assert_memory_equal(message, "USHR\1\2", 6);
	assert_memory_equal(message + 8, "\0\1\0\10", 4);
	for (int i = 12; i < 20; i++)
		id = id << 8 | message[i];
	assert_non_null(CMSG_FIRSTHDR(&m));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	close(fd);
	return id;
}

static void assert_comes(struct world *w, struct raw *r, uint64_t id)
{
	uint64_t got = 0;

	for (int i = 0; i < 2000 && !(got = raw_read(r)); i++)
		run_ms(w, 1);
	assert_int_equal(got, id);
}

static void raw_hang_up(struct raw *r)
{
	close(r->channel);
	r->channel = -1;
}

static void raw_close(struct raw *r)
{
	close(r->listener);
	if (r->channel >= 0)
		close(r->channel);
}

static void await_all(struct world *w, struct job *jobs, size_t n, int error)
{
	for (size_t i = 0; i < n; i++) {
		job_await(w, &jobs[i]);
		assert_done(&jobs[i], error);
	}
}

static void assert_all_wait(struct job *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_waits(&jobs[i]);
}

static void what_is_not_acknowledged_is_kept(void **state)
{
	struct world *w = *state;
	struct job jobs[5];
	struct raw r;

	raw_listen(w, &r);
	jobs_send(w, jobs, 5, 1);
	raw_accept(w, &r);
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

static void answers_may_be_cut_anywhere(void **state)
{
	static const char answers[] = "USHR\1\1\0\10USHR\1\2\0\20\0\0\0\0\0\0\0\1USHR\1\2\0\20\0\0\0\0\0\0\0\2";
	struct world *w = *state;

	for (size_t size = 1; size <= 40; size++) {
		struct job jobs[2];
		struct raw r;

		raw_listen(w, &r);
		jobs_send(w, jobs, 2, 1);
		raw_accept(w, &r);
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

static void what_a_dead_receiver_had_goes_to_the_next(void **state)
{
	struct world *w = *state;
	struct job jobs[6];
	struct raw r, next;

	raw_listen(w, &r);
	jobs_send(w, jobs, 6, 1);
	raw_accept(w, &r);
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

	raw_listen(w, &r);
	jobs_send(w, jobs, 2, 1);
	raw_accept(w, &r);
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

static void one_that_says_nothing_has_what_the_kernel_took(void **state)
{
	struct world *w = *state;
	enum { N = 100 };
	struct job jobs[N], late;
	struct raw r;

	raw_listen(w, &r);
	jobs_send(w, jobs, N, 1);
	raw_accept(w, &r);
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

static void one_that_closes_only_its_own_direction_is_used_on(void **state)
{
	struct world *w = *state;
	struct job jobs[3];
	struct raw r;

	raw_listen(w, &r);
	job_send(w, &jobs[0], 1);
	raw_accept(w, &r);
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

		raw_listen(w, &r);
		job_send(w, &jobs[0], 1);
		raw_accept(w, &r);
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

		raw_listen(w, &r);
		jobs_send(w, jobs, 2, 1);
		raw_accept(w, &r);
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

	raw_listen(w, &r);
	jobs_send(w, jobs, 2, 1);
	raw_accept(w, &r);
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

	raw_listen(w, &r);
	job_send(w, &jobs[0], 1);
	raw_accept(w, &r);
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

static void more_than_may_be_kept_waits(void **state)
{
	struct world *w = *state;
	enum { N = HANDOVER_KEPT_MAX + 10 };
	struct job jobs[N];
	struct raw r;

	raw_listen(w, &r);
	jobs_send(w, jobs, N, 1);
	raw_accept(w, &r);
	raw_hello(&r);
	for (uint64_t id = 1; id <= HANDOVER_KEPT_MAX; id++)
		assert_comes(w, &r, id);
	run_ms(w, 20);
	assert_int_equal(raw_read(&r), 0);
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

static void what_is_taken_back_cannot_be_acknowledged(void **state)
{
	struct world *w = *state;
	struct job jobs[4];
	struct raw r, next;

	raw_listen(w, &r);
	jobs_send(w, jobs, 4, 1);
	raw_accept(w, &r);
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

	raw_listen(w, &r);
	jobs_send(w, jobs, 2, 1);
	raw_accept(w, &r);
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

		raw_listen(w, &r);
		job_send(w, &job, 1);
		raw_accept(w, &r);
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

/* After one that announced itself, the next is told nothing until it does; for a while. */
static void the_next_is_expected_to_announce_itself(void **state)
{
	struct world *w = *state;
	struct job jobs[4];
	struct raw r;

	raw_listen(w, &r);
	job_send(w, &jobs[0], 1);
	raw_accept(w, &r);
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

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_not_acknowledged_is_kept),
		TEST(answers_may_be_cut_anywhere),
		TEST(what_a_dead_receiver_had_goes_to_the_next),
		TEST(what_nobody_accepted_goes_to_the_next),
		TEST(a_receiver_that_dies_without_a_next_fails_what_it_had),
		TEST(a_receiver_that_dies_again_and_again_is_given_up),
		TEST(one_that_says_nothing_has_what_the_kernel_took),
		TEST(one_that_takes_and_goes_has_what_it_took),
		TEST(one_that_closes_only_its_own_direction_is_used_on),
		TEST(rubbish_before_a_hello_announces_nothing),
		TEST(rubbish_after_a_hello_costs_the_channel),
		TEST(the_same_acknowledgement_twice_costs_the_channel),
		TEST(a_hello_may_come_late),
		TEST(more_than_may_be_kept_waits),
		TEST(what_is_taken_back_cannot_be_acknowledged),
		TEST(what_was_acknowledged_cannot_be_taken_back),
		TEST(an_acknowledgement_in_the_last_moment_is_heard_or_fails),
		TEST(what_an_unknown_one_was_sent_cannot_be_taken_back),
		TEST(the_next_is_expected_to_announce_itself),
		TEST(in_tcpmux_format_nothing_is_kept_or_heard),
		TEST(what_ends_may_send_and_cancel_what_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
