/* STUN and TURN with the magic cookie, and the older messages that prove themselves without. */
#include "probe_cases.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define COOKIE "\x21\x12\xa4\x42"
#define ID     "\1\2\3\4\5\6\7\x08\x09\x0a\x0b\x0c"

static void over_tcp(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\0\1\0\0" COOKIE ID, 8, ""),
		CASE_YES("\0\3\0\x24" COOKIE ID, 8, ""),
		CASE_YES("\0\x11\0\x08" COOKIE ID, 8, ""),
		CASE_MORE("\0\1\0\0\x21\x12\xa4"),
		/* an answer; no method; a method that does not exist; a length that is odd, or too much; no cookie */
		CASE_NO("\1\1\0\0" COOKIE, 4),
		CASE_NO("\0\0\0\0" COOKIE, 2),
		CASE_NO("\0\x0d\0\0" COOKIE, 2),
		CASE_NO("\0\1\0\2" COOKIE, 4),
		CASE_NO("\0\1\x20\0" COOKIE, 3),
		CASE_NO("\0\1\0\0\1\2\3\4" ID, 5),
		/* in a frame, RFC 4571 */
		CASE_YES("\0\x14\0\1\0\0" COOKIE ID, 10, ""),
		CASE_YES("\0\x60\0\1\0\x4c" COOKIE ID, 10, ""),
		CASE_MORE("\0\x14\0\1\0\0\x21\x12\xa4"),
		/* of which it is a part, or which it does not fill; too long; an answer; no cookie */
		CASE_NO("\0\x14\0\1\0\4" COOKIE ID, 6),
		CASE_NO("\0\x18\0\1\0\0" COOKIE ID, 6),
		CASE_NO("\4\x14\0\1\4\0" COOKIE ID, 1),
		CASE_NO("\0\x14\1\1\0\0" COOKIE ID, 4),
		CASE_NO("\0\x14\0\1\0\0\1\2\3\4", 7),
		/* SOCKS, and DNS with an id that is a STUN method's */
		CASE_NO("\5\1\0", 1),
		CASE_NO("\4\1\0\x50", 1),
		CASE_NO("\0\x1c\0\1\1\0\0\1", 6),
	};
	CASES_CHECK("stun", cases);
}

static void datagrams(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\0\1\0\0" COOKIE ID, 0, ""),
		CASE_YES("\0\3\0\x08" COOKIE ID "\0\x19\0\4\x11\0\0\0", 0, ""),
		/* RFC 3489 with CHANGE-REQUEST; the first TURN's cookie */
		CASE_YES("\0\1\0\x08\1\2\3\4" ID "\0\3\0\4\0\0\0\6", 0, ""),
		CASE_YES("\0\3\0\x10\1\2\3\4" ID "\0\x0f\0\4\x72\xc6\x4b\xc6\0\6\0\2ab\0\0", 0, ""),
		/* some do not fill their last attribute up */
		CASE_YES("\0\1\0\x06" COOKIE ID "\x80\x22\0\2ab", 0, ""),
		CASE_YES("\0\1\0\x05" COOKIE ID "\0\6\0\1a", 0, ""),
		/* data of a channel; of the most that there is; filled up */
		CASE_YES("\x40\0\0\x0c" ID, 0, ""),
		CASE_YES("\x7f\xfe\0\x14\0\1\0\0" COOKIE ID, 0, ""),
		CASE_YES("\x76\xcb\0\x0d" ID "\x0d\0\0\0", 0, ""),
		/* channels that are none; lengths that are not the datagram's; filled with something; few bytes: GTP is like that */
		CASE_NO("\x3f\xff\0\x0c" ID, 0),
		CASE_NO("\x7f\xff\0\x0c" ID, 0),
		CASE_NO("\x40\0\0\x0d" ID, 0),
		CASE_NO("\x40\0\0\x0c" ID "\0\0\0\0", 0),
		CASE_NO("\x40\0\0\x0d" ID "\x0d\0\0", 0),
		CASE_NO("\x40\0\0\x0d" ID "\x0d\0\0\1", 0),
		CASE_NO("\x40\1\0\4\xde\xfe\xc8\0", 0),
		/* the length is not the datagram's */
		CASE_NO("\0\1\0\4" COOKIE ID, 0),
		CASE_NO("\0\1\0\0" COOKIE "\1\2\3", 0),
		/* without a cookie: no attribute, none that proves it, one that runs past the end, an odd value */
		CASE_NO("\0\1\0\0\1\2\3\4" ID, 0),
		CASE_NO("\0\1\0\x08\1\2\3\4" ID "\0\6\0\4abcd", 0),
		CASE_NO("\0\1\0\x08\1\2\3\4" ID "\0\3\0\5\0\0\0\6", 0),
		CASE_NO("\0\1\0\x08\1\2\3\4" ID "\0\3\0\4\0\0\0\7", 0),
		CASE_NO("\0\1\0\x08\1\2\3\4" ID "\0\0\0\4\0\0\0\6", 0),
		CASE_NO("\0\1\0\x0c\1\2\3\4" ID "\0\3\0\4\0\0\0\6\0\6\0\4", 0),
	};
	DATAGRAMS_CHECK("stun", cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(over_tcp),
		cmocka_unit_test(datagrams),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
