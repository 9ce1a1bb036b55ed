/* MySQL, MongoDB, Cassandra, Kafka, AMQP and NATS: their first messages, and near misses. */
#include "probe_cases.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ZEROS_19 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define ZEROS_23 ZEROS_19 "\0\0\0\0"

static void mysql(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\xb5\0\0\1\x85\xa6\xff\x19\0\0\0\1\xff" ZEROS_23 "alice\0\x14", 32, "user=alice"),
		CASE_YES("\x20\0\0\1\x85\xae\xff\x19\0\0\0\1\x2d" ZEROS_23, 32, ""),
		/* MariaDB has capabilities of its own in the last four */
		CASE_YES("\x54\0\0\1\x84\xa2\xbf\0\0\0\0\1\x2d" ZEROS_19 "\x07\0\0\0root\0\0", 32, "user=root"),
		CASE_YES("\xb5\0\0\1\x85\xa6\xff\x19\0\0\0\1\xff" ZEROS_23 "ali", 32, "user?"),
		CASE_YES("\x26\0\0\1\x85\xa6\xff\x19\0\0\0\1\xff" ZEROS_23 "al\1ce\0", 32, ""),
		CASE_YES("\x24\0\0\1\x85\xa6\xff\x19\0\0\0\1\xff" ZEROS_23 "bob\0", 32, "user=bob"),
		CASE_YES("\x23\0\0\1\x85\xa6\xff\x19\0\0\0\1\xff" ZEROS_23 "bob\0", 32, ""),
		CASE_YES("\x21\0\0\1\x85\xa6\xff\x19\0\0\0\1\xff" ZEROS_23 "\0", 32, ""),
		CASE_MORE("\xb5\0\0\1\x85\xa6"),
		CASE_MORE("\xb5\0\0\1\x85\xa6\xff\x19\0\0\0\1\xff\0\0\0"),
		/* too short; too long; another sequence number; before 4.1; no TLS; a byte that is not zero */
		CASE_NO("\x1f\0\0\1", 3),
		CASE_NO("\x20\0\1\1", 3),
		CASE_NO("\xb5\0\0\0", 4),
		CASE_NO("\xb5\0\0\1\x85\xa4", 6),
		CASE_NO("\x20\0\0\1\x85\xa6", 6),
		CASE_NO("\xb5\0\0\1\x85\xa6\xff\x19\0\0\0\1\xff\0\1", 15),
		CASE_NO("\5\1\0\5\1\0", 2),
		CASE_NO("GET / HTTP/1.1\r\n", 3),
	};
	CASES_CHECK("mysql", cases);
}

static void mongodb(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\x3a\0\0\0\1\0\0\0\0\0\0\0\xd4\7\0\0\4\0\0\0admin.$cmd\0\0\0\0\0\xff\xff\xff\xff", 31, ""),
		CASE_YES("\x41\0\0\0\x3a\x30\0\0\xff\xff\xff\xff\xd4\7\0\0\0\0\0\0test.$cmd\0", 30, ""),
		CASE_YES("\x55\0\0\0\1\0\0\0\0\0\0\0\xdd\7\0\0\0\0\0\0\0\x40\0\0\0\1", 25, ""),
		CASE_YES("\x55\0\0\0\1\0\0\0\0\0\0\0\xdd\7\0\0\0\0\1\0\0\x40\0\0\0\1", 25, ""),
		CASE_MORE("\x55\0\0"),
		CASE_MORE("\x3a\0\0\0\1\0\0\0\0\0\0\0\xd4\7\0\0\4\0\0\0admin"),
		/* too short; too long; an answer; another operation; flags that are none; no kind 0; no room */
		CASE_NO("\x10\0\0\0", 4),
		CASE_NO("\0\0\x20\0", 3),
		CASE_NO("\x55\0\0\1", 4),
		CASE_NO("\x55\0\0\0\1\0\0\0\1", 9),
		CASE_NO("\x55\0\0\0\1\0\0\0\0\xff", 10),
		CASE_NO("\x55\0\0\0\1\0\0\0\0\0\0\0\xdc\7", 13),
		CASE_NO("\x55\0\0\0\1\0\0\0\0\0\0\0\xdd\7\0\0\4", 17),
		CASE_NO("\x55\0\0\0\1\0\0\0\0\0\0\0\xdd\7\0\0\0\0\0\0\1", 21),
		CASE_NO("\x55\0\0\0\1\0\0\0\0\0\0\0\xdd\7\0\0\0\0\0\0\0\x41\0\0\0", 25),
		CASE_NO("\x3a\0\0\0\1\0\0\0\0\0\0\0\xd4\7\0\0\1", 17),
		CASE_NO("\x3a\0\0\0\1\0\0\0\0\0\0\0\xd4\7\0\0\4\0\0\0admin\0", 26),
		CASE_NO("\x3a\0\0\0\1\0\0\0\0\0\0\0\xd4\7\0\0\4\0\0\0.admin\0", 27),
		CASE_NO("\x3a\0\0\0\1\0\0\0\0\0\0\0\xd4\7\0\0\4\0\0\0ad min", 23),
		CASE_NO("\x1a\0\0\0\1\0\0\0\0\0\0\0\xd4\7\0\0\4\0\0\0"
			"a.bcdefg\0",
			26),
	};
	CASES_CHECK("mongodb", cases);
}

static void cassandra(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\4\0\0\0\5\0\0\0\0", 9, ""),
		CASE_YES("\3\0\0\1\5\0\0\0\0", 9, ""),
		CASE_YES("\x42\0\0\0\5\0\0\0\0", 9, ""),
		CASE_YES("\6\x10\0\0\5\0\0\0\0", 9, ""),
		CASE_YES("\4\0\0\1\1\0\0\0\x16\0\1\0\x0b"
			 "CQL_VERSION\0\5"
			 "3.0.0",
			14, ""),
		CASE_MORE("\4\0\0\0\5\0\0\0"),
		CASE_MORE("\4\0\0\1\1\0\0\0\x16\0\1\0\x0b"),
		/* an answer; version 2; a flag; a stream of the server's; another operation; a length */
		CASE_NO("\x84\0\0\0\6", 1),
		CASE_NO("\2\0\0\5\0\0\0\0", 1),
		CASE_NO("\4\1\0\x50\x7f", 2),
		CASE_NO("\4\0\x80\0\5", 3),
		CASE_NO("\4\0\0\0\7", 5),
		CASE_NO("\4\0\0\0\5\0\0\0\1", 9),
		CASE_NO("\4\0\0\0\1\0\0\0\x15", 9),
		CASE_NO("\4\0\0\1\1\0\0\0\x16\0\0", 11),
		CASE_NO("\4\0\0\1\1\0\0\0\x16\0\1\0\x0b"
			"cql",
			14),
		/* OpenFlow, RDP */
		CASE_NO("\4\0\0\x08\x83\xea\x7e\x23", 5),
		CASE_NO("\3\0\0\x13\x0e\xe0", 5),
	};
	CASES_CHECK("cassandra", cases);
}

static void kafka(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\0\0\0\x21\0\x12\0\3\0\0\0\1\0\x07rdkafka\0\x0blibrdkafka\6"
			 "1.7.1\0",
			21, ""),
		CASE_YES("\0\0\0\x0a\0\x12\0\0\0\0\0\0\xff\xff", 14, ""),
		CASE_YES("\0\0\0\x20\0\x12\0\0\x7f\xff\xff\xf9\0\3abc", 17, ""),
		CASE_YES("\0\0\0\x19\0\3\0\0\0\0\0\1\0\x09rdkafka-x\0\0\0\0", 23, ""),
		/* without a client id */
		CASE_YES("\0\0\0\x0e\0\3\0\0\0\0\0\0\xff\xff\0\0\0\0", 14, ""),
		CASE_YES("\0\0\0\x0e\0\3\0\1\0\0\0\1\0\0\xff\xff\xff\xff", 14, ""),
		CASE_YES("\0\0\0\x11\0\x11\0\1\0\0\0\2\0\0\0\5PLAIN", 14, ""),
		CASE_MORE("\0\0\0\x21\0\x12\0\3\0\0\0\1\0\x07rdkafk"),
		/* no such request or version first; a correlation id; no room; not printable; Produce and Fetch of nobody */
		CASE_NO("\0\0\0\x21\0\x04", 6),
		CASE_NO("\0\0\0\x21\0\x12\0\5", 8),
		CASE_NO("\0\0\0\x21\0\x12\0\0\1\0\0\0", 12),
		CASE_NO("\0\0\0\x09\0\x12", 4),
		CASE_NO("\0\0\0\x0c\0\x12\0\0\0\0\0\0\0\3abc", 14),
		CASE_NO("\0\0\0\x20\0\x12\0\0\0\0\0\0\0\3a\1c", 16),
		CASE_NO("\0\0\0\x0e\0\0\0\0\0\0\0\0\xff\xff\0\0\0\0", 14),
		CASE_NO("\0\0\0\x0e\0\1\0\0\0\0\0\0\0\0\0\0\0\0", 14),
		CASE_NO("\0\0\0"
			"8\0\3\0\0user\0alice\0\0",
			12),
		CASE_NO("\0\0\0\x08\4\xd2\x16\x2f", 4),
		CASE_NO("\0\0\0\x85\xffSMBr", 6),
		CASE_NO("\0\x20\0\0", 2),
	};
	CASES_CHECK("kafka", cases);
}

static void amqp(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("AMQP\0\0\x09\1", 8, ""),
		CASE_YES("AMQP\1\1\0\x0a", 8, ""),
		CASE_YES("AMQP\0\1\0\0", 8, ""),
		CASE_YES("AMQP\3\1\0\0\0\0\0\x10", 8, ""),
		CASE_MORE("AMQP\3"),
		CASE_NO("AMQP\4", 5),
		CASE_NO("AMQP\3\1\1", 7),
		CASE_NO("amqp", 1),
	};
	CASES_CHECK("amqp", cases);
}

static void nats(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n", 10, ""),
		CASE_YES("connect   { \"verbose\":false}\r\n", 12, ""),
		CASE_YES("CONNECT {}\r\n", 10, ""),
		CASE_MORE("CONNECT {"),
		CASE_NO("CONNECT example.com:443 HTTP/1.1\r\n", 9),
		CASE_NO("CONNECT          {\"", 17),
		CASE_NO("CONNECT {x", 10),
		CASE_NO("PING\r\n", 1),
	};
	CASES_CHECK("nats", cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mysql),
		cmocka_unit_test(mongodb),
		cmocka_unit_test(cassandra),
		cmocka_unit_test(kafka),
		cmocka_unit_test(amqp),
		cmocka_unit_test(nats),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
