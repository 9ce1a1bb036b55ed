/* Messages with descriptors beside them: what is sent arrives, what is cut off leaves nothing open. */
#include "fd.h"
#include "ipc.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static bool is_same_file(int a, int b)
{
	struct stat first, second;

	return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
		first.st_ino == second.st_ino;
}

static void both_ends_are_close_on_exec_and_do_not_wait(void **state)
{
	struct ipc_fds fds;
	int ends[2];
	char byte;

	assert_int_equal(ipc_pair(ends), 0);
	for (int i = 0; i < 2; i++) {
		assert_true(fcntl(ends[i], F_GETFD) & FD_CLOEXEC);
		assert_true(fcntl(ends[i], F_GETFL) & O_NONBLOCK);
	}
	assert_int_equal(ipc_receive(ends[0], &byte, 1, &fds), -EAGAIN);
	for (int i = 0; i < IPC_FDS_MAX; i++)
		assert_int_equal(fds.fd[i], -1);
	fd_close(ends[0]);
	fd_close(ends[1]);
}

static void messages_keep_their_bounds_and_descriptors(void **state)
{
	struct ipc_fds fds;
	int ends[2], pipes[IPC_FDS_MAX];
	char buffer[16];
	size_t before = count_fds();

	assert_int_equal(ipc_pair(ends), 0);
	for (int i = 0; i < IPC_FDS_MAX; i += 2)
		assert_int_equal(pipe2(pipes + i, O_CLOEXEC), 0);
	for (size_t n = 0; n <= IPC_FDS_MAX; n++)
		assert_int_equal(ipc_send(ends[0], "a message", n + 1, pipes, n), 0);
	for (size_t n = 0; n <= IPC_FDS_MAX; n++) {
		assert_int_equal(ipc_receive(ends[1], buffer, sizeof(buffer), &fds), n + 1);
		assert_memory_equal(buffer, "a message", n + 1);
		for (size_t i = 0; i < IPC_FDS_MAX; i++) {
			if (i >= n) {
				assert_int_equal(fds.fd[i], -1);
				continue;
			}
			assert_true(is_same_file(fds.fd[i], pipes[i]));
			assert_true(fcntl(fds.fd[i], F_GETFD) & FD_CLOEXEC);
			fd_close(fds.fd[i]);
		}
	}
	for (int i = 0; i < IPC_FDS_MAX; i++)
		fd_close(pipes[i]);
	fd_close(ends[0]);
	fd_close(ends[1]);
	assert_int_equal(count_fds(), before);
}

static void a_message_too_long_leaves_nothing_open(void **state)
{
	struct ipc_fds fds;
	int ends[2], sent[2] = { 0, 1 };
	char buffer[4];

	assert_int_equal(ipc_pair(ends), 0);
	size_t before = count_fds();
	assert_int_equal(ipc_send(ends[0], "too long", 8, sent, 2), 0);
	assert_int_equal(ipc_receive(ends[1], buffer, sizeof(buffer), &fds), -EMSGSIZE);
	assert_int_equal(fds.fd[0], -1);
	assert_int_equal(count_fds(), before);
	fd_close(ends[0]);
	fd_close(ends[1]);
}

#define TOO_MANY (IPC_FDS_MAX + 2)

static void too_many_descriptors_leave_nothing_open(void **state)
{
	struct ipc_fds fds;
	int ends[2];
	char buffer[4], control[CMSG_SPACE(TOO_MANY * sizeof(int))] = { 0 };
	struct iovec part = { .iov_base = buffer, .iov_len = 1 };
	struct msghdr header = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&header);

	buffer[0] = 'x';
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(TOO_MANY * sizeof(int));
	memcpy(CMSG_DATA(rights), (int[TOO_MANY]){ 0 }, TOO_MANY * sizeof(int));
	assert_int_equal(ipc_pair(ends), 0);
	size_t before = count_fds();
	assert_int_equal(sendmsg(ends[0], &header, 0), 1);
	assert_int_equal(ipc_receive(ends[1], buffer, sizeof(buffer), &fds), 1);
	assert_true(fds.lost);
	for (int i = 0; i < IPC_FDS_MAX; i++)
		assert_int_equal(fds.fd[i], -1);
	assert_int_equal(count_fds(), before);
	fd_close(ends[0]);
	fd_close(ends[1]);
}

static void no_room_for_descriptors_is_told_and_the_message_kept(void **state)
{
	struct ipc_fds fds;
	int ends[2], sent[3] = { 0, 0, 0 };
	struct rlimit limit, low;
	char first_byte = 0, byte;

	assert_int_equal(ipc_pair(ends), 0);
	assert_int_equal(ipc_send(ends[0], "x", 1, sent, 3), 0);
	assert_int_equal(ipc_send(ends[0], "y", 1, NULL, 0), 0);
	size_t before = count_fds();
	int next = dup(0);
	fd_close(next);
	getrlimit(RLIMIT_NOFILE, &limit);
	low = limit;
	low.rlim_cur = (rlim_t)next + 1; /* room for one of the three */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	ssize_t first = ipc_receive(ends[1], &first_byte, 1, &fds);
	bool lost = fds.lost;
	ssize_t second = ipc_receive(ends[1], &byte, 1, &fds);
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_int_equal(first, 1);
	assert_true(lost);
	assert_int_equal(first_byte, 'x');
	assert_int_equal(second, 1);
	assert_int_equal(byte, 'y');
	assert_int_equal(count_fds(), before);
	fd_close(ends[0]);
	fd_close(ends[1]);
}

/* Connected to each other, with more in the way than the one that is not read takes. */
static int lingering_socket(int *ret_peer)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
	static char much[1 << 20];

	assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, len), 0);
	*ret_peer = accept(listener, NULL, NULL);
	close(listener);
	assert_int_equal(
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 100000 }, sizeof(struct linger)), 0);
	while (send(fd, much, sizeof(much), MSG_DONTWAIT) > 0)
		;
	return fd;
}

/* Where it fails the test hangs: close() waits for a hundred thousand seconds. */
static void nobody_waits_for_a_socket_that_lingers(void **state)
{
	struct ipc_fds fds;
	int ends[2], peers[3];
	char byte;

	assert_int_equal(ipc_pair(ends), 0);
	for (int i = 0; i < 2; i++) {
		int fd = lingering_socket(&peers[i]);
		assert_true(fd_lingers(fd));
		assert_int_equal(ipc_send(ends[0], "too long", i == 0 ? 1 : 8, &fd, 1), 0);
		/* our own copy: the other one is then the last */
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 100000 }, sizeof(struct linger));
		close(fd);
	}
	assert_int_equal(ipc_receive(ends[1], &byte, 1, &fds), 1);
	ipc_close_fds(&fds);
	assert_int_equal(ipc_receive(ends[1], &byte, 1, &fds), -EMSGSIZE);
	fd_close_foreign(lingering_socket(&peers[2]));
	for (int i = 0; i < 3; i++)
		close(peers[i]);
	close(ends[0]);
	close(ends[1]);
}

static void a_reset_is_one_for_the_peer(void **state)
{
	char byte;
	int peer, fd = lingering_socket(&peer);

	fd_reset(fd);
	while (recv(peer, &byte, 1, 0) > 0)
		;
	assert_int_equal(errno, ECONNRESET);
	close(peer);
	assert_int_equal(fd_reset(-1), -1);
}

static void a_full_queue_says_so_and_a_gone_peer_too(void **state)
{
	struct ipc_fds fds;
	int ends[2], error, sent = 0;
	char buffer[512] = { 0 };

	assert_int_equal(ipc_pair(ends), 0);
	while ((error = ipc_send(ends[0], buffer, sizeof(buffer), NULL, 0)) == 0)
		sent++;
	assert_int_equal(error, -EAGAIN);
	assert_true(sent > 0);
	for (int i = 0; i < sent; i++)
		assert_int_equal(ipc_receive(ends[1], buffer, sizeof(buffer), &fds), sizeof(buffer));
	assert_int_equal(ipc_send(ends[0], buffer, 1, NULL, 0), 0);
	fd_close(ends[1]); /* with a message unread: the other end would see a reset */
	assert_int_equal(ipc_send(ends[0], buffer, 1, NULL, 0), -EPIPE);
	assert_int_equal(ipc_receive(ends[0], buffer, sizeof(buffer), &fds), 0);
	fd_close(ends[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ends_are_close_on_exec_and_do_not_wait),
		cmocka_unit_test(messages_keep_their_bounds_and_descriptors),
		cmocka_unit_test(a_message_too_long_leaves_nothing_open),
		cmocka_unit_test(too_many_descriptors_leave_nothing_open),
		cmocka_unit_test(no_room_for_descriptors_is_told_and_the_message_kept),
		cmocka_unit_test(nobody_waits_for_a_socket_that_lingers),
		cmocka_unit_test(a_reset_is_one_for_the_peer),
		cmocka_unit_test(a_full_queue_says_so_and_a_gone_peer_too),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
