/* CONNECT of MQTT 3.1, 3.1.1 and 5, flag by flag. */
#include "probe_cases.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void connects(void **state)
{
	static const struct probe_case cases[] = {
		/* mosquitto_pub 2.0.11 */
		CASE_YES("\x10\x1f\x00\x04MQTT\x04\xc2\x00<\x00\x04"
			 "dev1\x00\x05"
			 "alice\x00\x06secret",
			10, "version=3.1.1 user=alice"),
		CASE_YES("\x10,\x00\x04MQTT\x05\xc6\x00<\x03!\x00\x14\x00\x04"
			 "dev1\x00\x00\x01w\x00\x03"
			 "bye\x00\x05"
			 "alice\x00\x06secret",
			10, "version=5 user=alice"),
		CASE_YES("\x10\x12\x00\x06MQIsdp\x03\x02\x00<\x00\x04"
			 "dev1",
			12, "version=3.1"),
		/* a bridge; no client id; a will; a password alone; four bytes of length where one would do */
		CASE_YES("\x10\x0c\x00\x04MQTT\x84\x02\x00\x3c\x00\x00", 10, "version=3.1.1"),
		CASE_YES("\x10\x0e\x00\x06MQIsdp\x83\x00\x00\x3c\x00\x00", 12, "version=3.1"),
		CASE_YES("\x10\x16\x00\x04MQTT\x04\x8e\x00\x3c\x00\x00\x00\x01w\x00\x01x\x00\x02me", 10,
			"version=3.1.1 user=me"),
		CASE_YES("\x10\x10\x00\x04MQTT\x05\x42\x00\x3c\x00\x00\x00\x00\x01p", 10, "version=5"),
		CASE_YES("\x10\x8c\x80\x80\x00\x00\x04MQTT\x04\x02\x00\x3c\x00\x00", 13, "version=3.1.1"),
		/* more packets behind it */
		CASE_YES("\x10\x11\x00\x04MQTT\x04\x82\x00\x3c\x00\x01"
			 "a\x00\x02me\xe0\x00",
			10, "version=3.1.1 user=me"),
	};
	CASES_CHECK("mqtt", cases);
}

static void the_user_settles_behind_what_precedes_it(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\x10\x1f\x00\x04MQTT\x04\xc2", 10, "version=3.1.1 user?"),
		CASE_YES("\x10\x1f\x00\x04MQTT\x04\xc2\x00<\x00\x04"
			 "dev1\x00\x05"
			 "alic",
			10, "version=3.1.1 user?"),
		CASE_YES("\x10\x1f\x00\x04MQTT\x04\xc2\x00<\x00\x04"
			 "dev1\x00\x05"
			 "alice",
			10, "version=3.1.1 user=alice"),
		/* not printable; longer than the packet; the client id is */
		CASE_YES("\x10\x10\x00\x04MQTT\x04\x82\x00<\x00\x00\x00\x02"
			 "a\x01",
			10, "version=3.1.1"),
		CASE_YES("\x10\x10\x00\x04MQTT\x04\x82\x00<\x00\x00\x00\x03"
			 "ab",
			10, "version=3.1.1"),
		CASE_YES("\x10\x10\x00\x04MQTT\x04\x82\x00<\xff\x00", 10, "version=3.1.1"),
		/* properties: longer than the packet; a length of five bytes */
		CASE_YES("\x10\x11\x00\x04MQTT\x05\x82\x00<\x7f\x00", 10, "version=5"),
		CASE_YES("\x10\x13\x00\x04MQTT\x05\x82\x00<\x80\x80\x80\x80\x00", 10, "version=5"),
	};
	CASES_CHECK("mqtt", cases);
}

static void beginnings(void **state)
{
	static const struct probe_case cases[] = {
		CASE_MORE("\x10"),
		CASE_MORE("\x10\x80\x80"),
		CASE_MORE("\x10\x1f\x00\x04MQTT\x04"),
		CASE_MORE("\x10\x1f\x00\x06MQIsdp"),
	};
	CASES_CHECK("mqtt", cases);
}

static void strangers(void **state)
{
	static const struct probe_case cases[] = {
		CASE_NO("\x11\x1f\x00\x04MQTT\x04\xc2\x00<", 1),
		CASE_NO("\x20\x02\x00\x00", 1),
		CASE_NO("\x10\x0b\x00\x04MQTT\x04\x02\x00<", 2),
		CASE_NO("\x10\x80\x80\x80\x80\x01\x00\x04MQTT", 5),
		CASE_NO("\x10\x1f\x00\x05MQTT\x04", 4),
		CASE_NO("\x10\x1f\x01\x04MQTT\x04", 3),
		CASE_NO("\x10\x1f\x00\x04mqtt\x04", 5),
		/* levels that do not exist */
		CASE_NO("\x10\x1f\x00\x04MQTT\x03\xc2", 9),
		CASE_NO("\x10\x1f\x00\x04MQTT\x06\xc2", 9),
		CASE_NO("\x10\x1f\x00\x04MQTT\x85\xc2", 9),
		CASE_NO("\x10\x1f\x00\x06MQIsdp\x04\xc2", 11),
		/* flags: reserved; QoS 3; a QoS and retain without a will; a password without a user */
		CASE_NO("\x10\x1f\x00\x04MQTT\x04\xc3", 10),
		CASE_NO("\x10\x1f\x00\x04MQTT\x04\x1c", 10),
		CASE_NO("\x10\x1f\x00\x04MQTT\x04\x0a", 10),
		CASE_NO("\x10\x1f\x00\x04MQTT\x04\x22", 10),
		CASE_NO("\x10\x1f\x00\x04MQTT\x04\x42", 10),
		/* no room for what they promise */
		CASE_NO("\x10\x0d\x00\x04MQTT\x04\x82", 10),
		CASE_NO("\x10\x0f\x00\x04MQTT\x04\x06", 10),
		CASE_NO("\x10\x0c\x00\x04MQTT\x05\x02", 10),
	};
	CASES_CHECK("mqtt", cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connects),
		cmocka_unit_test(the_user_settles_behind_what_precedes_it),
		cmocka_unit_test(beginnings),
		cmocka_unit_test(strangers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
