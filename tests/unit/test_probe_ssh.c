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

static void whatever_begins_with_its_four_bytes(void **state)
{
	static const char *const good[] = { "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "SSH-2.0-x", "SSH-1.99-Cisco-1.25",
		"SSH-1.5-OldClient", "SSH-2.0-", "SSH-2.0-\r\n", "SSH-2.0--x", "SSH-2.0-JSCH-0.1.54\n",
		"SSH-9.9-NESSUS", "SSH-2.0 hello", "SSH-2.0 Tester banner\n", "SSH-", "SSH-2", "SSH-2.0", "SSH-1.999",
		"SSH-x", "SSH-.", "SSH-2-", "SSH-2.0x", "SSH-100", "SSH-\r\n" };

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(run(good[i]), VERDICT_YES);
}

static void not_before_the_dash(void **state)
{
	static const char *const early[] = { "", "S", "SS", "SSH" };

	for (size_t i = 0; i < sizeof(early) / sizeof(early[0]); i++)
		assert_int_equal(run(early[i]), VERDICT_MORE);
}

static void others(void **state)
{
	static const char *const bad[] = { "s", "SSI", "SSH ", "ssh-2.0-x", "\r\nSSH-2.0-x", "hello\r\nSSH-2.0-x" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(run(bad[i]), VERDICT_NO);
}

static void the_version_is_known_with_the_byte_behind_it(void **state)
{
	static const char *const cases[][2] = { { "SSH-2.0-", "2.0" }, { "SSH-1.99-Cisco-1.25", "1.99" },
		{ "SSH-1.5-OldClient\n", "1.5" }, { "SSH-2.0 hello", "2.0" }, { "SSH-2.0\r\n", "2.0" } };
	static struct answer answer;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		answer_get(&answer, probe_find("ssh"), (const uint8_t *)cases[i][0], strlen(cases[i][0]));
		assert_true(answer.attribute[ATTRIBUTE_VERSION].settled);
		assert_int_equal(answer.attribute[ATTRIBUTE_VERSION].len, 1 + strlen(cases[i][1]));
		assert_memory_equal(answer.attribute[ATTRIBUTE_VERSION].values + 1, cases[i][1], strlen(cases[i][1]));
	}
}

static void the_version_is_waited_for_no_longer_than_it_can_come(void **state)
{
	static const char *const open[] = { "SSH-", "SSH-2", "SSH-2.", "SSH-2.0", "SSH-1.99" };
	static const char *const none[] = { "SSH-x", "SSH-.", "SSH-2-", "SSH-2.-", "SSH-2.0x", "SSH-1.999",
		"SSH-100" };
	static struct answer answer;

	for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++) {
		answer_get(&answer, probe_find("ssh"), (const uint8_t *)open[i], strlen(open[i]));
		assert_false(answer.attribute[ATTRIBUTE_VERSION].settled);
	}
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		answer_get(&answer, probe_find("ssh"), (const uint8_t *)none[i], strlen(none[i]));
		assert_true(answer.attribute[ATTRIBUTE_VERSION].settled);
		assert_int_equal(answer.attribute[ATTRIBUTE_VERSION].len, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_begins_with_its_four_bytes),
		cmocka_unit_test(not_before_the_dash),
		cmocka_unit_test(others),
		cmocka_unit_test(the_version_is_known_with_the_byte_behind_it),
		cmocka_unit_test(the_version_is_waited_for_no_longer_than_it_can_come),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
