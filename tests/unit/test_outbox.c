/* Messages that the channel does not take at once: the kernel's errors are the test's, by a sendmsg() of its own. */
#include "fd.h"
#include "outbox.h"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int failing; /* errno; 0: none */
static unsigned n_tried;

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	n_tried++;
	if (failing) {
		errno = failing;
		return -1;
	}
	return ((__typeof__(&sendmsg))dlsym(RTLD_NEXT, "sendmsg"))(fd, message, flags);
}

static struct loop loop;
static struct outbox outbox;
static int ends[2];
static unsigned n_emptied;
static size_t fds_before;

static size_t count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void emptied(struct outbox *of)
{
	assert_ptr_equal(of, &outbox);
	n_emptied++;
	loop_stop(&loop);
}

static int setup(void **state)
{
	failing = 0;
	n_tried = n_emptied = 0;
	fds_before = count_fds();
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(ipc_pair(ends), 0);
	loop.now_us = clock_monotonic_us();
	outbox_init(&outbox, &loop, ends[0], emptied);
	return 0;
}

static int teardown(void **state)
{
	outbox_close(&outbox);
	fd_close(ends[0]);
	fd_close(ends[1]);
	loop_fini(&loop);
	assert_int_equal(count_fds(), fds_before);
	return 0;
}

static int send_one(uint64_t number, const int *fds, size_t n)
{
	return outbox_send(&outbox, &(struct message){ .kind = MESSAGE_ANSWER, .number = number }, fds, n);
}

static void assert_comes(uint64_t number, size_t n_fds)
{
	struct message message;
	struct ipc_fds fds;

	assert_int_equal(message_receive(ends[1], false, &message, &fds), 1);
	assert_int_equal(message.number, number);
	assert_int_equal(fds.n, n_fds);
	ipc_close_fds(&fds);
}

static void assert_nothing_comes(void)
{
	struct message message;
	struct ipc_fds fds;
	assert_int_equal(message_receive(ends[1], false, &message, &fds), -EAGAIN);
}

static void what_goes_at_once_is_not_kept(void **state)
{
	assert_int_equal(send_one(1, (int[]){ 0 }, 1), 0);
	assert_false(outbox_waits(&outbox));
	assert_comes(1, 1);
}

static void what_the_kernel_refuses_for_a_while_goes_later_in_order_with_its_descriptors(void **state)
{
	static const int errors[] = { ENOBUFS, ENOMEM, ETOOMANYREFS };

	for (size_t i = 0; i < 3; i++) {
		int fds[2];
		assert_int_equal(pipe2(fds, 0), 0);
		failing = errors[i];
		assert_int_equal(send_one(1, fds, 2), 0);
		fd_close(fds[0]); /* they stay the caller's */
		fd_close(fds[1]);
		failing = 0;
		assert_int_equal(send_one(2, NULL, 0), 0); /* not before the first */
		assert_nothing_comes();
		loop.stopping = false;
		assert_int_equal(loop_run(&loop), 0); /* until all is sent: no event of the channel's tells */
		assert_int_equal(n_emptied, i + 1);
		assert_comes(1, 2);
		assert_comes(2, 0);
		assert_false(outbox_waits(&outbox));
	}
}

static void a_full_channel_is_tried_again_when_it_has_room(void **state)
{
	failing = EAGAIN;
	for (uint64_t i = 1; i <= 10; i++)
		assert_int_equal(send_one(i, NULL, 0), 0);
	assert_int_equal(n_tried, 1); /* behind the first nothing is */
	outbox_flush(&outbox);
	assert_true(outbox_waits(&outbox));
	failing = 0;
	outbox_flush(&outbox);
	assert_false(outbox_waits(&outbox));
	for (uint64_t i = 1; i <= 10; i++)
		assert_comes(i, 0);
	assert_int_equal(n_emptied, 0);
}

static void a_peer_that_is_gone_is_told_of_and_keeps_nothing(void **state)
{
	failing = EAGAIN;
	assert_int_equal(send_one(1, (int[]){ 0 }, 1), 0);
	failing = EPIPE;
	outbox_flush(&outbox);
	assert_false(outbox_waits(&outbox));
	assert_int_equal(send_one(2, NULL, 0), -EPIPE);
	outbox_close(&outbox);
	failing = 0;
	assert_int_equal(send_one(3, NULL, 0), -EPIPE);
	assert_nothing_comes();
}

static void a_descriptor_that_cannot_be_kept_is_told_of(void **state)
{
	failing = ENOBUFS;
	assert_int_equal(send_one(1, (int[]){ 0, 1000000 }, 2), -EBADF);
	assert_false(outbox_waits(&outbox));
}

static void a_request_that_is_withdrawn_is_not_sent(void **state)
{
	failing = EAGAIN;
	for (uint64_t i = 1; i <= 3; i++)
		assert_int_equal(send_one(i, (int[]){ 0 }, 1), 0);
	outbox_withdraw(&outbox, 3);
	outbox_withdraw(&outbox, 1);
	outbox_withdraw(&outbox, 77);
	assert_int_equal(send_one(4, NULL, 0), 0);
	failing = 0;
	outbox_flush(&outbox);
	assert_comes(2, 1);
	assert_comes(4, 0);
	assert_nothing_comes();
}

#define OUTBOX_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		OUTBOX_TEST(what_goes_at_once_is_not_kept),
		OUTBOX_TEST(what_the_kernel_refuses_for_a_while_goes_later_in_order_with_its_descriptors),
		OUTBOX_TEST(a_full_channel_is_tried_again_when_it_has_room),
		OUTBOX_TEST(a_peer_that_is_gone_is_told_of_and_keeps_nothing),
		OUTBOX_TEST(a_descriptor_that_cannot_be_kept_is_told_of),
		OUTBOX_TEST(a_request_that_is_withdrawn_is_not_sent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
