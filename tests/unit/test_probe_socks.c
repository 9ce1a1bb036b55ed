/* What curl, nc and Tor's tools ask a SOCKS server, and what is nearly that. */
#include "cuts.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static enum verdict run(const char *name, const void *bytes, size_t len)
{
	static struct answer answer;

	assert_null(cuts_check(probe_find(name), bytes, len, 2000));
	answer_get(&answer, probe_find(name), bytes, len);
	return answer.verdict;
}

struct example {
	const char *bytes;
	size_t len;
	enum verdict verdict;
};
#define EXAMPLE(literal, verdict)                                                                                    \
	{                                                                                                            \
		literal, sizeof(literal) - 1, (verdict)                                                              \
	}

static void version_4(void **state)
{
	static const struct example cases[] = {
		EXAMPLE("\4\1\0\x51\x7f\0\0\1\0", VERDICT_YES),
		EXAMPLE("\4\1\0\x51\x7f\0\0\1joe\0", VERDICT_YES),
		EXAMPLE("\4\1\0\x51\x7f\0\0\1joe", VERDICT_MORE),
		EXAMPLE("\4\1\0\x51\x7f\0\0\1Andr\xe9 M\0", VERDICT_YES),
		EXAMPLE("\4\1\0\x51\x7f\0\0\1j\1e\0", VERDICT_NO),
		EXAMPLE("\4\2\0\0\0\0\0\0\0", VERDICT_YES), /* bind, any */
		EXAMPLE("\4\1\0\x51\x7f\0\0\1\0GET / HTTP/1.0\r\n", VERDICT_YES),
		EXAMPLE("\4\1\0\0", VERDICT_NO),
		EXAMPLE("\4\1\0\x51\0\0\0\0", VERDICT_NO),
		EXAMPLE("\4\1\0\x51\xe0", VERDICT_NO),
		EXAMPLE("\4\1\0\x51\0\1", VERDICT_NO),
		EXAMPLE("\4\1\0\x51\0\0\1", VERDICT_NO),
		EXAMPLE("\4\1\0\x51\n\0\0\1", VERDICT_MORE),
		EXAMPLE("\4\3", VERDICT_NO),
		EXAMPLE("\4\0\0\0\5\0\0\0\0", VERDICT_NO), /* Cassandra */
		EXAMPLE("\5", VERDICT_NO),
		EXAMPLE("", VERDICT_MORE),
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (run("socks4", cases[i].bytes, cases[i].len) != cases[i].verdict)
			fail_msg("case %zu", i);
}

static void version_4_with_a_name(void **state)
{
	static const struct example cases[] = {
		EXAMPLE("\4\1\0\x51\0\0\0\1\0web.example\0", VERDICT_YES),
		EXAMPLE("\4\1\0\x51\0\0\0\1me\0web.example\0", VERDICT_YES),
		EXAMPLE("\4\1\0\x51\0\0\0\1me\0web.example", VERDICT_MORE),
		EXAMPLE("\4\1\0\x51\0\0\0\1me\0web example", VERDICT_NO),
		EXAMPLE("\4\1\0\x51\0\0\0\1me\0\0", VERDICT_NO),
		EXAMPLE("\4\xf0\0\0\0\0\0\1\0torproject.org\0", VERDICT_YES), /* tor-resolve -4 */
		EXAMPLE("\4\xf1", VERDICT_NO),
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (run("socks4", cases[i].bytes, cases[i].len) != cases[i].verdict)
			fail_msg("case %zu", i);
}

static void texts_of_255_bytes_and_no_longer(void **state)
{
	char bytes[600];

	for (size_t len = 255; len <= 256; len++) {
		memset(bytes, 'a', sizeof(bytes));
		memcpy(bytes, "\4\1\0\x51\0\0\0\1", 8);
		bytes[8 + len] = 0;
		bytes[8 + len + 1 + 3] = 0;
		assert_int_equal(run("socks4", bytes, 8 + len + 1 + 4), len == 255 ? VERDICT_YES : VERDICT_NO);
		memset(bytes + 8, 'a', sizeof(bytes) - 8);
		bytes[8] = 0;
		bytes[9 + len] = 0;
		assert_int_equal(run("socks4", bytes, 9 + len + 1), len == 255 ? VERDICT_YES : VERDICT_NO);
	}
}

static void version_5(void **state)
{
	static const struct example cases[] = {
		EXAMPLE("\5\1\0", VERDICT_YES),
		EXAMPLE("\5\2\0\1", VERDICT_YES),
		EXAMPLE("\5\3\0\1\2", VERDICT_YES),
		EXAMPLE("\5\2\0\2\5\1\0\1\x7f\0\0\1\0\x51", VERDICT_YES), /* does not wait */
		EXAMPLE("\5\4\0\2\x80\x82", VERDICT_YES),
		EXAMPLE("\5\2\0", VERDICT_MORE),
		EXAMPLE("\5", VERDICT_MORE),
		EXAMPLE("\5\0", VERDICT_NO),          /* DCE/RPC, OpenFlow, Cassandra */
		EXAMPLE("\5\x64\x5\xc0", VERDICT_NO), /* DNP3 */
		EXAMPLE("\5\x11", VERDICT_NO),
		EXAMPLE("\5\2\0\0", VERDICT_NO), /* twice */
		EXAMPLE("\5\1\4", VERDICT_YES),  /* not assigned by IANA, which is the server's business */
		EXAMPLE("\5\4\1\2\3\4", VERDICT_YES),
		EXAMPLE("\5\1\n", VERDICT_YES),
		EXAMPLE("\5\1\x7f", VERDICT_YES),
		EXAMPLE("\5\1\xff", VERDICT_YES),
		EXAMPLE("\4\1", VERDICT_NO),
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (run("socks5", cases[i].bytes, cases[i].len) != cases[i].verdict)
			fail_msg("case %zu", i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(version_4),
		cmocka_unit_test(version_4_with_a_name),
		cmocka_unit_test(texts_of_255_bytes_and_no_longer),
		cmocka_unit_test(version_5),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
