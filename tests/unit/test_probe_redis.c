/* Arrays of bulk strings, and the inline commands that are Redis' alone. */
#include "probe_cases.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void arrays(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("*3\r\n$3\r\nset\r\n$1\r\na\r\n$1\r\nb\r\n", 9, ""),
		CASE_YES("*1\r\n$4\r\nPING\r\n", 9, ""),
		CASE_YES("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n", 9, ""),
		CASE_YES("*1048576\r\n$64\r\nx", 16, ""),
		CASE_YES("*3\r\n$40\r\nb840fc02d524045429941cc15f59e41cb7be6c52\r\n", 10, ""),
		CASE_YES("*1\r\n$10\r\n_internal_\r\n", 10, ""),
		CASE_MORE("*"),
		CASE_MORE("*10"),
		CASE_MORE("*1\r"),
		CASE_MORE("*1\r\n$4\r\n"),
	};
	CASES_CHECK("redis", cases);
}

static void inline_commands(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("PING\r\n", 6, ""),
		CASE_YES("PING\n", 5, ""),
		CASE_YES("\r\n\r\n\nPING\r\n", 11, ""),
		CASE_YES("\r\n*1\r\n$4\r\nPING\r\n", 11, ""),
		CASE_YES("info\r\n", 6, ""),
		CASE_YES("info stats\n", 11, ""),
		CASE_YES("CONFIG GET dir\r\n", 11, ""),
		CASE_YES("REPLCONF listening-port 6380\r\n", 9, ""),
		CASE_YES("HELLO 3 AUTH alice x\r\n", 8, ""),
		CASE_YES("lpush list 1 2\r\n", 6, ""),
		CASE_YES("set test 1\r\n", 12, ""),
		CASE_YES("SET  test \"1\" \n", 15, ""),
		CASE_YES("SET a \"hello there\"\r\n", 21, ""),
		CASE_YES("SET a 'b \\' c'\n", 15, ""),
		CASE_NO("SET a \"b c\" d\r\n", 13),
		CASE_YES("GET key\r\n", 9, ""),
		CASE_YES("incr key\n", 9, ""),
		CASE_YES("FLUSHALL\n", 9, ""),
		CASE_YES("exists a b c d\r\n", 16, ""),
		CASE_MORE("PING"),
		CASE_MORE("\r\n"),
		CASE_MORE("incr"),
		CASE_MORE("incrb"),
		CASE_MORE("set a b"),
		CASE_NO("PING :x\r\n", 6),
		CASE_NO("PING 1491069115246\n", 6),
		CASE_NO("get key\r\n", 4),
		CASE_NO("GET /key\r\n", 5),
		CASE_NO("GET a HTTP/1.0\r\n", 7),
		CASE_NO("set a 0 0 1\r\n", 9),
		CASE_NO("set a\r\n", 7),
		CASE_NO("incr key 1\r\n", 10),
		CASE_NO("SUBSCRIBE sip:a@b SIP/2.0\r\n", 19),
		CASE_NO("keys \1\r\n", 6),
		CASE_NO("AUTH LOGIN\r\n", 2),
		CASE_NO("QUIT\r\n", 1),
		CASE_NO("HELLO 4\r\n", 7),
		CASE_NO("\rPING\r\n", 2),
	};
	CASES_CHECK("redis", cases);
}

static void strangers(void **state)
{
	static const struct probe_case cases[] = {
		CASE_NO("*0\r\n", 2),
		CASE_NO("*01\r\n", 2),
		CASE_NO("*-1\r\n", 2),
		CASE_NO("*1048577\r\n", 8),
		CASE_NO("*1\n$4\r\nPING\r\n", 3),
		CASE_NO("*1\r\n+PING\r\n", 5),
		CASE_NO("*1\r\n$0\r\n\r\n", 6),
		CASE_NO("*1\r\n$65\r\nx", 7),
		CASE_NO("*1\r\n$4\r\n\x01", 9),
		CASE_NO("*\r\n", 2),
		CASE_NO("+OK\r\n", 1),
		CASE_NO("$4\r\nPING\r\n", 1),
		CASE_NO("GET / HTTP/1.1\r\n", 5),
		CASE_NO("INFO sip:a@b SIP/2.0\r\n", 14),
	};
	CASES_CHECK("redis", cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arrays),
		cmocka_unit_test(inline_commands),
		cmocka_unit_test(strangers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
