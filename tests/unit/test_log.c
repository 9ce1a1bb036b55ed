/* Log lines: their two forms, that nothing can forge one, that each is whole, and that a full pipe costs
 * lines, counted ones, and never time. */
#include "json_strict.h"
#include "log.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SMALL_PIPE 4096

static int ends[2];

static int setup(void **state)
{
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	fcntl(ends[1], F_SETPIPE_SZ, SMALL_PIPE);
	return 0;
}

static int teardown(void **state)
{
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static void use(enum log_format format, bool timestamps)
{
	log_setup(ends[1], &(struct log_settings){ .level = LEVEL_INFO, .format = format, .timestamps = timestamps });
}

/* All that is in the pipe. */
static const char *written(void)
{
	static char text[65536];
	ssize_t n = read(ends[0], text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void write_all_kinds(void)
{
	struct address client;
	struct record record;

	assert_int_equal(address_parse(&client, "192.0.2.1:4000"), 0);
	record_begin(&record, LEVEL_INFO, "connection");
	record_number(&record, "id", 7);
	record_address(&record, "client", &client);
	record_text(&record, "service", "ssh");
	record_text(&record, "empty", "");
	record_text(&record, "none", NULL);
	record_bytes(&record, "sni", "a b\"\\\n\0c", 8);
	record_number(&record, "max", UINT64_MAX);
	record_number(&record, "zero", 0);
	record_ms(&record, "took_ms", 1234567);
	record_ms(&record, "short_ms", 7);
	record_write(&record);
}

static void the_text_form_is_as_documented(void **state)
{
	use(LOG_TEXT, false);
	write_all_kinds();
	assert_string_equal(written(),
		"<6>info connection id=7 client=192.0.2.1:4000 service=ssh empty=\"\" "
		"sni=\"a b\\x22\\x5c\\x0a\\x00c\" "
		"max=18446744073709551615 zero=0 took_ms=1234.567 short_ms=0.007\n");
	log_error("cannot open \"%s\": %s", "a\nb", "no");
	assert_string_equal(written(), "<3>error cannot open \"a\\x0ab\": no\n");
}

static void the_json_form_is_as_documented(void **state)
{
	use(LOG_JSON, false);
	write_all_kinds();
	const char *line = written();
	assert_string_equal(line,
		"<6>{\"level\":\"info\",\"event\":\"connection\",\"id\":7,\"client\":\"192."
		"0.2.1:4000\",\"service\":\"ssh\","
		"\"empty\":\"\",\"sni\":\"a "
		"b\\\"\\\\\\u000a\\u0000c\",\"max\":18446744073709551615,\"zero\":0,"
		"\"took_ms\":1234.567,\"short_ms\":0.007}\n");
	assert_true(json_is_strict(line + 3, strlen(line) - 4));
	log_warning("a \"message\"");
	assert_string_equal(
		written(), "<4>{\"level\":\"warning\",\"event\":\"message\",\"text\":\"a \\\"message\\\"\"}\n");
}

static void a_bare_value_holds_nothing_that_separates(void **state)
{
	struct record record;
	char value[3] = "x";

	use(LOG_TEXT, false);
	for (unsigned c = 1; c < 256; c++) {
		value[1] = (char)c;
		record_begin(&record, LEVEL_INFO, "e");
		record_text(&record, "k", value);
		record_end(&record);
		bool bare = c < 0x7f &&
			(strchr("._:/@+*,-", (int)c) || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
				(c >= 'A' && c <= 'Z'));
		assert_int_equal(record.line[strlen("<6>info e k=")] == '"', !bare);
	}
}

static void levels_are_obeyed(void **state)
{
	static const enum log_level levels[] = { LEVEL_ERROR, LEVEL_WARNING, LEVEL_NOTICE, LEVEL_INFO, LEVEL_DEBUG };
	struct record record;

	for (size_t set = 0; set < 5; set++) {
		log_setup(ends[1], &(struct log_settings){ .level = levels[set] });
		for (size_t i = 0; i < 5; i++) {
			assert_int_equal(log_wants(levels[i]), i <= set);
			log_message(levels[i], "x");
			assert_int_equal(written()[0] != '\0', i <= set);
			record_begin(&record, levels[i], "e");
			record_text(&record, "k", "v");
			record_number(&record, "n", 1);
			record_ms(&record, "m", 1);
			record_write(&record);
			assert_int_equal(written()[0] != '\0', i <= set);
		}
	}
}

static void the_time_is_utc_with_milliseconds(void **state)
{
	struct tm tm = { 0 };
	time_t before, after;
	unsigned ms;

	for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
		use((enum log_format)format, true);
		before = time(NULL);
		log_info("x");
		after = time(NULL);
		const char *line = written() + 3;
		if (format == LOG_JSON) {
			assert_true(json_is_strict(line, strlen(line) - 1));
			assert_memory_equal(line, "{\"time\":\"", 9);
			line += 9;
		}
		const char *rest = strptime(line, "%Y-%m-%dT%H:%M:%S", &tm);
		assert_non_null(rest);
		assert_int_equal(sscanf(rest, ".%3uZ", &ms), 1);
		assert_int_equal(rest[4], 'Z');
		assert_in_range(timegm(&tm), before, after);
	}
}

static void a_line_is_whole_however_much_is_put_in(void **state)
{
	static char bytes[4096];
	struct record record;

	srandom(22);
	for (int i = 0; i < 5000; i++) {
		use(i % 2 ? LOG_JSON : LOG_TEXT, i % 3 == 0);
		record_begin(&record, LEVEL_INFO, "event");
		for (int k = (int)(random() % 12); k >= 0; k--) {
			size_t len = (size_t)random() % (i % 5 ? 300 : sizeof(bytes));
			for (size_t b = 0; b < len; b++)
				bytes[b] = (char)(i % 7 ? random() : 'a');
			record_bytes(&record, "value", bytes, len);
			record_number(&record, "number", (uint64_t)random());
			record_ms(&record, "ms", (uint64_t)random());
		}
		record_end(&record);
		assert_true(record.len <= LOG_LINE_MAX);
		assert_int_equal(record.line[record.len - 1], '\n');
		for (size_t b = 0; b + 1 < record.len; b++)
			assert_in_range((unsigned char)record.line[b], 0x20, 0x7e);
		if (i % 2)
			assert_true(json_is_strict(record.line + 3, record.len - 4));
		const char *mark = i % 2 ? ",\"truncated\":true}\n" : " truncated=1\n";
		bool marked = memcmp(record.line + record.len - strlen(mark), mark, strlen(mark)) == 0;
		assert_int_equal(marked, record.truncated);
	}
}

static void a_value_that_does_not_fit_makes_room_for_the_next(void **state)
{
	static char big[3000];
	struct record record;

	memset(big, 'a', sizeof(big) - 1);
	use(LOG_TEXT, false);
	record_begin(&record, LEVEL_INFO, "e");
	record_text(&record, "big", big);
	record_text(&record, "k", "v");
	record_write(&record);
	assert_string_equal(written(), "<6>info e k=v truncated=1\n");
}

static void a_message_is_cut(void **state)
{
	static char big[3000];

	memset(big, '"', sizeof(big) - 1);
	for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
		use((enum log_format)format, true);
		for (size_t len = LOG_LINE_MAX / 2 - 100; len < sizeof(big); len += 7) {
			log_info("%.*s", (int)len, big);
			const char *line = written();
			size_t n = strlen(line);
			assert_true(n > 1900 || format == LOG_TEXT || !strstr(line, "truncated"));
			assert_true(n <= LOG_LINE_MAX && line[n - 1] == '\n');
			if (format == LOG_JSON)
				assert_true(json_is_strict(line + 3, n - 4));
		}
	}
}

static void before_there_is_a_logger_no_prefix_goes_to_stderr(void **state)
{
	int saved = dup(STDERR_FILENO);

	dup2(ends[1], STDERR_FILENO);
	log_setup(STDERR_FILENO, &(struct log_settings){ .level = LEVEL_INFO });
	log_info("hello");
	dup2(saved, STDERR_FILENO);
	close(saved);
	assert_string_equal(written(), "info hello\n");
}

static void a_full_pipe_drops_counts_and_tells(void **state)
{
	uint64_t before = log_dropped();
	unsigned long long told = 0, whole = 0, sent = 200;
	const char *at;

	use(LOG_TEXT, false);
	for (unsigned i = 0; i < sent; i++)
		log_info("line %04u of a pipe that nobody reads, long enough to fill it soon", i);
	uint64_t dropped = log_dropped() - before;
	assert_true(dropped > 100);
	at = written();
	for (const char *line = at; *line; line = strchr(line, '\n') + 1, whole++)
		assert_memory_equal(line, "<6>info line 0", 14);
	assert_int_equal(whole + dropped, sent);

	log_info("room again");
	assert_int_equal(sscanf(written(), "<4>warning log-dropped lines=%llu\n<6>info room again\n", &told), 1);
	assert_int_equal(told, dropped);
	assert_int_equal(log_dropped() - before, dropped);
	log_info("once only");
	assert_string_equal(written(), "<6>info once only\n");
}

static void what_an_image_before_has_lost_is_told(void **state)
{
	uint64_t before = log_dropped();

	use(LOG_TEXT, false);
	log_lost_before(7);
	assert_int_equal(log_untold(), 7);
	log_info("the next one");
	assert_string_equal(written(), "<4>warning log-dropped lines=7\n<6>info the next one\n");
	assert_int_equal(log_untold(), 0);
	assert_int_equal(log_dropped(), before);
}

static void a_loss_is_told_before_anything_else_is_written(void **state)
{
	static char filler[1500];
	uint64_t before = log_dropped();
	static char all[65536];
	size_t len = 0;

	memset(filler, 'f', sizeof(filler) - 1);
	use(LOG_JSON, false);
	while (log_dropped() == before)
		log_info("%s", filler);
	/* Now and then there is room for a short line, or for the count alone: neither comes without the
	 * other. */
	for (int i = 0; i < 40; i++) {
		ssize_t n = read(ends[0], all + len, 200);
		len += n > 0 ? (size_t)n : 0;
		log_info("x");
	}
	strcpy(all + len, written());
	const char *told = strstr(all, "log-dropped"), *first = strstr(all, "\"text\":\"x\"");
	assert_true(told && first && told < first);
	unsigned long long sum = 0, n;
	for (; told; told = strstr(told + 1, "log-dropped")) {
		assert_int_equal(sscanf(told, "log-dropped\",\"lines\":%llu}\n", &n), 1);
		sum += n;
	}
	assert_int_equal(sum, log_dropped() - before);
}

static void errno_is_left_alone(void **state)
{
	int broken[2];

	assert_int_equal(pipe2(broken, O_CLOEXEC | O_NONBLOCK), 0);
	log_setup(broken[1], &(struct log_settings){ .level = LEVEL_INFO, .timestamps = true });
	errno = ENOTTY;
	write_all_kinds();
	assert_int_equal(errno, ENOTTY);
	while (log_dropped() < 1000)
		log_info("%m");
	assert_int_equal(errno, ENOTTY);
	close(broken[0]);
	close(broken[1]);
	log_info("into a closed descriptor");
	assert_int_equal(errno, ENOTTY);
}

/* A strict reader from elsewhere agrees with ours. */
static void python_reads_every_line(void **state)
{
	char name[] = "/tmp/usher-log-XXXXXX", command[256];
	int fd = mkstemp(name);

	assert_true(fd >= 0);
	log_setup(fd, &(struct log_settings){ .level = LEVEL_INFO, .format = LOG_JSON, .timestamps = true });
	for (int i = 0; i < 256; i++) {
		char bytes[600];
		struct record record;
		memset(bytes, i, sizeof(bytes));
		record_begin(&record, LEVEL_INFO, "event");
		for (int k = 0; k < 4; k++)
			record_bytes(&record, k % 2 ? "a" : "b", bytes, sizeof(bytes) / 4 * (size_t)(k + 1));
		record_ms(&record, "ms", (uint64_t)i);
		record_write(&record);
		log_info("%.*s", i, bytes);
	}
	close(fd);
	snprintf(command, sizeof(command),
		"python3 -c 'import json,sys\nn=0\nfor l in open(sys.argv[1]): json.loads(l[3:]); n+=1\n"
		"sys.exit(n < 512)' %s",
		name);
	int status = system(command);
	unlink(name);
	assert_int_equal(status, 0);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_text_form_is_as_documented),
		TEST(the_json_form_is_as_documented),
		TEST(a_bare_value_holds_nothing_that_separates),
		TEST(levels_are_obeyed),
		TEST(the_time_is_utc_with_milliseconds),
		TEST(a_line_is_whole_however_much_is_put_in),
		TEST(a_value_that_does_not_fit_makes_room_for_the_next),
		TEST(a_message_is_cut),
		TEST(before_there_is_a_logger_no_prefix_goes_to_stderr),
		TEST(a_full_pipe_drops_counts_and_tells),
		TEST(what_an_image_before_has_lost_is_told),
		TEST(a_loss_is_told_before_anything_else_is_written),
		TEST(errno_is_left_alone),
		TEST(python_reads_every_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
