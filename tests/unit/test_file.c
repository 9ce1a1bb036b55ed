/* Files that others put in place: whatever it is, reading it ends at once. */
#include "fd.h"
#include "file.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/usher-file-XXXXXX";
static char path[64];

static int folder_make(void **state)
{
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/file", folder);
	return 0;
}

static int folder_remove(void **state)
{
	return rmdir(folder);
}

static int path_remove(void **state)
{
	unlink(path);
	return 0;
}

static void write_file(const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	fd_close(fd);
}

static void regular_files_are_read_whole(void **state)
{
	static const size_t sizes[] = { 0, 1, 16382, 16383, 16384, 16385, 100000 };
	char bytes[100000], *text;
	size_t len;

	memset(bytes, 'x', sizeof(bytes));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		write_file(bytes, sizes[i]);
		assert_int_equal(file_read(path, sizeof(bytes), &text, &len), 0);
		assert_int_equal(len, sizes[i]);
		assert_memory_equal(text, bytes, len);
		assert_int_equal(text[len], 0);
		free(text);
	}
	assert_int_equal(file_read(path, sizeof(bytes) - 1, &text, &len), -EFBIG);
}

static void the_null_device_is_an_empty_file(void **state)
{
	char *text;
	size_t len;

	assert_int_equal(file_read("/dev/null", 10, &text, &len), 0);
	assert_int_equal(len, 0);
	free(text);
}

static void what_is_not_a_file_is_refused_at_once(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char *text;
	size_t len;

	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(file_read(path, 10, &text, &len), -EMEDIUMTYPE);
	unlink(path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(address.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(file_read(path, 10, &text, &len), -EMEDIUMTYPE);
	fd_close(fd);
	assert_int_equal(file_read(folder, 10, &text, &len), -EISDIR);
	assert_int_equal(file_read("/dev/zero", 10, &text, &len), -EMEDIUMTYPE);
	assert_int_equal(file_read("/dev/ptmx", 10, &text, &len), -EMEDIUMTYPE);
	assert_string_equal(file_error(-EMEDIUMTYPE), "it is not a regular file");
	unlink(path);
	assert_int_equal(file_read(path, 10, &text, &len), -ENOENT);
}

static void a_lease_is_not_waited_for(void **state)
{
	char *text;
	size_t len;

	write_file("x", 1);
	int fd = open(path, O_RDWR);
	if (fcntl(fd, F_SETSIG, 0) < 0 || fcntl(fd, F_SETLEASE, F_WRLCK) < 0) {
		fd_close(fd);
		skip(); /* a file system without leases */
	}
	/* The kernel asks the holder to give it up, by SIGIO. */
	signal(SIGIO, SIG_IGN);
	assert_int_equal(file_read(path, 10, &text, &len), -EAGAIN);
	signal(SIGIO, SIG_DFL);
	fcntl(fd, F_SETLEASE, F_UNLCK);
	fd_close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(regular_files_are_read_whole, path_remove),
		cmocka_unit_test(the_null_device_is_an_empty_file),
		cmocka_unit_test_teardown(what_is_not_a_file_is_refused_at_once, path_remove),
		cmocka_unit_test_teardown(a_lease_is_not_waited_for, path_remove),
	};
	return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
