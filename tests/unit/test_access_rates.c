/* The file of rates that usher-access keeps between its short lives: what a rate lets in, what is free again, and files that are none. */
#include "access_rates.h"
#include "token_bucket.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000ULL
#define HOUR   (3600 * SECOND)
/* Of a record: an hour, and what the clocks of two processes are apart. */
#define FURTHEST ((int64_t)(HOUR + TOKEN_BUCKET_SKEW_US))
#define RECORDS  (1024 * 32)
#define SIZE     (32 + RECORDS * 16)

static char directory[] = "/tmp/usher-test-XXXXXX", path[64];
static const struct access_rate thrice = { .burst = 3, .each_us = 10 * SECOND };

/* ---- between the file and the kernel --------------------------------------------------------------------------------------- */

static unsigned n_pauses, n_locks, writes_left;
static int lock_error;

int __wrap_nanosleep(const struct timespec *pause, struct timespec *left);
int __wrap_nanosleep(const struct timespec *pause, struct timespec *left)
{
	assert_int_equal(pause->tv_sec, 0);
	assert_int_equal(pause->tv_nsec, 10000000);
	n_pauses++;
	return 0;
}

int __real_flock(int fd, int how);
int __wrap_flock(int fd, int how);
int __wrap_flock(int fd, int how)
{
	assert_int_equal(how, LOCK_EX | LOCK_NB);
	n_locks++;
	if (lock_error) {
		errno = lock_error;
		lock_error = 0;
		return -1;
	}
	return __real_flock(fd, how);
}

/* By whichever name the C library's header has it. */
ssize_t __real_pwrite64(int fd, const void *bytes, size_t len, off64_t at);
ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t len, off64_t at);
ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t len, off64_t at)
{
	return writes_left-- ? __real_pwrite64(fd, bytes, len, at) : (ssize_t)len - 1;
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t len, off_t at)
{
	return __wrap_pwrite64(fd, bytes, len, at);
}

static int setup(void **state)
{
	strcpy(directory + strlen("/tmp/usher-test-"), "XXXXXX");
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/rates", directory);
	n_pauses = n_locks = 0;
	lock_error = 0;
	writes_left = 1u << 30;
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	return rmdir(directory);
}

static int take(uint64_t source, uint64_t now_us)
{
	return access_rates_take(path, &thrice, "ssh", source, now_us);
}

static off_t file_size(void)
{
	struct stat status;

	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	return status.st_size;
}

/* A file of ours in which every record is another source's, which has its next turn at this moment, but for one in each bucket. */
static void file_full_but(size_t free_one, uint64_t full_us)
{
	const uint64_t record[2] = { 7, full_us }, none[2] = { 0 };
	FILE *to = fopen(path, "w");

	fwrite("usher-rates-001\0\1\2\3\4\5\6\7\10\1\2\3\4\5\6\7\10", 1, 32, to);
	for (size_t i = 0; i < RECORDS; i++)
		fwrite(i % 32 == free_one ? none : record, sizeof(record), 1, to);
	assert_int_equal(fclose(to), 0);
	chmod(path, 0600);
}

static void file_full_of(uint64_t full_us)
{
	file_full_but(32, full_us);
}

/* ---- rates ----------------------------------------------------------------------------------------------------------------- */

static void a_burst_comes_in_and_then_one_at_a_time(void **state)
{
	uint64_t now_us = 100 * SECOND;

	for (int i = 0; i < 3; i++)
		assert_int_equal(take(1, now_us), 1);
	assert_int_equal(take(1, now_us), 0);
	assert_int_equal(file_size(), SIZE);
	assert_int_equal(take(1, now_us + 10 * SECOND - 1), 0);
	assert_int_equal(take(1, now_us + 10 * SECOND), 1);
	assert_int_equal(take(1, now_us + 10 * SECOND), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(take(1, now_us + 100 * SECOND), 1);
	assert_int_equal(take(1, now_us + 100 * SECOND), 0);
	assert_int_equal(n_pauses, 0);
}

static void each_source_of_each_protocol_under_each_rate_has_its_own(void **state)
{
	const struct access_rate slower = { .burst = 3, .each_us = 11 * SECOND },
				 wider = { .burst = 4, .each_us = 10 * SECOND };

	for (int i = 0; i < 4; i++)
		assert_int_equal(take(1, SECOND), i < 3);
	assert_int_equal(take(2, SECOND), 1);
	assert_int_equal(access_rates_take(path, &thrice, "tls", 1, SECOND), 1);
	assert_int_equal(access_rates_take(path, &thrice, "", 1, SECOND), 1);
	assert_int_equal(access_rates_take(path, &slower, "ssh", 1, SECOND), 1);
	assert_int_equal(access_rates_take(path, &wider, "ssh", 1, SECOND), 1);
	assert_int_equal(take(1, SECOND), 0);
}

static void a_moment_from_before_a_restart_is_none(void **state)
{
	for (int i = 0; i < 4; i++)
		assert_int_equal(take(1, 100000 * SECOND), i < 3);
	for (int i = 0; i < 4; i++)
		assert_int_equal(take(1, 5 * SECOND), i < 3);
}

static void the_furthest_moment_that_a_rate_can_bring_about_counts(void **state)
{
	for (int i = 0; i < 3; i++)
		assert_int_equal(take(1, 100 * SECOND), 1);
	/* 30 s are owed. A process that is behind finds that too; what is further off was from before a restart. */
	assert_int_equal(take(1, 100 * SECOND), 0);
	assert_int_equal(take(1, 100 * SECOND - TOKEN_BUCKET_SKEW_US), 0);
	assert_int_equal(take(1, 100 * SECOND - TOKEN_BUCKET_SKEW_US - 1), 1);
}

static void a_bucket_that_is_full_lets_no_other_source_in(void **state)
{
	static const struct {
		int64_t after_us;
		int admitted;
	} cases[] = { { 1, 0 }, { 0, 1 }, { -1, 1 }, { FURTHEST, 0 }, { FURTHEST + 1, 1 } };
	const uint64_t now_us = 2 * HOUR;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		file_full_of(now_us + (uint64_t)cases[i].after_us);
		for (uint64_t source = 1; source < 20; source++)
			assert_int_equal(take(source, now_us), cases[i].admitted);
		for (int k = 0; k < 2 && cases[i].admitted; k++)
			assert_int_equal(take(1, now_us), 1);
		assert_int_equal(take(1, now_us), 0);
	}
}

static void any_record_of_a_bucket_may_be_the_free_one(void **state)
{
	for (size_t i = 0; i < 32; i++) {
		file_full_but(i, HOUR + 1);
		assert_int_equal(take(1, HOUR), 1);
	}
}

static void a_source_finds_its_record_again(void **state)
{
	enum { SOURCES = 4000 };
	unsigned in = 0;

	for (uint64_t source = 1; source <= SOURCES; source++)
		in += take(source, SECOND) == 1;
	assert_int_equal(in, SOURCES); /* four in each bucket, as a rule */
	for (uint64_t source = 1; source <= SOURCES; source++)
		assert_int_equal(take(source, SECOND), 1);
	for (uint64_t source = 1; source <= SOURCES; source++)
		assert_int_equal(take(source, SECOND), 1);
	for (uint64_t source = 1; source <= SOURCES; source++)
		assert_int_equal(take(source, SECOND), 0);
}

/* ---- files ----------------------------------------------------------------------------------------------------------------- */

static void a_file_that_is_none_of_ours_is_made_anew(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = { { "", 0 }, { "usher-rates-001", 16 }, { "usher-rates-002\0seed and seed...", 32 },
		{ "a text that is longer than a header, and then some\n", 51 } };
	char first[32], second[32];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		FILE *to = fopen(path, "w");
		fwrite(cases[i].bytes, 1, cases[i].len, to);
		fclose(to);
		chmod(path, 0600);
		assert_int_equal(take(1, SECOND), 1);
		assert_int_equal(file_size(), SIZE);
		int fd = open(path, O_RDONLY);
		assert_int_equal(read(fd, i ? second : first, 32), 32);
		close(fd);
		assert_memory_equal(i ? second : first, "usher-rates-001", 16);
	}
	assert_memory_not_equal(first + 16, second + 16, 16); /* under another seed each time */
}

static void nothing_of_such_a_file_is_left(void **state)
{
	file_full_of(SECOND + 1);
	int fd = open(path, O_WRONLY);
	assert_int_equal(write(fd, "U", 1), 1);
	close(fd);
	assert_int_equal(take(1, SECOND), 1);
}

static void what_is_missing_of_a_file_is_free(void **state)
{
	file_full_of(SECOND + 1);
	assert_int_equal(truncate(path, 32), 0);
	assert_int_equal(take(1, SECOND), 1);
	assert_int_equal(take(1, SECOND), 1);
	assert_int_equal(take(1, SECOND), 1);
	assert_int_equal(take(1, SECOND), 0);
}

static void what_cannot_be_such_a_file_is_an_error(void **state)
{
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(take(1, SECOND), -EINVAL);
	unlink(path);
	assert_int_equal(symlink("/dev/null", path), 0);
	assert_int_equal(take(1, SECOND), -ELOOP);
	unlink(path);
	assert_int_equal(access_rates_take(directory, &thrice, "ssh", 1, SECOND), -EISDIR);
	assert_int_equal(access_rates_take("/does/not/exist", &thrice, "ssh", 1, SECOND), -ENOENT);
}

static void a_lock_is_waited_for_and_not_for_ever(void **state)
{
	assert_int_equal(take(1, SECOND), 1);
	int other = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(__real_flock(other, LOCK_EX | LOCK_NB), 0);
	n_locks = 0;
	assert_int_equal(take(1, SECOND), -EBUSY);
	assert_int_equal(n_locks, 200);
	assert_int_equal(n_pauses, 200);
	close(other);
	assert_int_equal(take(1, SECOND), 1);
	lock_error = EINTR;
	assert_int_equal(take(1, SECOND), 1);
	lock_error = ENOLCK;
	assert_int_equal(take(1, SECOND), -ENOLCK);
	assert_int_equal(n_pauses, 201);
}

static void a_disk_that_is_full_is_an_error(void **state)
{
	writes_left = 0;
	assert_int_equal(take(1, SECOND), -EIO);
	writes_left = 1; /* the header */
	assert_int_equal(take(1, SECOND), -EIO);
	writes_left = 0;
	assert_int_equal(take(1, SECOND), -EIO);
	writes_left = 2;
	assert_int_equal(take(1, SECOND), 1);
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(a_burst_comes_in_and_then_one_at_a_time),
		UNIT(each_source_of_each_protocol_under_each_rate_has_its_own),
		UNIT(a_moment_from_before_a_restart_is_none),
		UNIT(the_furthest_moment_that_a_rate_can_bring_about_counts),
		UNIT(a_bucket_that_is_full_lets_no_other_source_in),
		UNIT(any_record_of_a_bucket_may_be_the_free_one),
		UNIT(a_source_finds_its_record_again),
		UNIT(a_file_that_is_none_of_ours_is_made_anew),
		UNIT(nothing_of_such_a_file_is_left),
		UNIT(what_is_missing_of_a_file_is_free),
		UNIT(what_cannot_be_such_a_file_is_an_error),
		UNIT(a_lock_is_waited_for_and_not_for_ever),
		UNIT(a_disk_that_is_full_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
