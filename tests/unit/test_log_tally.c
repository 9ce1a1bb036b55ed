/* Lines of a log: read, added up, bounded. */
#include "log_tally.h"
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static enum log_line_kind read_line(const char *text, struct log_line *ret)
{
	/* Exactly as long as it is, so that a byte behind it is found. */
	size_t len = strlen(text);
	char *copy = malloc(len + 1);

	memcpy(copy, text, len);
	enum log_line_kind kind = log_line_read(copy, len, ret);
	ret->end.at = NULL;
	free(copy);
	return kind;
}

static void test_a_line_is_read_in_both_forms(void **state)
{
	struct log_line line;
	const char text[] =
		"2026-12-01T12:28:37.019Z info connection id=1 client=192.0.2.1:4 sni=\"a end=x\" service=web "
		"decided_ms=0.455 bytes_up=11 bytes_down=12 total_ms=1284.685 end=finished rule=deny";
	const char json[] =
		"{\"time\":\"2026-12-01T12:28:37.019Z\",\"level\":\"info\",\"event\":\"connection\",\"sni\":"
		"\"\\\"end\\\":\",\"service\":\"web\",\"decided_ms\":0.455,\"total_ms\":1284.685,\"end\":"
		"\"finished\",\"bytes_up\":11,\"bytes_down\":12,\"truncated\":true}";

	assert_int_equal(log_line_read(text, sizeof(text) - 1, &line), LOG_LINE_CONNECTION);
	assert_memory_equal(line.client.at, "192.0.2.1:4", line.client.len);
	assert_memory_equal(line.end.at, "finished", line.end.len);
	assert_memory_equal(line.rule.at, "deny", line.rule.len);
	assert_int_equal(line.time.len, 24);
	for (int i = 0; i < 2; i++) {
		assert_true(line.has_decided && line.has_total);
		assert_int_equal(line.decided_us, 455);
		assert_int_equal(line.total_us, 1284685);
		assert_int_equal(line.bytes_up, 11);
		assert_int_equal(line.bytes_down, 12);
		assert_memory_equal(line.service.at, "web", line.service.len);
		assert_int_equal(log_line_read(json, sizeof(json) - 1, &line), LOG_LINE_CONNECTION);
	}
}

static void test_what_is_cut_is_broken_and_what_is_another_line_is_not(void **state)
{
	static const char *const broken[] = {
		"info connection id=1 sni=\"a",
		"info connection id",
		"info connection  id=1",
		"info connection bytes_up=x",
		"info connection total_ms=",
		"{\"event\":\"connection\",\"id\":1",
		"{\"event\":\"connection\",\"id\"",
		"{\"event\":\"connection\",\"id\":",
		"{\"event\":\"connection\",\"sni\":\"a\\",
		"{\"event\":\"connection\",\"total_ms\":1x}",
	};
	static const char *const other[] = { "", " ", "{", "{}", "{\"", "{\"event\":\"connections\"}",
		"info connections id=1", "info: a connection id=1", "myinfo connection id=1", "connection id=1",
		" connection id=1", "info connection" };
	struct log_line line;

	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		assert_int_equal(read_line(broken[i], &line), LOG_LINE_BROKEN);
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++)
		assert_int_equal(read_line(other[i], &line), LOG_LINE_OTHER);
	assert_int_equal(read_line("info connection bytes_up=99999999999999999999999 total_ms=0.1239999", &line),
		LOG_LINE_CONNECTION);
	assert_true(line.bytes_up > UINT64_MAX / 2);
	assert_int_equal(line.total_us, 123);
}

static void test_entries_are_counted_whatever_their_number_and_order(void **state)
{
	struct tally tally = { 0 };
	char line[128];

	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 5000; i++) {
			int len = snprintf(line, sizeof(line),
				"info connection client=10.%d.%d.1:5 service=s%d end=x bytes_up=2", i / 250, i % 250,
				i);
			assert_int_equal(tally_line(&tally, line, (size_t)len), 0);
		}
	assert_int_equal(tally.connections, 10000);
	assert_int_equal(tally.bytes_up, 20000);
	assert_int_equal(tally.groups[TALLY_SERVICE].n, 5000);
	assert_int_equal(tally.groups[TALLY_NETWORK].n, 5000);
	assert_int_equal(tally.groups[TALLY_END].n, 1);
	for (size_t i = 0; i < 5000; i++)
		assert_int_equal(tally.groups[TALLY_SERVICE].entries[i].count, 2);
	tally_fini(&tally);
}

static void test_a_percentile_is_in_the_bucket_of_its_time(void **state)
{
	static const uint64_t times[] = { 0, 1, 15, 16, 17, 31, 32, 33, 1000, 123456789, UINT64_C(1) << 50 };
	char line[128];

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		struct tally tally = { 0 };
		int len = snprintf(line, sizeof(line), "info connection total_ms=%lu.%03lu",
			(unsigned long)times[i] / 1000, (unsigned long)times[i] % 1000);
		assert_int_equal(tally_line(&tally, line, (size_t)len), 0);
		double said = tally_percentile(tally.groups[TALLY_SERVICE].entries[0].total, 50);
		assert_true(said > (double)times[i] && said <= (double)times[i] * 17 / 16 + 1);
		tally_fini(&tally);
	}
	assert_float_equal(tally_percentile(NULL, 50), 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_line_is_read_in_both_forms),
		cmocka_unit_test(test_what_is_cut_is_broken_and_what_is_another_line_is_not),
		cmocka_unit_test(test_entries_are_counted_whatever_their_number_and_order),
		cmocka_unit_test(test_a_percentile_is_in_the_bucket_of_its_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
