/* What devices and services of a network speak: syslog, Kerberos, DICOM, Modbus, Winbox; and near misses. */
#include "probe_cases.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void syslog_lines(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("<34>1 2026-11-22T10:00:00Z host app - - - hello\n", 5, ""),
		CASE_YES("<13>Nov 22 03:29:15 vm prog: hello\n", 5, ""),
		CASE_YES("<0>x", 4, ""),
		CASE_YES("<191>30: *Sep 22", 6, ""),
		CASE_YES("95 <13>1 2026", 8, ""),
		CASE_YES("102400 <13>1 2026", 12, ""),
		CASE_MORE("<191>"),
		CASE_MORE("95 <13"),
		CASE_NO("<192>x", 4),
		CASE_NO("<733>J5l 19", 4),
		CASE_NO("<013>x", 3),
		CASE_NO("<1300", 5),
		CASE_NO("<>x", 2),
		CASE_NO("<13 >", 4),
		CASE_NO("<13>\n", 5),
		CASE_NO("<?xml version='1.0'?>", 2),
		CASE_NO("<stream:stream", 2),
		CASE_NO("0 alice 17\n", 1),
		CASE_NO("0033git-upload-pack /", 1),
		CASE_NO("2 <13>1", 2),
		CASE_NO("95<13>1", 3),
		CASE_NO("1024000 <13>", 7),
	};
	static const struct probe_case datagrams[] = {
		CASE_YES("<13>hi", 0, ""),
		CASE_YES("<14>hi\0", 0, ""),
		CASE_YES("<14>\xef\xbb\xbfhi", 0, ""),
		CASE_NO("<14>", 0),
		CASE_NO("9 <13>1 a", 0),
		CASE_NO("<192>hi", 0),
	};
	CASES_CHECK("syslog", cases);
	DATAGRAMS_CHECK("syslog", datagrams);
}

#define VERSION "\xa1\3\2\1\5"
#define AS      "\xa2\3\2\1\x0a"
#define TGS     "\xa2\3\2\1\x0c"

static void kerberos(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\0\0\0\x71j\x81\x6e\x30\x81\x6b" VERSION AS "\xa4", 20, ""),
		CASE_YES("\0\0\0\x2cj\x2a\x30\x28" VERSION AS "\xa4", 18, ""),
		CASE_YES("\0\0\4\xbbl\x82\4\xb7\x30\x82\4\xb3" VERSION TGS "\xa3", 22, ""),
		CASE_YES("\0\0\0\x77j\x84\0\0\0\x71\x30\x84\0\0\0\x6b" VERSION AS, 26, ""),
		CASE_MORE("\0\0\0\x71j\x81\x6e\x30\x81\x6b" VERSION "\xa2\3\2\1"),
		/* a type that is not the tag's; version 4; lengths that do not agree; too short, too long; another message */
		CASE_NO("\0\0\0\x71j\x81\x6e\x30\x81\x6b" VERSION TGS, 20),
		CASE_NO("\0\0\0\x71j\x81\x6e\x30\x81\x6b\xa1\3\2\1\4", 15),
		CASE_NO("\0\0\0\x72j\x81\x6e\x30", 7),
		CASE_NO("\0\0\0\x71j\x81\x6e\x30\x81\x6a", 10),
		CASE_NO("\0\0\0\x71j\x81\x6e\x31", 8),
		CASE_NO("\0\0\0\x10j\x0e", 4),
		CASE_NO("\0\x20\0\0j", 2),
		CASE_NO("\0\0\0\x71n\x81\x6e\x30", 5),
		CASE_NO("\0\0\0\x71j\x80", 6),
		CASE_NO("\0\0\0\x71j\x85\1", 6),
		CASE_NO("\0\0\0\x08\4\xd2\x16\x2f", 4),
	};
	static uint8_t request[0x71];
	static struct answer answer;

	CASES_CHECK("kerberos", cases);
	memcpy(request, cases[0].bytes + 4, cases[0].len - 4);
	for (size_t len = 1; len <= sizeof(request); len++) {
		datagram_answer_get(&answer, probe_find("kerberos"), request, len);
		assert_int_equal(answer.verdict, len == sizeof(request) ? VERDICT_YES : VERDICT_NO);
	}
}

#define TITLES "ANY-SCP         ECHOSCU         "

static void dicom(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\1\0\0\0\0\xcd\0\1\0\0" TITLES, 42, ""),
		CASE_YES("\1\0\0\0\0\xcd\0\1\0\0"
			 "A\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
			 "ME              \0\0",
			42, ""),
		CASE_MORE("\1\0\0\0\0\xcd\0\1\0\0"
			  "ANY-SCP         ECHOSCU        "),
		CASE_NO("\2\0\0\0\0\xcd\0\1\0\0" TITLES, 1),
		CASE_NO("\1\1\0\0\0\xcd", 2),
		CASE_NO("\1\0\0\0\0\x20", 6),
		CASE_NO("\1\0\0\x7f\0\0", 6),
		CASE_NO("\1\0\0\0\0\xcd\0\2", 8),
		CASE_NO("\1\0\0\0\0\xcd\0\1\0\0"
			"A\1",
			12),
		CASE_NO("\1\0\0\0\0\xcd\0\1\0\0"
			"A\0B",
			13),
		CASE_NO("\1\0\0\0\0\xcd\0\1\0\0"
			"                ",
			26),
		CASE_NO("\1\0\0\xfd\xce\xfa\x0b\xb0\xa0\0\0\0MMS", 6),
	};
	CASES_CHECK("dicom", cases);
}

static void modbus(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\0\1\0\0\0\6\7\3\0\0\0\x0d", 12, ""),
		CASE_YES("\x12\x34\0\0\0\6\1\1\0\x13\7\xd0", 12, ""),
		CASE_YES("\0\1\0\0\0\6\1\5\0\xac\xff\0", 12, ""),
		CASE_YES("\0\1\0\0\0\6\1\6\0\1\1\2", 12, ""),
		CASE_YES("\0\1\0\0\0\x09\1\x0f\0\1\0\x0a\2\xcd\1", 15, ""),
		CASE_YES("\0\1\0\0\0\x0b\1\x10\0\1\0\2\4\0\x0a\1\2", 17, ""),
		CASE_YES("\0\0\0\0\0\2\1\x11", 8, ""),
		CASE_YES("\0\1\0\0\0\5\1\x2b\x0e\1\0", 11, ""),
		CASE_YES("\0\1\0\0\0\x0d\1\x17\0\3\0\6\0\x0e\0\1\2\0\xff", 19, ""),
		/* UMAS: init; read a block; an answer; too short */
		CASE_YES("\0\1\0\0\0\5\0\x5a\0\1\0", 11, ""),
		CASE_YES("\0\2\0\0\0\x0d\0\x5a\0\x20\1\x14\0\0\0\0\0\0\2", 19, ""),
		CASE_NO("\0\1\0\0\0\5\0\x5a\0\xfe\0", 11),
		CASE_NO("\0\1\0\0\0\3\0\x5a", 8),
		CASE_MORE("\0\1\0\0\0\6\7\3\0\0\0"),
		/* none or too many, past the last, an odd value, a length that the function has not, an odd function */
		CASE_NO("\0\1\0\0\0\6\7\3\0\0\0\0", 12),
		CASE_NO("\0\1\0\0\0\6\7\3\0\0\0\x7e", 12),
		CASE_NO("\0\1\0\0\0\6\7\3\xff\xff\0\2", 12),
		CASE_NO("\0\1\0\0\0\6\1\5\0\xac\xff\1", 12),
		CASE_NO("\0\1\0\0\0\7\7\3", 8),
		CASE_NO("\0\1\0\0\0\6\7\x64", 8),
		CASE_NO("\0\1\0\0\0\6\7\x83", 8),
		CASE_NO("\0\1\0\0\0\x0b\1\x10\0\1\0\2\5\0\x0a\1\2", 17),
		CASE_NO("\0\1\0\0\0\1", 6),
		CASE_NO("\0\1\0\0\1", 5),
		CASE_NO("\0\1\0\1", 4),
		/* SOCKS 5, and a DNS query with the id 0 */
		CASE_NO("\5\1\0", 2),
		CASE_NO("\0\x11\0\0\1\0\0\1", 5),
	};
	CASES_CHECK("modbus", cases);
}

#define KEY "0123456789abcdef0123456789abcdef"

static void winbox(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\x27\6"
			 "admin\0" KEY "\1",
			41, ""),
		CASE_YES("\x23\6"
			 "a\0" KEY "\0\1",
			37, ""),
		CASE_YES("\x68\1\0\x66M2\5\0\xff\1", 6, ""),
		CASE_MORE("\x27\6"
			  "admin\0" KEY),
		CASE_NO("\x27\6"
			"admins" KEY "\1",
			8),
		CASE_NO("\x27\6"
			"adm\n",
			6),
		CASE_NO("\x27\6"
			"admin\0" KEY "\2",
			41),
		CASE_NO("\x22\6", 2),
		CASE_NO("\xff\6", 2),
		CASE_NO("\x68\1\0\x65", 4),
		CASE_NO("\x68\1\0\x66M3", 6),
		CASE_NO("\x08\1\0\6", 1),
		/* the API of the same routers */
		CASE_NO("\6/login", 1),
	};
	CASES_CHECK("winbox", cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(syslog_lines),
		cmocka_unit_test(kerberos),
		cmocka_unit_test(dicom),
		cmocka_unit_test(modbus),
		cmocka_unit_test(winbox),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
