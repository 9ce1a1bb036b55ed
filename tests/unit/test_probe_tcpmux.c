/* TCPMUX's first line, at every length. */
#include "probe.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct findings findings;

static enum verdict judge(const char *bytes, size_t len)
{
	struct evidence evidence = { .bytes = (const uint8_t *)bytes, .len = len };
	findings_reset(&findings);
	return probe_run(probe_find("tcpmux"), &evidence, &findings);
}

static void expect_name(const char *line, const char *name)
{
	const struct finding *finding = &findings.attribute[ATTRIBUTE_SERVICE];

	for (size_t len = 1; len < strlen(line); len++) {
		assert_int_equal(judge(line, len), VERDICT_MORE);
		assert_int_equal(findings.settled, 0);
	}
	assert_int_equal(judge(line, strlen(line)), VERDICT_YES);
	assert_int_equal(findings.settled, 1U << ATTRIBUTE_SERVICE);
	assert_int_equal(finding->count, 1);
	assert_int_equal(finding->value[0].len, strlen(name));
	assert_memory_equal(finding->value[0].at, name, strlen(name));
}

static void a_name_is_taken_with_its_line_end(void **state)
{
	expect_name("echo\r\n", "echo");
	expect_name("Echo\n", "echo");
	expect_name("X11-0.1_z+\r\n", "x11-0.1_z+");
	/* What follows is the service's. */
	assert_int_equal(judge("echo\r\nhello", 11), VERDICT_YES);
	assert_int_equal(findings.attribute[ATTRIBUTE_SERVICE].value[0].len, 4);
}

static void what_is_no_name_is_refused_at_once(void **state)
{
	static const char *const wrong[] = { "\r\n", "\n", " echo\r\n", "GET / HTTP/1.1\r\n", "ec\tho\r\n", "echo\rx",
		"\x16\x03\x01" };
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(judge(wrong[i], strlen(wrong[i])), VERDICT_NO);
		assert_int_equal(findings.settled, 1U << ATTRIBUTE_SERVICE);
		assert_int_equal(findings.attribute[ATTRIBUTE_SERVICE].count, 0);
	}
}

static void a_name_has_at_most_63_bytes(void **state)
{
	char line[70];
	memset(line, 'a', sizeof(line));
	assert_int_equal(judge(line, 63), VERDICT_MORE);
	assert_int_equal(judge(line, 64), VERDICT_NO);
	memcpy(line + 63, "\r\n", 2);
	assert_int_equal(judge(line, 64), VERDICT_MORE);
	assert_int_equal(judge(line, 65), VERDICT_YES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_taken_with_its_line_end),
		cmocka_unit_test(what_is_no_name_is_refused_at_once),
		cmocka_unit_test(a_name_has_at_most_63_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
