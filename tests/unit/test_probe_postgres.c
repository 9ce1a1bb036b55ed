/* PostgreSQL's first packets: startup of three protocols, and the three requests. */
#include "probe_cases.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void startups(void **state)
{
	static const struct probe_case cases[] = {
		/* psql 15 */
		CASE_YES("\0\0\0"
			 "8\0\3\0\0user\0alice\0database\0shop\0application_name\0psql\0\0",
			13, "user=alice database=shop"),
		CASE_YES("\0\0\0\x2c\0\3\0\0_pq_.x\0"
			 "1\0user\0bob\0client_encoding\0\0\0",
			15, "user=bob"),
		CASE_YES("\0\0\0\x14\0\3\0\2user\0alice\0\0", 13, "user=alice"),
		CASE_YES("\0\0\0\x10\0\3\x27\x0fuser\0a\0\0", 13, "user=a"),
		/* the server takes the last of several */
		CASE_YES("\0\0\0\x1e\0\3\0\0user\0alice\0user\0bob\0\0SELECT", 13, ""),
		CASE_YES("\0\0\0\x1d\0\3\0\0user\0alice\0user\0bob\0\0", 13, "user=bob"),
		/* not printable; not ended; a name without a value */
		CASE_YES("\0\0\0\x14\0\3\0\0user\0al\x01"
			 "ce\0\0",
			13, ""),
		CASE_YES("\0\0\0\x13\0\3\0\0user\0alicexx", 13, ""),
		CASE_YES("\0\0\0\x14\0\3\0\0user\0alice\0x", 13, ""),
		CASE_YES("\0\0\0"
			 "8\0\3\0\0user\0alice\0databa",
			13, "user? database?"),
	};
	CASES_CHECK("postgres", cases);
}

static void requests(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\0\0\0\x08\x04\xd2\x16\x2f", 8, ""),
		CASE_YES("\0\0\0\x08\x04\xd2\x16\x30", 8, ""),
		CASE_YES("\0\0\0\x10\x04\xd2\x16\x2e\0\0\x12\x34\x56\x78\x9a\xbc", 8, ""),
		CASE_YES("\0\0\0\x2c\x04\xd2\x16\x2e\0\0\x12\x34", 8, ""),
	};
	CASES_CHECK("postgres", cases);
}

static void the_old_packet(void **state)
{
	static uint8_t bytes[296] = { 0, 0, 1, 0x28, 0, 2 };
	static struct answer answer;
	char values[200];
	const struct probe *probe = probe_find("postgres");

	memcpy(bytes + 8, "shop", 4);
	memcpy(bytes + 72, "alice", 5);
	assert_null(cuts_check(probe, bytes, sizeof(bytes), 1000));
	answer_get(&answer, probe, bytes, 72);
	assert_int_equal(answer.verdict, VERDICT_MORE);
	answer_get(&answer, probe, bytes, 73);
	values_write(values, sizeof(values), probe, &answer);
	assert_string_equal(values, "user? database?");
	answer_get(&answer, probe, bytes, sizeof(bytes));
	values_write(values, sizeof(values), probe, &answer);
	assert_string_equal(values, "user=alice database=shop");
	bytes[72] = 0;
	answer_get(&answer, probe, bytes, sizeof(bytes));
	assert_int_equal(answer.verdict, VERDICT_NO);
	bytes[20] = 1;
	answer_get(&answer, probe, bytes, 21);
	assert_int_equal(answer.verdict, VERDICT_NO);
}

static void strangers(void **state)
{
	static const struct probe_case cases[] = {
		CASE_NO("\1", 1),
		CASE_NO("\0\1", 2),
		CASE_NO("\0\0\0\x07", 4),
		CASE_NO("\0\0\x27\x11", 4),
		CASE_NO("\0\0\0\x09\x04\xd2\x16\x2f", 8),
		CASE_NO("\0\0\0\x0c\x04\xd2\x16\x2e", 8),
		CASE_NO("\0\0\0\x08\x04\xd2\x16\x31", 8),
		CASE_NO("\0\0\0\x08\x04\xd3\x16\x2f", 6),
		CASE_NO("\0\0\0\x20\0\4\0\0user\0", 6),
		CASE_NO("\0\0\0\x20\0\3\xff\xffuser\0", 8),
		CASE_NO("\0\0\0\x09\0\3\0\0\0", 8),
		CASE_NO("\0\0\1\x27\0\2\0\0shop", 8),
		CASE_NO("\0\0\0\x20\0\2\0\1user\0", 8),
		/* a name that is none: begins with a digit; is empty; has a space; does not end within the packet */
		CASE_NO("\0\0\0\x20\0\3\0\0"
			"1ser\0",
			9),
		CASE_NO("\0\0\0\x20\0\3\0\0\0", 9),
		CASE_NO("\0\0\0\x20\0\3\0\0us er\0", 11),
		CASE_NO("\0\0\0\x10\0\3\0\0abcdefgh\0", 16),
		/* Kafka's Metadata, version 0 */
		CASE_NO("\0\0\0\x19\0\3\0\0\0\0\0\1\0\x09rdkafka\0\0\0\0", 9),
		/* SMB over TCP */
		CASE_NO("\0\0\0\x85\xffSMB\x72", 5),
		CASE_NO("\0\0\0\x85\xfeSMB", 5),
		CASE_MORE("\0\0\0"),
		CASE_MORE("\0\0\0\x08\x04\xd2\x16"),
		CASE_MORE("\0\0\0\x20\0\3\0\0user"),
	};
	CASES_CHECK("postgres", cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(startups),
		cmocka_unit_test(requests),
		cmocka_unit_test(the_old_packet),
		cmocka_unit_test(strangers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
