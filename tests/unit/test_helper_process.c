/* Processes that are forked: what they have of their parent, and that they end with it. */
#include "helper_process.h"
#include "ipc.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
// after those above
#include <cmocka.h>

struct seen {
	int error;
	bool ignores_hup, ignores_usr1, ignores_usr2, blocks;
	bool is_null[3];
	bool has_kept, has_other;
	int privileges_are_gone;
};

static bool is_ignored(int number)
{
	struct sigaction action;

	sigaction(number, NULL, &action);
	return action.sa_handler == SIG_IGN;
}

static void look(struct seen *ret, int kept, int other)
{
	sigset_t blocked;
	struct stat status;

	sigprocmask(SIG_SETMASK, NULL, &blocked);
	ret->blocks = sigismember(&blocked, SIGTERM);
	ret->ignores_hup = is_ignored(SIGHUP);
	ret->ignores_usr1 = is_ignored(SIGUSR1);
	ret->ignores_usr2 = is_ignored(SIGUSR2);
	for (int i = 0; i < 3; i++)
		ret->is_null[i] =
			fstat(i, &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3);
	ret->has_kept = fcntl(kept, F_GETFD) >= 0;
	ret->has_other = fcntl(other, F_GETFD) >= 0;
	ret->privileges_are_gone = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 && prctl(PR_GET_DUMPABLE) == 0;
}

static void receive(int channel, void *ret, size_t len)
{
	struct pollfd ready = { .fd = channel, .events = POLLIN };
	struct ipc_fds fds;

	assert_int_equal(poll(&ready, 1, 60000), 1);
	assert_int_equal(ipc_receive(channel, ret, len, &fds), (ssize_t)len);
}

/* What a child sees that began like this; descriptors 10 and 11 are open before, its channel and 10 it keeps. */
static struct seen begun(struct helper_process helper)
{
	struct seen seen = { 0 };
	int channel = -1;
	pid_t pid = helper_process_fork(&channel);

	assert_true(pid >= 0);
	if (pid == 0) {
		helper.keep = (int[]){ 10, channel };
		helper.n_keep = 2;
		seen.error = helper_process_begin(&helper);
		look(&seen, 10, 11);
		ipc_send(channel, &seen, sizeof(seen), NULL, 0);
		_exit(0);
	}
	receive(channel, &seen, sizeof(seen));
	close(channel);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(seen.error, 0);
	return seen;
}

static int setup(void **state)
{
	sigset_t blocked;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	signal(SIGHUP, SIG_DFL); /* where the tests run by nohup(1) it is ignored */
	signal(SIGUSR2, SIG_DFL);
	signal(SIGUSR1, SIG_IGN);
	dup2(2, 10);
	dup2(2, 11);
	return 0;
}

static void signals_are_as_it_says_and_none_is_blocked(void **state)
{
	static const int ignored[] = { SIGHUP, SIGUSR2 };
	struct seen seen = begun((struct helper_process){ .ignored = ignored, .n_ignored = 2 });

	assert_true(seen.ignores_hup && seen.ignores_usr2 && !seen.ignores_usr1 && !seen.blocks);
	seen = begun((struct helper_process){ 0 });
	assert_true(!seen.ignores_hup && !seen.ignores_usr2 && seen.ignores_usr1 && !seen.blocks);
}

static void other_descriptors_are_closed(void **state)
{
	for (int n = 0; n <= 3; n++) {
		struct seen seen = begun((struct helper_process){ .n_null = n });
		assert_true(seen.has_kept && !seen.has_other);
		for (int i = 0; i < n; i++)
			assert_true(seen.is_null[i]);
	}
}

static void privileges_are_dropped_where_it_says_so(void **state)
{
	assert_false(begun((struct helper_process){ 0 }).privileges_are_gone);
	assert_true(begun((struct helper_process){ .drop_privileges = true }).privileges_are_gone);
}

/* The grandchild's end of the channel closes when it ends. */
static void it_ends_with_its_parent(void **state)
{
	int channel = -1, grandchild;
	pid_t pid = helper_process_fork(&channel);

	if (pid == 0) {
		pid_t parent = getpid();
		grandchild = fork();
		if (grandchild == 0) {
			struct helper_process helper = { .parent = parent, .keep = &channel, .n_keep = 1 };
			int error = helper_process_begin(&helper);
			ipc_send(channel, &error, sizeof(error), NULL, 0);
			for (;;)
				pause();
		}
		for (;;)
			pause();
	}
	int error;
	struct ipc_fds fds;
	receive(channel, &error, sizeof(error));
	assert_int_equal(error, 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	struct pollfd end = { .fd = channel, .events = POLLIN };
	assert_int_equal(poll(&end, 1, 60000), 1);
	assert_int_equal(ipc_receive(channel, &error, sizeof(error), &fds), 0);
	close(channel);
}

static void one_whose_parent_has_ended_already_ends(void **state)
{
	int channel = -1, status;
	pid_t pid = helper_process_fork(&channel);

	if (pid == 0) {
		helper_process_begin(&(struct helper_process){ .parent = 1, .keep = &channel, .n_keep = 1 });
		_exit(7);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	close(channel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signals_are_as_it_says_and_none_is_blocked),
		cmocka_unit_test(other_descriptors_are_closed),
		cmocka_unit_test(privileges_are_dropped_where_it_says_so),
		cmocka_unit_test(it_ends_with_its_parent),
		cmocka_unit_test(one_whose_parent_has_ended_already_ends),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
