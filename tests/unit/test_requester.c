/* A worker's requests: answers find them by their numbers, whatever their order, and one that is not answered ends in time. The test is
 * the master, and the loop's clock. */
#include "fd.h"
#include "log.h"
#include "requester.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define REQUESTS 5

static struct loop loop;
static struct outbox outbox;
static struct requester requester;
static int ends[2];

static struct asked {
	struct request request;
	unsigned answers;
	int error;
	bool has_fd;
} asked[REQUESTS];

static void answered(struct request *request, const struct message_answer *answer, int fds[IPC_FDS_MAX])
{
	struct asked *one = container_of(request, struct asked, request);

	one->answers++;
	one->error = answer->error;
	one->has_fd = fds[0] >= 0;
}

static int ask(unsigned i, int fd)
{
	asked[i] = (struct asked){ .request = { .answered = answered } };
	return requester_ask(&requester, &asked[i].request, &(struct message){ .kind = MESSAGE_SPAWN }, fd);
}

static int setup(void **state)
{
	log_setup(STDERR_FILENO, &(struct log_settings){ .level = LEVEL_ERROR });
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(ipc_pair(ends), 0);
	loop.now_us = 1000000;
	outbox_init(&outbox, &loop, ends[0], NULL);
	requester_init(&requester, &loop, &outbox);
	return 0;
}

static int teardown(void **state)
{
	outbox_close(&outbox);
	fd_close(ends[0]);
	fd_close(ends[1]);
	loop_fini(&loop);
	return 0;
}

static void ask_all(void)
{
	for (unsigned i = 0; i < REQUESTS; i++)
		assert_int_equal(ask(i, -1), 0);
}

static uint64_t next_number(size_t n_fds)
{
	struct message message;
	struct ipc_fds fds;

	assert_int_equal(message_receive(ends[1], true, &message, &fds), 1);
	assert_int_equal(fds.n, n_fds);
	ipc_close_fds(&fds);
	return message.number;
}

static void answer(uint64_t number, int error)
{
	int fds[IPC_FDS_MAX] = { 0, -1, -1, -1, -1, -1, -1, -1 };
	requester_answer(&requester, number, &(struct message_answer){ .error = error }, fds);
}

/* What a turn of the loop does. */
static void pass_us(uint64_t us)
{
	loop.now_us += us;
	for (struct timer *timer; (timer = timers_pop(&loop.timers, loop.now_us));)
		timer->fired(timer);
}

static void answers_find_their_requests_in_any_order(void **state)
{
	static const unsigned order[REQUESTS] = { 3, 0, 4, 1, 2 };
	uint64_t numbers[REQUESTS];

	ask_all();
	for (unsigned i = 0; i < REQUESTS; i++)
		numbers[i] = next_number(0);
	for (unsigned i = 0; i < REQUESTS; i++) {
		answer(numbers[order[i]], -(int)order[i] - 1);
		assert_int_equal(asked[order[i]].answers, 1);
		assert_int_equal(asked[order[i]].error, -(int)order[i] - 1);
		assert_int_equal(requester_waits(&requester), i + 1 < REQUESTS);
	}
	for (unsigned i = 0; i < REQUESTS; i++)
		assert_int_equal(asked[i].answers, 1);
}

static void the_answer_after_one_that_was_lost_is_not_taken_for_it(void **state)
{
	ask_all();
	uint64_t lost = next_number(0), second = next_number(0);
	answer(second, 0);
	assert_int_equal(asked[0].answers, 0);
	assert_int_equal(asked[1].answers, 1);
	assert_true(asked[1].has_fd);
	pass_us(REQUESTER_US - 1);
	assert_int_equal(asked[0].answers, 0);
	pass_us(1);
	assert_int_equal(asked[0].answers, 1);
	assert_int_equal(asked[0].error, -ETIMEDOUT);
	assert_false(asked[0].has_fd);
	answer(lost, 0); /* it comes after all */
	assert_int_equal(asked[0].answers, 1);
}

static void answers_to_unknown_numbers_are_dropped(void **state)
{
	ask_all();
	answer(12345, 0);
	answer(UINT64_MAX, 0);
	for (unsigned i = 0; i < REQUESTS; i++)
		assert_int_equal(asked[i].answers, 0);
	uint64_t first = next_number(0);
	answer(first, 0);
	answer(first, 0);
	assert_int_equal(asked[0].answers, 1);
	assert_int_equal(asked[1].answers, 0);
}

static void each_request_has_its_own_deadline(void **state)
{
	for (unsigned i = 0; i < REQUESTS; i++) {
		assert_int_equal(ask(i, -1), 0);
		pass_us(1000);
	}
	pass_us(REQUESTER_US - REQUESTS * 1000);
	for (unsigned i = 0; i < REQUESTS; i++) {
		for (unsigned k = 0; k < REQUESTS; k++)
			assert_int_equal(asked[k].answers, k <= i);
		pass_us(1000);
	}
	assert_false(requester_waits(&requester));
	assert_int_equal(timers_next_us(&loop.timers), UINT64_MAX);
}

static void a_request_is_not_sent_after_its_deadline(void **state)
{
	unsigned n = 0;

	while (!outbox_waits(&outbox) && n < 100000) { /* until the channel is full */
		assert_int_equal(ask(0, 0), 0);
		requester_answer(&requester, requester.last_number, &(struct message_answer){ 0 }, (int[8]){ 0 });
		n++;
	}
	assert_int_equal(ask(1, 0), 0);
	pass_us(REQUESTER_US);
	assert_int_equal(asked[1].error, -ETIMEDOUT);
	while (n-- > 1)
		next_number(1);
	outbox_flush(&outbox);
	next_number(1); /* the one that was answered before it was sent */
	struct message message;
	struct ipc_fds fds;
	assert_int_equal(message_receive(ends[1], true, &message, &fds), -EAGAIN);
}

static void without_a_master_nothing_can_be_asked_and_what_was_asked_ends(void **state)
{
	ask_all();
	assert_false(requester_is_orphaned(&requester));
	outbox_close(&outbox);
	requester_orphaned(&requester);
	for (unsigned i = 0; i < REQUESTS; i++) {
		assert_int_equal(asked[i].answers, 1);
		assert_int_equal(asked[i].error, -EPIPE);
	}
	assert_true(requester_is_orphaned(&requester));
	assert_int_equal(ask(0, -1), -EPIPE);
	assert_int_equal(asked[0].answers, 0);
	assert_false(requester_waits(&requester));
}

static struct asked again;

static void answered_and_asks_again(
	struct request *request, const struct message_answer *answer, int fds[IPC_FDS_MAX])
{
	struct asked *one = container_of(request, struct asked, request);

	one->answers++;
	assert_int_equal(
		requester_ask(&requester, &again.request, &(struct message){ .kind = MESSAGE_SPAWN }, -1), 0);
}

static void whoever_is_answered_may_ask_again(void **state)
{
	again = (struct asked){ .request = { .answered = answered } };
	asked[0] = (struct asked){ .request = { .answered = answered_and_asks_again } };
	assert_int_equal(
		requester_ask(&requester, &asked[0].request, &(struct message){ .kind = MESSAGE_SPAWN }, -1), 0);
	pass_us(REQUESTER_US);
	assert_int_equal(asked[0].answers, 1);
	assert_int_equal(again.answers, 0);
	pass_us(REQUESTER_US);
	assert_int_equal(again.answers, 1);
}

static void requests_to_a_busy_master_have_longer(void **state)
{
	assert_int_equal(ask(0, -1), 0);
	pass_us(REQUESTER_US - 1);
	requester_extend(&requester, 5000);
	assert_int_equal(ask(1, -1), 0);
	pass_us(4000);
	assert_int_equal(ask(2, -1), 0);
	pass_us(REQUESTER_US + 999);
	assert_true(requester_waits(&requester) && asked[0].answers + asked[1].answers + asked[2].answers == 0);
	pass_us(1);
	assert_int_equal(asked[0].error, -ETIMEDOUT);
	assert_int_equal(asked[1].error, -ETIMEDOUT);
	assert_int_equal(asked[2].answers, 0);
	pass_us(4000);
	assert_int_equal(asked[2].error, -ETIMEDOUT);
}

static void the_first_answer_ends_the_longer_time_of_all(void **state)
{
	assert_int_equal(ask(0, -1), 0);
	requester_extend(&requester, 100 * (uint64_t)REQUESTER_US);
	assert_int_equal(ask(1, -1), 0);
	assert_int_equal(ask(2, -1), 0);
	pass_us(50 * (uint64_t)REQUESTER_US);
	next_number(0);
	answer(next_number(0), 0);
	assert_int_equal(asked[1].answers, 1);
	pass_us(1000);
	assert_int_equal(ask(3, -1), 0);
	pass_us(REQUESTER_US - 1001);
	assert_int_equal(asked[0].answers + asked[2].answers, 0);
	pass_us(1); /* the answers to these were lost */
	assert_int_equal(asked[0].error, -ETIMEDOUT);
	assert_int_equal(asked[2].error, -ETIMEDOUT);
	assert_int_equal(asked[3].answers, 0);
	pass_us(1000);
	assert_int_equal(asked[3].error, -ETIMEDOUT);
	assert_int_equal(timers_next_us(&loop.timers), UINT64_MAX);
}

#define REQUESTER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		REQUESTER_TEST(answers_find_their_requests_in_any_order),
		REQUESTER_TEST(the_answer_after_one_that_was_lost_is_not_taken_for_it),
		REQUESTER_TEST(answers_to_unknown_numbers_are_dropped),
		REQUESTER_TEST(each_request_has_its_own_deadline),
		REQUESTER_TEST(a_request_is_not_sent_after_its_deadline),
		REQUESTER_TEST(without_a_master_nothing_can_be_asked_and_what_was_asked_ends),
		REQUESTER_TEST(whoever_is_answered_may_ask_again),
		REQUESTER_TEST(requests_to_a_busy_master_have_longer),
		REQUESTER_TEST(the_first_answer_ends_the_longer_time_of_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
