/* The worker's side of a handover to a socket for datagrams, which several processes may share: receipts come in any order,
 * and what nobody wrote one for is sent again, to whoever reads next. */
#include "handover_channel.h"
#include "handover_kept.h"
#include "handover_world.h"

struct taken {
	uint64_t id, number;
	int client, receipt;
};

static unsigned watch_fails; /* the nth from now on; 0: none */

int __real_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
	if (watch_fails && --watch_fails == 0) {
		errno = ENOSPC;
		return -1;
	}
	return __real_epoll_ctl(epoll, what, fd, event);
}

static int datagrams_bind(struct world *w)
{
	struct sockaddr_un address = place_address(w->place.path);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)unlink(w->place.path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* False: nothing there. */
static bool datagram_read(int fd, struct taken *ret)
{
	uint8_t message[USHER_MESSAGE_MAX];
	struct iovec part = { .iov_base = message, .iov_len = sizeof(message) };
	union {
		char bytes[CMSG_SPACE(sizeof(int) * 2)];
		struct cmsghdr align;
	} control;
	struct msghdr m = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};

	if (recvmsg(fd, &m, MSG_CMSG_CLOEXEC) < 0)
		return false;
	assert_memory_equal(message, "USHR\1\2", 6);
	assert_memory_equal(message + 8, "\0\1\0\10", 4);
	assert_memory_equal(message + 20, "\0\11\0\10", 4);
	ret->id = number_at(message + 12);
	ret->number = number_at(message + 24);
	assert_non_null(CMSG_FIRSTHDR(&m));
	assert_int_equal(CMSG_FIRSTHDR(&m)->cmsg_len, CMSG_LEN(2 * sizeof(int)));
	memcpy(&ret->client, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
	memcpy(&ret->receipt, CMSG_DATA(CMSG_FIRSTHDR(&m)) + sizeof(int), sizeof(int));
	return true;
}

static struct taken datagram_await(struct world *w, int fd, uint64_t id)
{
	struct taken taken = { 0 };

	for (int i = 0; i < 2000 && !datagram_read(fd, &taken); i++)
		run_ms(w, 1);
	assert_int_equal(taken.id, id);
	return taken;
}

static void taken_drop(struct taken *taken)
{
	close(taken->client);
	close(taken->receipt);
}

/* What send() said. */
static ssize_t taken_receipt(struct taken *taken)
{
	const uint8_t bytes[] = { 'U', 'S', 'H', 'R', 1, 3, 0, 16, 0, 0, 0, 0, 0, 0, (uint8_t)(taken->number >> 8),
		(uint8_t)taken->number };
	ssize_t n = send(taken->receipt, bytes, sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT);

	taken_drop(taken);
	return n;
}

static void assert_takes(struct world *w, int fd, struct job *job)
{
	struct taken taken = datagram_await(w, fd, job->facts.id);

	assert_waits(job);
	assert_int_equal(taken_receipt(&taken), 16);
	job_await(w, job);
	assert_done(job, 0);
}

static void receipts_come_in_any_order(void **state)
{
	static const size_t order[] = { 3, 0, 4, 2, 1 };
	struct world *w = *state;
	int fd = datagrams_bind(w);
	struct job jobs[5];
	struct taken taken[5];

	jobs_send(w, jobs, 5, 1);
	for (uint64_t i = 0; i < 5; i++)
		taken[i] = datagram_await(w, fd, i + 1);
	for (size_t i = 0; i < 5; i++) {
		assert_waits(&jobs[order[i]]);
		assert_int_equal(taken_receipt(&taken[order[i]]), 16);
		job_await(w, &jobs[order[i]]);
		assert_done(&jobs[order[i]], 0);
		assert_int_equal(jobs[order[i]].request.n_sent, 1);
	}
	close(fd);
}

static void what_the_queue_has_no_room_for_waits(void **state)
{
	struct world *w = *state;
	int fd = datagrams_bind(w);
	struct job jobs[300];

	jobs_send(w, jobs, 300, 1);
	run_ms(w, 20);
	for (size_t i = 0; i < 300; i++)
		assert_takes(w, fd, &jobs[i]);
	for (size_t i = 0; i < 300; i++)
		assert_int_equal(jobs[i].request.n_sent, 1);
	close(fd);
}

/* Otherwise every one of them would cost a call that fails. */
static void more_than_a_full_queue_held_waits_for_a_receipt(void **state)
{
	struct world *w = *state;
	int fd = datagrams_bind(w);
	struct job jobs[HANDOVER_KEPT_MAX];
	struct taken taken[HANDOVER_KEPT_MAX];
	size_t n = 0, next;

	jobs_send(w, jobs, HANDOVER_KEPT_MAX, 1);
	for (int i = 0; i < 5; i++) { /* less than it takes to be found overdue */
		while (n < HANDOVER_KEPT_MAX && datagram_read(fd, &taken[n]))
			n++;
		run_ms(w, 1);
	}
	assert_in_range(n, 4, HANDOVER_KEPT_MAX - 1);
	for (next = 0; next < n; next++)
		assert_int_equal(taken_receipt(&taken[next]), 16);
	for (; next < HANDOVER_KEPT_MAX; next++)
		assert_takes(w, fd, &jobs[next]);
	for (size_t i = 0; i < HANDOVER_KEPT_MAX; i++) {
		assert_done(&jobs[i], 0);
		assert_int_equal(jobs[i].request.n_sent, 1);
	}
	close(fd);
}

/* Nothing of ours is in the queue, so that no receipt will come. */
/* No receipt will come that tells of it; with a few of our own in it neither, since these may be the last to be read. With more of them their
 * receipts tell. */
static void a_queue_full_of_others_messages_is_waited_for(void **state)
{
	struct world *w = *state;
	struct sockaddr_un address = place_address(w->place.path);

	for (size_t own = 0; own < 5; own++) {
		int fd = datagrams_bind(w);
		int other = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		struct job jobs[5];
		struct taken taken[4];
		char byte;

		jobs_send(w, jobs, own, 1);
		for (size_t i = 0; i < own; i++)
			taken[i] = datagram_await(w, fd, i + 1);
		assert_int_equal(connect(other, (struct sockaddr *)&address, sizeof(address)), 0);
		while (send(other, "x", 1, 0) == 1)
			;
		job_send(w, &jobs[own], own + 1);
		run_ms(w, 20);
		assert_int_equal(jobs[own].request.n_sent, 0);
		while (recv(fd, &byte, 1, 0) == 1)
			;
		run_ms(w, 1);
		assert_int_equal(jobs[own].request.n_sent, own < 4);
		for (size_t i = 0; i < own; i++) {
			assert_int_equal(taken_receipt(&taken[i]), 16);
			job_await(w, &jobs[i]);
		}
		assert_takes(w, fd, &jobs[own]);
		close(other);
		close(fd);
		world_handover(w, HANDOVER_USHER);
	}
}

static void what_was_lost_with_the_socket_goes_to_the_next(void **state)
{
	struct world *w = *state;
	int fd = datagrams_bind(w), next;
	struct job jobs[4];
	struct taken taken;

	jobs_send(w, jobs, 4, 1);
	taken = datagram_await(w, fd, 1);
	assert_int_equal(taken_receipt(&taken), 16);
	taken = datagram_await(w, fd, 2); /* read, and dropped with its reader */
	next = datagrams_bind(w);
	close(fd);
	taken_drop(&taken);
	for (size_t i = 1; i < 4; i++) {
		assert_takes(w, next, &jobs[i]);
		assert_int_equal(jobs[i].request.n_sent, 2);
	}
	assert_done(&jobs[0], 0);
	close(next);
}

static void what_one_process_lost_goes_to_the_others(void **state)
{
	struct world *w = *state;
	int fd = datagrams_bind(w);
	struct job jobs[3];
	struct taken taken, second, third;

	jobs_send(w, jobs, 3, 1);
	taken = datagram_await(w, fd, 1);
	second = datagram_await(w, fd, 2);
	assert_int_equal(taken_receipt(&second), 16);
	job_await(w, &jobs[1]);
	taken_drop(&taken);
	third = datagram_await(w, fd, 3);
	assert_int_equal(taken_receipt(&third), 16); /* right away: it is not sent again */
	job_await(w, &jobs[2]);
	assert_takes(w, fd, &jobs[0]);
	assert_int_equal(jobs[0].request.n_sent, 2);
	assert_int_equal(jobs[2].request.n_sent, 1);
	close(fd);
}

static void a_socket_that_is_gone_fails_what_waits(void **state)
{
	struct world *w = *state;
	int fd = datagrams_bind(w);
	struct job job;

	job_send(w, &job, 1);
	close(fd);
	job_await(w, &job);
	assert_done(&job, -ECONNREFUSED);
	fd = datagrams_bind(w);
	job_send(w, &job, 2);
	assert_takes(w, fd, &job);
	close(fd);
	job_send(w, &job, 3); /* found out by sending */
	job_await(w, &job);
	assert_done(&job, -ECONNREFUSED);
}

static void what_is_taken_back_has_no_receipt(void **state)
{
	struct world *w = *state;
	int fd = datagrams_bind(w);
	struct job jobs[3];
	struct taken taken[3];

	jobs_send(w, jobs, 3, 1);
	for (uint64_t i = 0; i < 3; i++)
		taken[i] = datagram_await(w, fd, i + 1);
	assert_int_equal(taken_receipt(&taken[2]), 16); /* not heard yet */
	assert_true(handover_cancel(&jobs[0].request));
	assert_int_equal(taken_receipt(&taken[0]), -1);
	assert_int_equal(taken_receipt(&taken[1]), -1);
	job_await(w, &jobs[2]);
	assert_done(&jobs[2], 0);
	assert_takes(w, fd, &jobs[1]); /* again */
	assert_int_equal(jobs[0].calls, 0);
	close(fd);
}

static void what_has_a_receipt_cannot_be_taken_back(void **state)
{
	struct world *w = *state;
	int fd = datagrams_bind(w);
	struct job jobs[2];
	struct taken taken;

	jobs_send(w, jobs, 2, 1);
	taken = datagram_await(w, fd, 1);
	assert_int_equal(taken_receipt(&taken), 16);
	assert_false(handover_cancel(&jobs[0].request));
	assert_int_equal(jobs[0].calls, 0);
	assert_takes(w, fd, &jobs[1]);
	assert_int_equal(jobs[1].request.n_sent, 1);
	close(fd);
}

static void rubbish_costs_what_was_sent(void **state)
{
	static const char *const answers[] = { "USHR\1\3\0\20\0\0\0\0\0\0\0\11", "USHR\1\3\0\20\0\0\0\0\0\0\0\0",
		"USHR\1\2\0\20\0\0\0\0\0\0\0\1", "thank you so much" };
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		int fd = datagrams_bind(w);
		struct job jobs[2];
		struct taken taken;

		jobs_send(w, jobs, 2, 1);
		taken = datagram_await(w, fd, 1);
		assert_int_equal(send(taken.receipt, answers[i], 16, MSG_NOSIGNAL), 16);
		taken_drop(&taken);
		job_await(w, &jobs[0]);
		assert_done(&jobs[0], -EPROTO);
		assert_done(&jobs[1], -EPROTO);
		job_send(w, &jobs[0], 3);
		taken = datagram_await(w, fd, 2); /* left over */
		taken_drop(&taken);
		assert_takes(w, fd, &jobs[0]);
		close(fd);
	}
}

static void the_same_receipt_twice_is_rubbish(void **state)
{
	struct world *w = *state;
	int fd = datagrams_bind(w);
	struct job jobs[2];
	struct taken first, second;

	jobs_send(w, jobs, 2, 1);
	first = datagram_await(w, fd, 1);
	second = datagram_await(w, fd, 2);
	second.number = first.number;
	assert_int_equal(taken_receipt(&first), 16);
	assert_int_equal(taken_receipt(&second), 16);
	job_await(w, &jobs[1]);
	assert_done(&jobs[0], 0);
	assert_done(&jobs[1], -EPROTO);
	close(fd);
}

static void receipts_may_be_cut_anywhere(void **state)
{
	struct world *w = *state;
	int fd = datagrams_bind(w);

	for (uint8_t cut = 1; cut < 16; cut++) {
		uint8_t receipt[] = { 'U', 'S', 'H', 'R', 1, USHER_ANSWER_RECEIPT, 0, 16, 0, 0, 0, 0, 0, 0, 0, cut };
		struct job job;

		job_send(w, &job, cut);
		struct taken taken = datagram_await(w, fd, cut);
		assert_int_equal(taken.number, cut);
		assert_int_equal(send(taken.receipt, receipt, cut, MSG_NOSIGNAL), cut);
		run_ms(w, 1);
		assert_waits(&job);
		assert_int_equal(send(taken.receipt, receipt + cut, 16 - cut, MSG_NOSIGNAL), 16 - cut);
		run_ms(w, 1);
		assert_done(&job, 0);
		taken_drop(&taken);
	}
	close(fd);
}

static void many_receipts_at_once_are_all_read(void **state)
{
	enum { N = 70 }; /* more than two readings of 512 bytes */
	struct world *w = *state;
	int fd = datagrams_bind(w);
	struct job jobs[N];
	struct taken taken[N];

	for (size_t i = 0; i < N; i++) {
		job_send(w, &jobs[i], i + 1);
		taken[i] = datagram_await(w, fd, i + 1);
	}
	for (size_t i = 0; i < N; i++)
		assert_int_equal(taken_receipt(&taken[i]), 16);
	run_ms(w, 1);
	for (size_t i = 0; i < N; i++)
		assert_done(&jobs[i], 0);
	close(fd);
}

/* It may be with somebody who has read it and is about to say so. */
static void what_has_no_receipt_is_sent_again_after_two_looks(void **state)
{
	struct world *w = *state;
	int fd = datagrams_bind(w);
	struct job job;

	job_send(w, &job, 1);
	struct taken taken = { 0 };
	assert_true(datagram_read(fd, &taken));
	taken_drop(&taken);
	turn_after(&w->loop, 50000);
	assert_false(datagram_read(fd, &taken));
	turn_after(&w->loop, 49999);
	assert_false(datagram_read(fd, &taken));
	assert_int_equal(job.request.n_sent, 1);
	turn_after(&w->loop, 1);
	assert_int_equal(job.request.n_sent, 2);
	assert_true(datagram_read(fd, &taken)); /* lost once more */
	taken_drop(&taken);
	run_ms(w, 100);
	assert_int_equal(job.request.n_sent, 3);
	assert_takes(w, fd, &job);
	close(fd);
}

static void what_is_lost_is_noticed_while_others_are_sent(void **state)
{
	struct world *w = *state;
	int fd = datagrams_bind(w);
	struct job lost, others[15];
	struct taken taken = { 0 };

	job_send(w, &lost, 1);
	assert_true(datagram_read(fd, &taken));
	taken_drop(&taken);
	for (size_t i = 0; i < 15 && lost.request.n_sent == 1; i++) {
		job_send(w, &others[i], i + 2);
		assert_takes(w, fd, &others[i]);
		run_ms(w, 10);
	}
	assert_int_equal(lost.request.n_sent, 2);
	assert_takes(w, fd, &lost);
	close(fd);
}

static unsigned n_going;

static void count_going(struct handover_request *request)
{
	n_going++;
}

static void where_there_is_no_room_nothing_is_tried(void **state)
{
	struct world *w = *state;
	int fd = datagrams_bind(w);
	struct job jobs[HANDOVER_KEPT_MAX];
	size_t n = 0;

	n_going = 0;
	for (; n < HANDOVER_KEPT_MAX && (n == 0 || !w->handover->channel->room); n++) {
		job_init(w, &jobs[n], n + 1);
		jobs[n].request.going = count_going;
		handover_send(w->handover, &jobs[n].request);
	}
	assert_in_range(n, 4, HANDOVER_KEPT_MAX - 1);
	assert_int_equal(n_going, n); /* the last one found the queue full */
	job_init(w, &jobs[n], n + 1);
	handover_send(w->handover, &jobs[n++].request);
	run_ms(w, 5);
	assert_int_equal(n_going, n - 1);
	for (size_t i = 0; i < n; i++)
		assert_takes(w, fd, &jobs[i]);
	close(fd);
}

/* They are read in their order: who has read it is not to be waited for because others are slow. */
static void what_was_read_before_one_with_a_receipt_is_sent_again(void **state)
{
	struct world *w = *state;
	int fd = datagrams_bind(w);
	struct job jobs[3];
	struct taken taken[3] = { 0 };

	jobs_send(w, jobs, 3, 1);
	assert_true(datagram_read(fd, &taken[0]));
	assert_true(datagram_read(fd, &taken[1]));
	taken_drop(&taken[0]);
	assert_int_equal(taken_receipt(&taken[1]), 16);
	run_ms(w, 99);
	assert_int_equal(jobs[0].request.n_sent, 1);
	assert_done(&jobs[1], 0);
	run_ms(w, 1);
	assert_int_equal(jobs[0].request.n_sent, 2);
	assert_int_equal(jobs[2].request.n_sent, 2); /* on another stream for receipts */
	taken[2] = datagram_await(w, fd, 3);         /* the old one: its receipt comes too late */
	assert_int_equal(taken_receipt(&taken[2]), -1);
	assert_takes(w, fd, &jobs[0]);
	assert_takes(w, fd, &jobs[2]);
	close(fd);
}

static void what_cannot_be_watched_fails_and_leaves_nothing_open(void **state)
{
	struct world *w = *state;
	int fd = datagrams_bind(w), before = fds_open();

	for (unsigned i = 1; i <= 2; i++) {
		struct job job;

		watch_fails = i;
		job_send(w, &job, 1);
		run_ms(w, 1);
		assert_done(&job, -ENOSPC);
		assert_int_equal(fds_open(), before);
	}
	close(fd);
}

static void tcpmux_is_not_for_datagrams(void **state)
{
	struct world *w = *state;
	int fd = datagrams_bind(w);
	struct job job;

	world_handover(w, HANDOVER_TCPMUX);
	job_send(w, &job, 1);
	job_await(w, &job);
	assert_done(&job, -EPROTOTYPE);
	close(fd);
}

static void what_ends_may_send_and_cancel_what_is_kept(void **state)
{
	struct world *w = *state;
	int fd = datagrams_bind(w);
	struct job jobs[4], late;
	struct taken taken;

	jobs_send(w, jobs, 4, 1);
	job_init(w, &late, 9);
	jobs[1].then_cancel = &jobs[0];
	jobs[1].then_send = &late;
	taken = datagram_await(w, fd, 1);
	taken_drop(&taken);
	taken = datagram_await(w, fd, 2);
	assert_int_equal(taken_receipt(&taken), 16);
	job_await(w, &jobs[1]);
	for (int i = 0; i < 2; i++) { /* those that went out before */
		taken = datagram_await(w, fd, (uint64_t)i + 3);
		assert_int_equal(taken_receipt(&taken), -1);
	}
	assert_takes(w, fd, &jobs[2]);
	assert_takes(w, fd, &jobs[3]);
	assert_takes(w, fd, &late);
	assert_int_equal(jobs[0].calls, 0);
	close(fd);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, world_setup_alone, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(receipts_come_in_any_order),
		TEST(what_the_queue_has_no_room_for_waits),
		TEST(more_than_a_full_queue_held_waits_for_a_receipt),
		TEST(a_queue_full_of_others_messages_is_waited_for),
		TEST(what_was_lost_with_the_socket_goes_to_the_next),
		TEST(what_one_process_lost_goes_to_the_others),
		TEST(a_socket_that_is_gone_fails_what_waits),
		TEST(what_is_taken_back_has_no_receipt),
		TEST(what_has_a_receipt_cannot_be_taken_back),
		TEST(rubbish_costs_what_was_sent),
		TEST(the_same_receipt_twice_is_rubbish),
		TEST(receipts_may_be_cut_anywhere),
		TEST(many_receipts_at_once_are_all_read),
		TEST(what_has_no_receipt_is_sent_again_after_two_looks),
		TEST(what_was_read_before_one_with_a_receipt_is_sent_again),
		TEST(what_is_lost_is_noticed_while_others_are_sent),
		TEST(where_there_is_no_room_nothing_is_tried),
		TEST(what_cannot_be_watched_fails_and_leaves_nothing_open),
		TEST(tcpmux_is_not_for_datagrams),
		TEST(what_ends_may_send_and_cancel_what_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
