/* memcached's commands as text and in binary, beside Redis' and HTTP's. */
#include "probe_cases.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void text(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("get key\r\n", 9, ""),
		CASE_YES("gets a b c d e f g h i j\r\n", 26, ""),
		CASE_YES("set key 0 0 5\r\nhello\r\n", 15, ""),
		CASE_YES("set key 1 -1 5 noreply\r\n", 24, ""),
		CASE_YES("add key 0 3600 0\n", 17, ""),
		CASE_YES("cas key 0 0 5 12345\r\n", 21, ""),
		CASE_YES("delete key\r\n", 12, ""),
		CASE_YES("incr key 1\r\n", 12, ""),
		CASE_YES("touch key 60 noreply\r\n", 22, ""),
		CASE_YES("gat 60 key\r\n", 12, ""),
		CASE_YES("stats\r\n", 7, ""),
		CASE_YES("stats items\r\n", 13, ""),
		CASE_YES("version\r\n", 9, ""),
		CASE_YES("flush_all\r\n", 11, ""),
		CASE_YES("flush_all 10 noreply\r\n", 22, ""),
		CASE_YES("mn\r\n", 4, ""),
		CASE_YES("mg key v t\r\n", 12, ""),
		CASE_YES("ms key 5 T0\r\n", 13, ""),
		CASE_MORE("g"),
		CASE_MORE("get"),
		CASE_MORE("get key"),
		CASE_MORE("set key 0 0 5\r"),
	};
	CASES_CHECK("memcached", cases);
}

static void not_text(void **state)
{
	static const struct probe_case cases[] = {
		CASE_NO("GET key\r\n", 1),
		CASE_NO("get\r\n", 5),
		CASE_NO("get /index.html\r\n", 17),
		CASE_NO("get key HTTP/1.0\r\n", 18),
		CASE_NO("get \1\r\n", 5),
		CASE_NO("set key value\r\n", 15),
		CASE_NO("set key 0 0 5 6 7\r\n", 19),
		CASE_NO("set key 0 0 x\r\n", 15),
		CASE_NO("set key 0 0 5 reply\r\n", 21),
		CASE_NO("set key 0 - 5\r\n", 15),
		CASE_NO("incr key\r\n", 10),
		CASE_NO("version 1\r\n", 11),
		CASE_NO("status\r\n", 5),
		CASE_NO("quit\r\n", 1),
		CASE_NO("getset a b\r\n", 5),
	};
	CASES_CHECK("memcached", cases);
}

static void binary(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\x80\0\0\3\0\0\0\0\0\0\0\3\0\0\0\1\0\0\0\0\0\0\0\0key", 12, ""),
		CASE_YES("\x80\1\0\3\x08\0\0\0\0\0\0\x10\0\0\0\1", 12, ""),
		CASE_YES("\x80\x10\0\0\0\0\0\0\0\0\0\0\x15\xf0\xd1"
			 "b",
			12, ""),
		CASE_YES("\x80\x21\0\5\0\0\0\0\0\0\0\x10", 12, ""),
		CASE_MORE("\x80\0\0\3\0\0\0\0\0\0\0"),
		/* an answer; no such operation; a key that is too long; extras; a data type; a body that is too short */
		CASE_NO("\x81\0\0\3", 1),
		/* what an operation has not, or lacks: a key of no length, a value, a key; MongoDB's message of 128 bytes */
		CASE_NO("\x80\0\0\0\0\0\0\0\1\0\0\0", 4),
		CASE_NO("\x80\0\0\3\0\0\0\0\0\0\0\4", 12),
		CASE_NO("\x80\x0a\0\1", 4),
		CASE_NO("\x80\x0a\0\0\0\0\0\0\0\0\0\1", 12),
		CASE_NO("\x80\0\0\0\0\0\0\0\0\0\0\0\xdd\7\0\0", 4),
		CASE_YES("\x80\x0e\0\3\0\0\0\0\0\0\0\5", 12, ""),
		CASE_NO("\x80\x46\1\3\1", 2),
		CASE_NO("\x80\0\1\0", 3),
		CASE_NO("\x80\0\0\xfb", 4),
		CASE_NO("\x80\0\0\3\4", 5),
		CASE_NO("\x80\1\0\3\0", 5),
		CASE_NO("\x80\0\0\3\0\1", 6),
		CASE_NO("\x80\1\0\3\x08\0\0\0\0\0\0\x0a", 12),
		CASE_NO("\x80\0\0\3\0\0\0\0\xff\0\0\0", 12),
	};
	CASES_CHECK("memcached", cases);
}

/* A line without an end is refused where it becomes too long. */
static void a_line_has_a_bound(void **state)
{
	static uint8_t bytes[9000];
	static struct answer answer;
	const struct probe *probe = probe_find("memcached");

	memset(bytes, 'k', sizeof(bytes));
	memcpy(bytes, "get ", 4);
	for (size_t i = 100; i < sizeof(bytes); i += 100)
		bytes[i] = ' ';
	assert_null(cuts_check(probe, bytes, sizeof(bytes), 9000));
	answer_get(&answer, probe, bytes, 8000);
	assert_int_equal(answer.verdict, VERDICT_MORE);
	answer_get(&answer, probe, bytes, sizeof(bytes));
	assert_int_equal(answer.verdict, VERDICT_NO);
}

static void datagrams(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\0\1\0\0\0\1\0\0get key\r\n", 0, ""),
		CASE_YES("\x9a\xbc\0\0\0\1\0\0set f 0 0 3 noreply\r\nhi\n\r\n", 0, ""),
		CASE_YES("\0\0\0\0\0\1\0\0\x80\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 0, ""),
		/* the second of two; of none; reserved bytes; no line's end; no frame; a frame alone */
		CASE_NO("\0\1\0\1\0\2\0\0get key\r\n", 0),
		CASE_NO("\0\1\0\0\0\0\0\0get key\r\n", 0),
		CASE_NO("\0\1\0\0\0\1\0\1get key\r\n", 0),
		CASE_NO("\0\1\0\0\0\1\0\0get key", 0),
		CASE_NO("get key\r\n", 0),
		CASE_NO("\0\1\0\0\0\1\0\0", 0),
	};
	DATAGRAMS_CHECK("memcached", cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text),
		cmocka_unit_test(not_text),
		cmocka_unit_test(binary),
		cmocka_unit_test(a_line_has_a_bound),
		cmocka_unit_test(datagrams),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
