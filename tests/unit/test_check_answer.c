/* Answers of backends, held against what checks expect, in pieces. */
#include "check_answer.h"
#include "check_result.h"
#include "decider.h"
#include "policy.h"
#include "server_opening.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct findings findings;
static struct policy *policy;

/* The check of a service, from the text of a configuration. */
static const struct check *check_of(const char *check)
{
	struct complaints complaints = { 0 };
	char text[1024];

	snprintf(text, sizeof(text),
		"listen = \"127.0.0.1:1\"; protocols = ( { name = \"pong\"; regex = \"^\\\\+PON\"; } ); services = ( "
		"{ name = "
		"\"a\"; match = \"http\"; connect = \"127.0.0.1:2\"; check = { %s }; } );",
		check);
	assert_int_equal(policy_load_text(&policy, "test", text, NULL, &complaints), 0);
	complaints_fini(&complaints);
	return policy->services[0].target.connect.check;
}

static int teardown(void **state)
{
	policy_free(policy);
	policy = NULL;
	return 0;
}

static uint32_t judge(const struct check *check, const char *bytes, bool is_datagram, bool *ret_over)
{
	return check_answer_judge(check, (const uint8_t *)bytes, strlen(bytes), is_datagram, &findings, ret_over);
}

static void is_over(const struct check *check, const char *bytes, enum check_result result, unsigned more)
{
	bool over = false;

	assert_int_equal(judge(check, bytes, false, &over), check_word(result, more));
	assert_true(over);
}

static void goes_on(const struct check *check, const char *bytes, enum check_result if_late)
{
	bool over = true;

	assert_int_equal(judge(check, bytes, false, &over), check_word(if_late, 0));
	assert_false(over);
}

static void an_opening_passes(void **state)
{
	const struct check *check = check_of("expect = \"ssh\";");

	goes_on(check, "", CHECK_SILENT);
	goes_on(check, "SSH-2", CHECK_UNFINISHED);
	is_over(check, "SSH-2.0-x\r\n", CHECK_PASSED, 0);
}

static void a_status_passes_where_it_is_expected(void **state)
{
	const struct check *check = check_of("http = \"/health\";");

	goes_on(check, "HTTP/1.1 2", CHECK_UNFINISHED);
	is_over(check, "HTTP/1.1 204 No Content\r\n", CHECK_PASSED, 0);
	is_over(check, "HTTP/1.0 302 Found\r\n", CHECK_PASSED, 0);
	is_over(check, "HTTP/1.1 503 Service Unavailable\r\n", CHECK_STATUS, 503);
	is_over(check, "SSH-2.0-x", CHECK_UNEXPECTED, 0);
}

static void statuses_may_be_named(void **state)
{
	const struct check *check = check_of("http = \"/primary\"; expect = [ \"200\", \"4xx\" ];");

	is_over(check, "HTTP/1.1 200 OK\r\n", CHECK_PASSED, 0);
	is_over(check, "HTTP/1.1 499 x\r\n", CHECK_PASSED, 0);
	is_over(check, "HTTP/1.1 201 Created\r\n", CHECK_STATUS, 201);
}

static void ones_own_patterns_pass(void **state)
{
	is_over(check_of("send = \"PING\\r\\n\"; expect = { string = \"+PONG\"; };"), "+PONG\r\n", CHECK_PASSED, 0);
	goes_on(policy->services[0].target.connect.check, "+PO", CHECK_UNFINISHED);
	is_over(policy->services[0].target.connect.check, "-ERR", CHECK_UNEXPECTED, 0);
	teardown(NULL);
	is_over(check_of("send = { bytes = \"50 0a\"; }; expect = \"pong\";"), "+PONG", CHECK_PASSED, 0);
	goes_on(policy->services[0].target.connect.check, "+P", CHECK_UNFINISHED);
}

static void a_datagram_is_all_that_comes(void **state)
{
	const struct check *check = check_of("send = \"x\"; expect = { regex = \"^abc\"; };");
	bool over = false;

	assert_int_equal(judge(check, "ab", true, &over), check_word(CHECK_UNEXPECTED, 0));
	assert_true(over);
	assert_int_equal(judge(check, "abcd", true, &over), check_word(CHECK_PASSED, 0));
	teardown(NULL);
	assert_int_equal(judge(check_of("expect = \"vnc\";"), "RFB", true, &over), check_word(CHECK_UNEXPECTED, 0));
	assert_true(over);
}

static void an_answer_without_end_is_not_waited_for(void **state)
{
	static uint8_t bytes[CHECK_ANSWER_MAX];
	bool over = false;

	memset(bytes, 'x', sizeof(bytes));
	const struct check *check = check_of("expect = { contains = \"ready\"; within = 32000; };");
	check_answer_judge(check, bytes, sizeof(bytes) - 1, false, &findings, &over);
	assert_false(over);
	assert_int_equal(check_answer_judge(check, bytes, sizeof(bytes), false, &findings, &over),
		check_word(CHECK_UNEXPECTED, 0));
	assert_true(over);
}

int main(void)
{
#define UNIT(name) cmocka_unit_test_teardown(name, teardown)
	const struct CMUnitTest tests[] = {
		UNIT(an_opening_passes),
		UNIT(a_status_passes_where_it_is_expected),
		UNIT(statuses_may_be_named),
		UNIT(ones_own_patterns_pass),
		UNIT(a_datagram_is_all_that_comes),
		UNIT(an_answer_without_end_is_not_waited_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
