/* RFC 4253 4.2 byte by byte. */
#include "cuts.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static enum verdict run(const char *text)
{
	static struct answer answer;

	assert_null(cuts_check(probe_find("ssh"), (const uint8_t *)text, strlen(text), 1000));
	answer_get(&answer, probe_find("ssh"), (const uint8_t *)text, strlen(text));
	return answer.verdict;
}

static void identification_strings(void **state)
{
	static const char *const good[] = { "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "SSH-2.0-x", "SSH-1.99-Cisco-1.25",
		"SSH-1.5-OldClient", "SSH-1.0-a", "SSH-2.0-PuTTY_Release_0.78\r\n", "SSH-2.0-Go\r\n", "SSH-2.0-",
		"SSH-2.0-\r\n", "SSH-2.0--x", "SSH-1.99-", "SSH-2.0-JSCH-0.1.54\n", "SSH-9.9-NESSUS", "SSH-2.1-x" };

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(run(good[i]), VERDICT_YES);
}

static void not_before_the_second_dash(void **state)
{
	static const char *const early[] = { "", "S", "SSH", "SSH-", "SSH-2", "SSH-2.0", "SSH-1", "SSH-1.", "SSH-1.9",
		"SSH-1.99", "SSH-99.99" };

	for (size_t i = 0; i < sizeof(early) / sizeof(early[0]); i++)
		assert_int_equal(run(early[i]), VERDICT_MORE);
}

static void others(void **state)
{
	static const char *const bad[] = { "s", "SSI", "SSH ", "SSH-x", "SSH-.", "SSH-2-", "SSH-2.0x", "SSH-1.-",
		"SSH-1.x", "SSH-1.999", "SSH-100", "\r\nSSH-2.0-x", "hello\r\nSSH-2.0-x" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(run(bad[i]), VERDICT_NO);
}

static void the_version_is_known_with_the_verdict(void **state)
{
	static const char *const cases[][2] = { { "SSH-2.0-", "2.0" }, { "SSH-1.99-Cisco-1.25", "1.99" },
		{ "SSH-1.5-OldClient\n", "1.5" } };
	static struct answer answer;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		answer_get(&answer, probe_find("ssh"), (const uint8_t *)cases[i][0], strlen(cases[i][0]));
		assert_true(answer.attribute[ATTRIBUTE_VERSION].settled);
		assert_int_equal(answer.attribute[ATTRIBUTE_VERSION].len, 1 + strlen(cases[i][1]));
		assert_memory_equal(answer.attribute[ATTRIBUTE_VERSION].values + 1, cases[i][1], strlen(cases[i][1]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(identification_strings),
		cmocka_unit_test(not_before_the_second_dash),
		cmocka_unit_test(others),
		cmocka_unit_test(the_version_is_known_with_the_verdict),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
