/* Requests on the control socket: what is understood, and what is said of the rest. */
#include "control.h"
#include "log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static int parse(const char *line, struct control_request *ret)
{
	const char *why = NULL;
	int r = control_parse(line, strlen(line), ret, &why);

	assert_non_null(why);
	return r;
}

static void every_word_is_known(void **state)
{
	static const struct {
		const char *line;
		enum control_word word;
		uint64_t id;
		unsigned level;
	} cases[] = {
		{ "status", CONTROL_STATUS, 0, 0 },
		{ "sessions", CONTROL_SESSIONS, 0, 0 },
		{ "evidence 7", CONTROL_EVIDENCE, 7, 0 },
		{ "close 123456789012345678", CONTROL_CLOSE, 123456789012345678, 0 },
		{ "drain", CONTROL_DRAIN, 0, 0 },
		{ "reload", CONTROL_RELOAD, 0, 0 },
		{ "log debug", CONTROL_LOG, 0, LEVEL_DEBUG },
		{ "log error", CONTROL_LOG, 0, LEVEL_ERROR },
		{ "reopen", CONTROL_REOPEN, 0, 0 },
	};
	struct control_request request;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse(cases[i].line, &request), 0);
		assert_int_equal(request.word, cases[i].word);
		assert_int_equal(request.id, cases[i].id);
		assert_int_equal(request.level, cases[i].level);
	}
}

static void everything_else_is_refused(void **state)
{
	static const char *const wrong[] = { "", " ", "statu", "statuss", "STATUS", "status x", "close", "close ",
		"close x", "close 1 2", "close -1", "close 1234567890123456789", "log", "log loud", "log debug ",
		"evidence 0x1", "close 1\r" };
	struct control_request request;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (parse(wrong[i], &request) != -EINVAL)
			fail_msg("`%s' was understood", wrong[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_word_is_known),
		cmocka_unit_test(everything_else_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
