/* The logger process for real: forked, fed through its pipe by several processes, starved of disk and of
 * readers, reopened, killed and replaced. Every line arrives whole, once, or is counted. */
#include "logger.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINES_EACH 100000

static char directory[64], path[96], old_path[96];
static struct logger logger;
static const struct log_settings settings = { .level = LEVEL_INFO };

static int setup(void **state)
{
	strcpy(directory, "/tmp/usher-logger-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/log", directory);
	snprintf(old_path, sizeof(old_path), "%s/log.1", directory);
	log_setup(STDERR_FILENO, &settings);
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	unlink(old_path);
	return rmdir(directory);
}

static void start(enum log_sink sink, const char *file)
{
	assert_int_equal(logger_start(&logger, sink, file, &settings, 0, 0, false), 0);
	log_setup(logger.pipe_fd, &settings);
}

/* Closes the pipe and sees the logger end by itself. */
static void finish(void)
{
	int status;

	log_setup(STDERR_FILENO, &settings);
	logger_close(&logger);
	assert_int_equal(waitpid(logger.pid, &status, 0), logger.pid);
	assert_int_equal(status, 0);
}

static char *get_file(const char *name, size_t *ret_len)
{
	FILE *file = fopen(name, "r");
	struct stat status;

	assert_non_null(file);
	assert_int_equal(fstat(fileno(file), &status), 0);
	char *text = calloc(1, (size_t)status.st_size + 1);
	*ret_len = fread(text, 1, (size_t)status.st_size, file);
	fclose(file);
	return text;
}

/* The logger's own lines have a time: "2026-11-30T22:57:06.690Z ". */
static void drop_times(char *text)
{
	enum { LEN = 25 };

	for (char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strlen(line) > LEN && line[10] == 'T' && line[23] == 'Z')
			memmove(line, line + LEN, strlen(line + LEN) + 1);
	}
}

static void assert_file(const char *name, const char *expected)
{
	size_t len;
	char *text = get_file(name, &len);

	drop_times(text);
	assert_string_equal(text, expected);
	free(text);
}

static void wait_for_size(const char *name, off_t size)
{
	struct stat status;

	for (int i = 0; i < 60000; i++) {
		if (stat(name, &status) == 0 && status.st_size >= size)
			return;
		usleep(1000);
	}
	fail_msg("%s never had %ld bytes", name, (long)size);
}

/* Until the logger has taken everything out of the pipe and sleeps again. */
static void wait_until_idle(void)
{
	char name[64], state = '?';
	int unread = 1;

	snprintf(name, sizeof(name), "/proc/%ld/stat", (long)logger.pid);
	for (int i = 0; i < 60000 && (unread > 0 || state != 'S'); i++) {
		usleep(1000);
		ioctl(logger.read_fd, FIONREAD, &unread);
		FILE *file = fopen(name, "r");
		assert_non_null(file);
		assert_int_equal(fscanf(file, "%*d %*[^)]) %c", &state), 1);
		fclose(file);
	}
	assert_int_equal(state, 'S');
}

/* Writes as the log does, but waits where the pipe is full. */
static void put_all(int fd, const char *bytes, size_t len)
{
	while (write(fd, bytes, len) < 0) {
		if (errno != EAGAIN)
			_exit(9);
		poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 1000);
	}
}

static void write_numbered(int writer)
{
	char filler[300];

	memset(filler, 'a' + writer, sizeof(filler));
	for (unsigned i = 0; i < LINES_EACH; i++) {
		struct record record;
		record_begin(&record, LEVEL_INFO, "e");
		record_number(&record, "writer", (uint64_t)writer);
		record_number(&record, "i", i);
		record_bytes(&record, "filler", filler, i % sizeof(filler));
		record_end(&record);
		put_all(logger.pipe_fd, record.line, record.len);
	}
	_exit(0);
}

static void lines_of_two_processes_arrive_whole_and_in_order(void **state)
{
	unsigned next[2] = { 0, 0 }, writer, i;
	pid_t writers[2];
	size_t len;

	start(SINK_FILE, path);
	for (int k = 0; k < 2; k++) {
		writers[k] = fork();
		if (writers[k] == 0)
			write_numbered(k);
	}
	for (int k = 0; k < 2; k++) {
		int status;
		assert_int_equal(waitpid(writers[k], &status, 0), writers[k]);
		assert_int_equal(status, 0);
	}
	finish();
	char *text = get_file(path, &len);
	for (char *line = text, *end; line < text + len; line = end + 1) {
		int at = 0;
		end = memchr(line, '\n', (size_t)(text + len - line));
		assert_non_null(end);
		*end = '\0';
		assert_int_equal(sscanf(line, "info e writer=%u i=%u filler=%n", &writer, &i, &at), 2);
		assert_true(writer < 2 && at > 0);
		assert_int_equal(i, next[writer]++);
		size_t filler = i % 300;
		assert_int_equal(strlen(line + at), filler ? filler : 2);
		assert_int_equal(strspn(line + at, filler ? (writer ? "b" : "a") : "\""), filler ? filler : 2);
	}
	free(text);
	assert_int_equal(next[0], LINES_EACH);
	assert_int_equal(next[1], LINES_EACH);
}

static void it_appends_with_mode_0640(void **state)
{
	struct stat status;

	for (int i = 0; i < 2; i++) {
		start(SINK_FILE, path);
		log_info("run %d", i);
		finish();
	}
	assert_file(path, "info run 0\ninfo run 1\n");
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777 & ~0640, 0);
}

static void a_file_is_reopened_after_it_was_renamed(void **state)
{
	start(SINK_FILE, path);
	log_info("before");
	wait_for_size(path, 12);
	assert_int_equal(rename(path, old_path), 0);
	log_info("between");
	wait_for_size(old_path, 25);
	assert_int_equal(logger_reopen(&logger, path), 0);
	log_info("after");
	finish();
	assert_file(old_path, "info before\ninfo between\n");
	assert_file(path, "info after\n");
}

static void a_file_that_cannot_be_reopened_leaves_the_old_one(void **state)
{
	start(SINK_FILE, path);
	log_info("a");
	assert_int_equal(logger_reopen(&logger, directory), -EISDIR);
	log_info("b");
	finish();
	assert_file(path, "info a\ninfo b\n");
}

static void errors_of_the_file_are_told_at_the_start(void **state)
{
	char missing[128];

	snprintf(missing, sizeof(missing), "%s/missing/log", directory);
	assert_int_equal(logger_start(&logger, SINK_FILE, missing, &settings, 0, 0, false), -ENOENT);
	assert_int_equal(logger_start(&logger, SINK_FILE, directory, &settings, 0, 0, false), -EISDIR);
	assert_int_equal(symlink(old_path, path), 0);
	if (lchown(path, 65534, 65534) == 0) /* another's link */
		assert_int_equal(logger_start(&logger, SINK_FILE, path, &settings, 0, 0, false), -ELOOP);
	unlink(path);
	int fd = open(old_path, O_WRONLY | O_CREAT, 0600);
	close(fd);
	assert_int_equal(link(old_path, path), 0); /* it may be a link to a file of anybody's */
	assert_int_equal(logger_start(&logger, SINK_FILE, path, &settings, 0, 0, false), -EMLINK);
	unlink(path);
	unlink(old_path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(
		logger_start(&logger, SINK_FILE, path, &settings, 0, 0, false), -ENXIO); /* nobody reads it */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void a_full_disk_costs_lines_that_are_counted(void **state)
{
	start(SINK_FILE, "/dev/full");
	for (int i = 0; i < 100; i++)
		log_info("lost %d", i);
	wait_until_idle();
	log_info("lost too");
	wait_until_idle();
	assert_int_equal(logger_reopen(&logger, path), 0);
	log_info("room again");
	finish();
	assert_file(path, "warning log-lost lines=101 why=\"No space left on device\"\ninfo room again\n");
}

/* A limit on the file's size cuts a line in two, as the last free block of a disk does. */
static void a_line_that_a_full_disk_cut_off_swallows_no_other(void **state)
{
	struct rlimit limit, low;

	getrlimit(RLIMIT_FSIZE, &limit);
	start(SINK_FILE, path);
	log_info("first");
	wait_for_size(path, 11);
	low = limit;
	low.rlim_cur = 20;
	assert_int_equal(prlimit(logger.pid, RLIMIT_FSIZE, &low, NULL), 0);
	log_info("second is cut off");
	log_info("third is lost");
	wait_until_idle();
	assert_int_equal(prlimit(logger.pid, RLIMIT_FSIZE, &limit, NULL), 0);
	log_info("fourth");
	finish();
	assert_file(path, "info first\ninfo seco\nwarning log-lost lines=2 why=\"File too large\"\ninfo fourth\n");
}

/* Gives the logger a pipe of ours as its stderr. */
static int start_with_stderr(int *ret_read_end)
{
	int ends[2], saved = dup(STDERR_FILENO);

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	dup2(ends[1], STDERR_FILENO);
	int result = logger_start(&logger, SINK_STDERR, NULL, &settings, 0, 0, false);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[1]);
	*ret_read_end = ends[0];
	if (result == 0)
		log_setup(logger.pipe_fd, &settings);
	return result;
}

static size_t read_all(int fd, char *text, size_t size)
{
	size_t len = 0;

	for (ssize_t n; (n = read(fd, text + len, size - 1 - len)) > 0;)
		len += (size_t)n;
	text[len] = '\0';
	close(fd);
	return len;
}

static void a_blocked_reader_costs_lines_that_are_counted_and_no_time(void **state)
{
	enum { SENT = 40000, SIZE = 8 << 20 };
	char *text = malloc(SIZE);
	uint64_t before = log_dropped();
	unsigned long long told = 0, arrived = 0, n;
	struct timespec begin, end;
	int reader;

	assert_int_equal(start_with_stderr(&reader), 0);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (int i = 0; i < SENT; i++)
		log_info("line %08d that goes to a terminal which somebody has stopped with a key", i);
	clock_gettime(CLOCK_MONOTONIC, &end);
	uint64_t dropped = log_dropped() - before;
	assert_true(dropped > 0);
	assert_true(end.tv_sec - begin.tv_sec < 60); /* nobody reads: one that waited would hang */
	pid_t feeder = fork();                       /* reads on while we wait for room */
	if (feeder == 0) {
		logger_close(&logger);
		int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		size_t len = read_all(reader, text, SIZE);
		_exit(write(fd, text, len) == (ssize_t)len ? 0 : 1);
	}
	close(reader);
	poll(&(struct pollfd){ .fd = logger.pipe_fd, .events = POLLOUT }, 1, 5000);
	while (log_dropped() - before == dropped && told == 0) {
		log_info("line %08d that can be written again", SENT);
		told = 1;
	}
	finish();
	waitpid(feeder, NULL, 0);
	free(text);

	size_t len;
	text = get_file(path, &len);
	told = 0;
	for (char *line = text, *newline; line < text + len; line = newline + 1) {
		newline = strchr(line, '\n');
		assert_non_null(newline);
		if (sscanf(line, "warning log-dropped lines=%llu", &n) == 1)
			told += n;
		else if (sscanf(line, "info line %8llu that", &n) == 1)
			arrived++;
		else
			fail_msg("not a line: %.80s", line);
	}
	assert_int_equal(told, log_dropped() - before);
	assert_int_equal(arrived + told, SENT + 1);
	free(text);
}

static void the_prefix_stays_for_a_journal_only(void **state)
{
	char text[256], variable[64];
	struct stat status;
	int reader, ends[2], saved;

	assert_int_equal(start_with_stderr(&reader), 0);
	log_warning("a");
	finish();
	read_all(reader, text, sizeof(text));
	assert_string_equal(text, "warning a\n");

	setenv("JOURNAL_STREAM", "1:2", 1); /* somebody else's stream */
	assert_int_equal(start_with_stderr(&reader), 0);
	log_warning("b");
	finish();
	read_all(reader, text, sizeof(text));
	assert_string_equal(text, "warning b\n");

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(fstat(ends[1], &status), 0);
	snprintf(variable, sizeof(variable), "%llu:%llu", (unsigned long long)status.st_dev,
		(unsigned long long)status.st_ino);
	setenv("JOURNAL_STREAM", variable, 1);
	saved = dup(STDERR_FILENO);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	int result = logger_start(&logger, SINK_STDERR, NULL, &settings, 0, 0, false);
	dup2(saved, STDERR_FILENO);
	close(saved);
	unsetenv("JOURNAL_STREAM");
	assert_int_equal(result, 0);
	log_setup(logger.pipe_fd, &settings);
	log_warning("c");
	finish();
	read_all(ends[0], text, sizeof(text));
	assert_string_equal(text, "<4>warning c\n");
}

/* What a worker could write that somebody else has taken over. */
static void bytes_that_are_no_lines_cannot_forge_or_block(void **state)
{
	static char endless[LOG_LINE_MAX * 3];
	char expected[LOG_LINE_MAX * 4], *at = expected;

	memset(endless, 'e', sizeof(endless));
	start(SINK_FILE, path);
	put_all(logger.pipe_fd, "no prefix\n<6>\x1b[31m\r\t\0\xff|\n<9>x\n<6>\n\n", 34);
	put_all(logger.pipe_fd, endless, LOG_LINE_MAX);
	put_all(logger.pipe_fd, endless, LOG_LINE_MAX / 2);
	put_all(logger.pipe_fd, "\n<6>last without an end", 23);
	finish();
	at += sprintf(at, "no prefix\n?[31m????|\n<9>x\n\n\n");
	at += sprintf(at, "%.*s\n%.*s\n", LOG_LINE_MAX, endless, LOG_LINE_MAX / 2, endless);
	strcpy(at, "last without an end\n");
	assert_file(path, expected);
}

static void signals_of_a_terminal_do_not_end_it(void **state)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE };

	start(SINK_FILE, path);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		kill(logger.pid, signals[i]);
	usleep(20000);
	log_info("still here");
	finish();
	assert_file(path, "info still here\n");
}

static void it_lives_until_the_last_writer_has_gone(void **state)
{
	int status;

	start(SINK_FILE, path);
	pid_t child = fork();
	if (child == 0) {
		logger_detach(&logger);
		usleep(100000);
		log_info("from one that outlives the master");
		_exit(0);
	}
	log_info("from the master");
	finish();
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_file(path, "info from the master\ninfo from one that outlives the master\n");
}

static void a_successor_finds_what_its_predecessor_left(void **state)
{
	start(SINK_FILE, path);
	log_info("one");
	wait_for_size(path, 9);
	kill(logger.pid, SIGKILL);
	waitpid(logger.pid, NULL, 0);
	log_info("two");
	assert_int_equal(logger_begin_again(&logger, path), 0);
	struct pollfd said = { .fd = logger.control_fd, .events = POLLIN };
	assert_int_equal(poll(&said, 1, 30000), 1);
	assert_int_equal(logger_started(&logger), 0);
	log_info("three");
	finish();
	assert_file(path, "info one\ninfo two\ninfo three\n");
}

static void it_holds_no_descriptor_but_its_own(void **state)
{
	char name[64], target[300], file[400];
	struct dirent *entry;
	int strays[2], n = 0;

	assert_int_equal(pipe2(strays, O_CLOEXEC), 0);
	start(SINK_FILE, path);
	snprintf(name, sizeof(name), "/proc/%ld/fd", (long)logger.pid);
	DIR *dir = opendir(name);
	if (dir) { /* it is not dumpable: without privileges nobody may look */
		while ((entry = readdir(dir))) {
			if (entry->d_name[0] == '.')
				continue;
			snprintf(file, sizeof(file), "%s/%s", name, entry->d_name);
			ssize_t len = readlink(file, target, sizeof(target) - 1);
			if (len < 0)
				continue;
			target[len] = '\0';
			n++;
			if (atoi(entry->d_name) <= 2)
				assert_string_equal(target, "/dev/null");
		}
		closedir(dir);
		assert_true(n == 0 || n == 6); /* 0 to 2, pipe, control, file */
	}
	close(strays[0]);
	close(strays[1]);
	finish();
}

static void it_is_nobody_when_told_to(void **state)
{
	char name[64], line[256];
	bool found = false;

	if (geteuid() != 0)
		return;
	assert_int_equal(logger_start(&logger, SINK_FILE, path, &settings, 65534, 65534, true), 0);
	snprintf(name, sizeof(name), "/proc/%ld/status", (long)logger.pid);
	FILE *file = fopen(name, "r");
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, "Uid:", 4) == 0)
			assert_string_equal(line, "Uid:\t65534\t65534\t65534\t65534\n");
		found = found || strcmp(line, "CapPrm:\t0000000000000000\n") == 0;
	}
	fclose(file);
	assert_true(found);
	finish();
}

static void a_journal_that_is_not_there_is_an_error(void **state)
{
	int result = logger_start(&logger, SINK_JOURNAL, NULL, &settings, 0, 0, false);

	assert_true(result == 0 || result == -EOPNOTSUPP || result == -ENOENT);
	assert_true(result != 0 || access("/run/systemd/journal/socket", F_OK) == 0);
	if (result == 0)
		finish();
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(lines_of_two_processes_arrive_whole_and_in_order),
		TEST(it_appends_with_mode_0640),
		TEST(a_file_is_reopened_after_it_was_renamed),
		TEST(a_file_that_cannot_be_reopened_leaves_the_old_one),
		TEST(errors_of_the_file_are_told_at_the_start),
		TEST(a_full_disk_costs_lines_that_are_counted),
		TEST(a_line_that_a_full_disk_cut_off_swallows_no_other),
		TEST(a_blocked_reader_costs_lines_that_are_counted_and_no_time),
		TEST(the_prefix_stays_for_a_journal_only),
		TEST(bytes_that_are_no_lines_cannot_forge_or_block),
		TEST(signals_of_a_terminal_do_not_end_it),
		TEST(it_lives_until_the_last_writer_has_gone),
		TEST(a_successor_finds_what_its_predecessor_left),
		TEST(it_holds_no_descriptor_but_its_own),
		TEST(it_is_nobody_when_told_to),
		TEST(a_journal_that_is_not_there_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
