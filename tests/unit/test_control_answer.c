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
		{ "backends", CONTROL_BACKENDS, 0, 0 },
		{ "bans", CONTROL_BANS, 0, 0 },
		{ "settings", CONTROL_SETTINGS, 0, 0 },
	};
	struct control_request request;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse(cases[i].line, &request), 0);
		assert_int_equal(request.word, cases[i].word);
		assert_int_equal(request.id, cases[i].id);
		assert_int_equal(request.level, cases[i].level);
	}
}

static void an_order_has_a_service_an_address_and_what_to_do(void **state)
{
	static const struct {
		const char *line, *service, *address;
		enum control_backend_order order;
		uint32_t weight;
	} cases[] = {
		{ "backend web 192.0.2.1:80 drain", "web", "192.0.2.1:80", CONTROL_BACKEND_DRAIN, 0 },
		{ "backend web udp:[2001:db8::1]:80 down", "web", "udp:[2001:db8::1]:80", CONTROL_BACKEND_DOWN, 0 },
		{ "backend web web.example:80 up", "web", "web.example:80", CONTROL_BACKEND_UP, 0 },
		{ "backend web 192.0.2.1:80 weight 256", "web", "192.0.2.1:80", CONTROL_BACKEND_WEIGHT, 256 },
		{ "backend web unix:/run/a weight 0 up", "web", "unix:/run/a weight 0", CONTROL_BACKEND_UP, 0 },
		{ "backend web unix:/run/a b weight 0", "web", "unix:/run/a b", CONTROL_BACKEND_WEIGHT, 0 },
	};
	struct control_request request;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse(cases[i].line, &request), 0);
		assert_int_equal(request.word, CONTROL_BACKEND);
		assert_string_equal(request.backend.service, cases[i].service);
		assert_string_equal(request.backend.address, cases[i].address);
		assert_int_equal(request.backend.order, cases[i].order);
		assert_int_equal(request.backend.weight, cases[i].weight);
	}
}

static void everything_else_is_refused(void **state)
{
	static const char *const wrong[] = { "", " ", "statu", "statuss", "STATUS", "status x", "close", "close ",
		"close x", "close 1 2", "close -1", "close 1234567890123456789", "log", "log loud", "log debug ",
		"evidence 0x1", "close 1\r", "backends x", "backend", "backend ", "backend up", "backend web up",
		"backend web  up", "backend web 192.0.2.1:80", "backend web 192.0.2.1:80 ",
		"backend web 192.0.2.1:80 weight", "backend web 192.0.2.1:80 weight 257",
		"backend web 192.0.2.1:80 weight -1", "backend web 192.0.2.1:80 weights 1", "backend web weight 1",
		"backend  192.0.2.1:80 up", "bans x", "ban", "ban ", "ban x", "ban 192.0.2.1 0", "ban 192.0.2.1 x",
		"ban 192.0.2.1 5 5", "ban 192.0.2.1  5", "ban 192.0.2.1 999999999", "ban 192.0.2.1/24", "unban",
		"unban 192.0.2.1 5", "open", "open ssh", "open ssh 192.0.2.1", "open ssh 192.0.2.1 0",
		"open  192.0.2.1 5", "open 192.0.2.1 5", "shut ssh", "shut ssh 192.0.2.1 5",
		"backend 0123456789012345678901234567890123456789012345678901234567890123 a:1 up" };
	struct control_request request;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (parse(wrong[i], &request) != -EINVAL)
			fail_msg("`%s' was understood", wrong[i]);
}

static void what_is_said_of_clients_is_understood(void **state)
{
	static const struct {
		const char *line;
		enum control_live_order order;
		const char *service, *source;
		uint64_t seconds;
	} cases[] = {
		{ "ban 192.0.2.1", CONTROL_LIVE_BAN, "", "192.0.2.1", CONTROL_EVER },
		{ "ban 2001:db8::/32 600", CONTROL_LIVE_BAN, "", "2001:db8::/32", 600 },
		{ "ban 192.0.2.1 316224000", CONTROL_LIVE_BAN, "", "192.0.2.1", CONTROL_SECONDS_MAX },
		{ "unban 192.0.2.0/24", CONTROL_LIVE_UNBAN, "", "192.0.2.0/24", CONTROL_EVER },
		{ "open ssh 192.0.2.1 1", CONTROL_LIVE_OPEN, "ssh", "192.0.2.1", 1 },
		{ "shut ssh 192.0.2.1", CONTROL_LIVE_SHUT, "ssh", "192.0.2.1", CONTROL_EVER },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct control_request request;
		char text[LIVE_SOURCE_MAX];
		const char *why;

		assert_int_equal(control_parse(cases[i].line, strlen(cases[i].line), &request, &why), 0);
		assert_int_equal(request.word, CONTROL_LIVE);
		assert_int_equal(request.live.order, cases[i].order);
		assert_string_equal(request.live.service, cases[i].service);
		assert_string_equal(live_source_format(&request.live.source, text), cases[i].source);
		assert_true(request.live.seconds == cases[i].seconds);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_word_is_known),
		cmocka_unit_test(an_order_has_a_service_an_address_and_what_to_do),
		cmocka_unit_test(everything_else_is_refused),
		cmocka_unit_test(what_is_said_of_clients_is_understood),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
