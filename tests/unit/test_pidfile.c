/* The pid file in a directory that others can write: what is planted there is neither followed nor changed, a
 * stale file is replaced, a living owner is respected, and of several that start at once exactly one wins. */
#include "pidfile.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define STARTERS 8

static char directory[64], path[96], other[96];

static int setup(void **state)
{
	strcpy(directory, "/tmp/usher-pidfile-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/pid", directory);
	snprintf(other, sizeof(other), "%s/other", directory);
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	unlink(other);
	rmdir(path);
	return rmdir(directory); /* fails where a temporary file was left behind */
}

static void put_file(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static const char *get_file(const char *name)
{
	static char text[128];
	FILE *file = fopen(name, "r");

	assert_non_null(file);
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	return text;
}

static const char *own_text(void)
{
	static char text[32];

	snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	return text;
}

/* A pid that ran and runs no more. */
static long dead_pid(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	return pid;
}

static void a_new_one_holds_our_pid_and_is_removed(void **state)
{
	struct stat status;
	long pid = -7;

	assert_int_equal(pidfile_write(path, &pid), 0);
	assert_int_equal(pid, -7);
	assert_string_equal(get_file(path), own_text());
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0644);
	pidfile_remove(path);
	assert_int_equal(access(path, F_OK), -1);
	pidfile_remove(path);
	pidfile_remove(NULL);
}

static void a_stale_one_is_replaced(void **state)
{
	char dead[32];
	const char *const texts[] = { dead, "", "\n", "rubbish\n", "-1\n", "0\n", "1x\n", "999999999999999999999\n",
		"1 1\n", "1111111111111111111111111111111111111111111111111111111111111111", own_text() };
	long pid = -7;

	snprintf(dead, sizeof(dead), "%ld\n", dead_pid());
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		put_file(path, texts[i]);
		assert_int_equal(pidfile_write(path, &pid), 0);
		assert_string_equal(get_file(path), own_text());
	}
	assert_int_equal(pid, -7);
}

static void a_living_owner_is_respected(void **state)
{
	char text[32];
	long pid = 0;
	pid_t owner = fork();

	if (owner == 0) {
		pause();
		_exit(0);
	}
	snprintf(text, sizeof(text), "%ld\n", (long)owner);
	put_file(path, text);
	int result = pidfile_write(path, &pid);
	pidfile_remove(path); /* not ours: stays */
	kill(owner, SIGKILL);
	waitpid(owner, NULL, 0);
	assert_int_equal(result, -EEXIST);
	assert_int_equal(pid, owner);
	assert_string_equal(get_file(path), text);
	assert_int_equal(pidfile_write(path, &pid), 0);
}

static void a_symbolic_link_is_not_followed(void **state)
{
	long pid;

	put_file(other, "precious");
	assert_int_equal(symlink(other, path), 0);
	assert_int_equal(pidfile_write(path, &pid), -ELOOP);
	put_file(other, own_text());
	pidfile_remove(path);
	assert_string_equal(get_file(other), own_text());
	assert_int_equal(unlink(path), 0);

	unlink(other);
	assert_int_equal(symlink(other, path), 0); /* dangling: nothing is made at its end */
	assert_int_equal(pidfile_write(path, &pid), -ELOOP);
	assert_int_equal(access(other, F_OK), -1);
}

static void a_hard_link_is_replaced_and_its_file_unchanged(void **state)
{
	long pid;

	put_file(other, "precious");
	assert_int_equal(link(other, path), 0);
	assert_int_equal(pidfile_write(path, &pid), 0);
	assert_string_equal(get_file(other), "precious");
	assert_string_equal(get_file(path), own_text());
}

static void what_is_no_file_is_refused(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	long pid;

	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(pidfile_write(path, &pid), -EINVAL);
	rmdir(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(pidfile_write(path, &pid), -EINVAL);
	pidfile_remove(path);
	unlink(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	memcpy(address.sun_path, path, strlen(path) + 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(pidfile_write(path, &pid), -EINVAL);
	close(fd);
}

static void a_directory_that_is_not_there_is_an_error(void **state)
{
	char missing[128], *too_long = malloc(6000);
	long pid;

	snprintf(missing, sizeof(missing), "%s/missing/pid", directory);
	assert_int_equal(pidfile_write(missing, &pid), -ENOENT);
	memset(too_long, 'a', 5999);
	too_long[5999] = '\0';
	assert_int_equal(pidfile_write(too_long, &pid), -ENAMETOOLONG);
	free(too_long);
}

static void of_several_that_start_at_once_one_wins(void **state)
{
	for (int round = 0; round < 50; round++) {
		int gate[2], hold[2], won = 0, held = 0;
		pid_t children[STARTERS];
		assert_int_equal(pipe(gate), 0);
		assert_int_equal(pipe(hold), 0);
		for (int i = 0; i < STARTERS; i++) {
			children[i] = fork();
			if (children[i] > 0)
				continue;
			char byte;
			long pid;
			close(gate[1]);
			close(hold[0]);
			if (read(gate[0], &byte, 1) != 0)
				_exit(9);
			int result = pidfile_write(path, &pid);
			byte = result == 0 ? 'w' : result == -EEXIST ? 'h' : '?';
			if (write(hold[1], &byte, 1) != 1)
				_exit(9);
			pause(); /* alive until all have tried */
			_exit(0);
		}
		close(gate[0]);
		close(hold[1]);
		close(gate[1]);
		for (int i = 0; i < STARTERS; i++) {
			char byte = 0;
			assert_int_equal(read(hold[0], &byte, 1), 1);
			won += byte == 'w';
			held += byte == 'h';
		}
		close(hold[0]);
		for (int i = 0; i < STARTERS; i++) {
			kill(children[i], SIGKILL);
			waitpid(children[i], NULL, 0);
		}
		assert_int_equal(won, 1);
		assert_int_equal(held, STARTERS - 1);
		unlink(path);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_new_one_holds_our_pid_and_is_removed),
		TEST(a_stale_one_is_replaced),
		TEST(a_living_owner_is_respected),
		TEST(a_symbolic_link_is_not_followed),
		TEST(a_hard_link_is_replaced_and_its_file_unchanged),
		TEST(what_is_no_file_is_refused),
		TEST(a_directory_that_is_not_there_is_an_error),
		TEST(of_several_that_start_at_once_one_wins),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
