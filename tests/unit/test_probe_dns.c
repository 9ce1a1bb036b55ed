/* DNS messages as a client begins with, over TCP and in datagrams, and the many that only look like it. */
#include "probe_cases.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define EXAMPLE "\7example\3com\0"
#define COOKIE  "\0\0\x29\4\xd0\0\0\0\0\0\x0c\0\x0a\0\x08\x2c\x8c\x76\xe1\xc4\xee\xfb\x5c"

static void queries_over_tcp(void **state)
{
	static const struct probe_case cases[] = {
		/* dig 9.18: AXFR, IXFR, no question, status; nsupdate */
		CASE_YES("\0\x35\xa6\x9a\0\x20\0\1\0\0\0\0\0\1\4shop\7example\0\0\xfc\0\1" COOKIE, 32, ""),
		CASE_YES(
			"\0\x57\x65\x58\0\0\0\1\0\0\0\1\0\1\4shop\7example\0\0\xfb\0\1\xc0\x0c\0\6\0\1\0\0\0\0\0\x16",
			32, ""),
		CASE_YES("\0\x23\x7d\x9f\1\x20\0\0\0\0\0\0\0\1" COOKIE, 19, ""),
		CASE_YES("\0\x13\x2a\x51\x11\x20\0\1\0\0\0\0\0\0\1x\0\0\1\0\1", 21, ""),
		CASE_YES("\0\x30\xc2\x2c\x28\0\0\1\0\0\0\1\0\0\4shop\7example\0\0\6\0\1\1"
			 "a\xc0\x0c\0\1\0\1\0\0\0\x3c",
			32, ""),
		/* the root's; version.bind; a notify with its SOA; a TKEY in the answer; flags of answers; nmap's status */
		CASE_YES("\0\x11\x12\x34\1\0\0\1\0\0\0\0\0\0\0\0\2\0\1", 19, ""),
		CASE_YES("\0\x1e\0\6\1\0\0\1\0\0\0\0\0\0\7version\4bind\0\0\x10\0\3", 32, ""),
		CASE_YES("\0\x40\x12\x34\x24\0\0\1\0\1\0\0\0\0" EXAMPLE "\0\6\0\1\xc0\x0c\0\6\0\1", 31, ""),
		CASE_YES("\7\xd0\x12\x34\0\0\0\1\0\1\0\0\0\0" EXAMPLE "\0\xf9\0\xff", 31, ""),
		CASE_YES("\0\x11\x12\x34\7\xf0\0\1\0\0\0\0\0\0\0\0\2\0\1", 19, ""),
		CASE_YES("\0\x0c\0\0\x10\0\0\0\0\0\0\0\0\0", 14, ""),
		/* a second one behind it */
		CASE_YES("\0\x11\x12\x34\1\0\0\1\0\0\0\0\0\0\0\0\2\0\1\0\x11", 19, ""),
		CASE_MORE("\0"),
		CASE_MORE("\0\x1d"),
		CASE_MORE("\0\x1d\x12\x34\1\0\0\1\0\0\0\0\0"),
		CASE_MORE("\0\x1d\x12\x34\1\0\0\1\0\0\0\0\0\0" EXAMPLE "\0\1\0"),
	};
	CASES_CHECK("dns", cases);
}

static void strangers_over_tcp(void **state)
{
	static const struct probe_case cases[] = {
		/* OpenVPN, PostgreSQL, SOCKS, TLS, SMB, RDP, MQTT, text */
		CASE_NO("\0\x0e\x38\1\2\3\4\5\6\7\x08\0\0\0\0\0", 6),
		CASE_NO("\0\x2a\x38\xd9\xc4\x2c\x5c\xdf\xe3\6", 5),
		CASE_NO("\0\0\0\x08\4\xd2\x16\x2f", 2),
		CASE_NO("\5\1\0", 2),
		CASE_NO("\5\4\0\1\2\x80", 2),
		CASE_NO("\4\1\0\x50\1\0\0\1\0", 2),
		CASE_NO("\x16\3\1\2\0\1\0\1\xfc\3\3", 6),
		CASE_NO("\3\0\0\x13\x0e\xe0\0\0\0\0\0", 5),
		CASE_NO("\x10\x1f\0\4MQTT\4", 5),
		CASE_NO("GET / HTTP/1.1\r\n", 1),
		CASE_NO("\x80\x46\1\3\1\0\x2d", 1),
		/* a Cassandra client's OPTIONS, version 4 and 5 */
		CASE_NO("\4\0\0\0\5\0\0\0\0", 8),
		CASE_NO("\5\0\0\0\5\0\0\0\0", 8),
		/* an answer, inverse queries and opcodes that are none, an error */
		CASE_NO("\0\x1d\x12\x34\x81\0", 5),
		CASE_NO("\0\x1d\x12\x34\x09\0", 5),
		CASE_NO("\0\x1d\x12\x34\x18\0", 5),
		CASE_NO("\0\x1d\x12\x34\1\1", 6),
		/* no question and nothing else; two; an answer; an authority; four additional records */
		CASE_NO("\0\x1d\x12\x34\1\0\0\0\0\0\0\0\0\0", 14),
		CASE_NO("\0\x1d\x12\x34\1\0\0\2\0\0", 8),
		CASE_NO("\0\x40\x12\x34\1\0\0\1\0\1\0\0\0\0" EXAMPLE "\0\1\0\1", 31),
		CASE_NO("\0\x40\x12\x34\1\0\0\1\0\0\0\1\0\0" EXAMPLE "\0\1\0\1", 31),
		CASE_NO("\0\x80\x12\x34\1\0\0\1\0\0\0\0\0\4" EXAMPLE "\0\1\0\1", 14),
		/* names: a pointer; a label of 64; longer than the message */
		CASE_NO("\0\x1d\x12\x34\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", 15),
		CASE_NO("\0\x80\x12\x34\1\0\0\1\0\0\0\0\0\0\x40", 15),
		CASE_NO("\0\x1d\x12\x34\1\0\0\1\0\0\0\0\0\0\x0d", 15),
		/* type 0; class 0; an update of what is no zone; a byte behind the question; no room for a record */
		CASE_NO("\0\x1d\x12\x34\1\0\0\1\0\0\0\0\0\0" EXAMPLE "\0\0\0\1", 31),
		CASE_NO("\0\x1d\x12\x34\1\0\0\1\0\0\0\0\0\0" EXAMPLE "\0\1\0\0", 31),
		CASE_NO("\0\x1d\x12\x34\x28\0\0\1\0\0\0\0\0\0" EXAMPLE "\0\1\0\1", 31),
		CASE_NO("\0\x1e\x12\x34\1\0\0\1\0\0\0\0\0\0" EXAMPLE "\0\1\0\1", 31),
		CASE_NO("\0\x27\x12\x34\1\0\0\1\0\0\0\0\0\1" EXAMPLE "\0\1\0\1", 31),
		CASE_NO("\0\x23\x12\x34\1\0\0\0\0\0\0\0\0\1\0\0\1\0\1", 19),
	};
	CASES_CHECK("dns", cases);
}

/* 128 labels of one byte are 256 bytes with the root's. */
static void a_name_has_255_bytes(void **state)
{
	uint8_t bytes[2 + 12 + 256 + 4] = { 1, 15, 1, 2, 1, 0, 0, 1 };
	const struct probe *probe = probe_find("dns");
	static struct answer answer;

	for (size_t i = 14; i < 14 + 254; i += 2) {
		bytes[i] = 1;
		bytes[i + 1] = 'x';
	}
	memcpy(bytes + 268, "\0\0\1\0\1", 5);
	answer_get(&answer, probe, bytes, 273);
	assert_int_equal(answer.verdict, VERDICT_YES);
	assert_null(cuts_check(probe, bytes, 273, 1000));
	bytes[1]++;
	bytes[266] = 2;
	memcpy(bytes + 269, "\0\0\1\0\1", 5);
	answer_get(&answer, probe, bytes, 274);
	assert_int_equal(answer.verdict, VERDICT_NO);
}

static void datagrams(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\x12\x34\1\0\0\1\0\0\0\0\0\0" EXAMPLE "\0\1\0\1", 0, ""),
		CASE_YES("\x12\x34\1\x20\0\1\0\0\0\0\0\1" EXAMPLE "\0\1\0\1" COOKIE, 0, ""),
		CASE_YES("\x12\x34\1\0\0\1\0\0\0\0\0\0\3\0\1\2" EXAMPLE "\0\x0a\0\1", 0, ""),
		/* an iterative resolver; one for a top level, with EDNS; the root's; local names of a stub */
		CASE_YES("\x12\x34\0\0\0\1\0\0\0\0\0\0" EXAMPLE "\0\1\0\1", 0, ""),
		CASE_YES("\x12\x34\0\0\0\1\0\0\0\0\0\1\3com\0\0\2\0\1" COOKIE, 0, ""),
		CASE_YES("\0\0\0\0\0\1\0\0\0\0\0\0\0\0\6\0\1", 0, ""),
		CASE_YES("\x12\x34\1\0\0\1\0\0\0\0\0\0\5local\0\0\1\0\1", 0, ""),
		CASE_YES("\x12\x34\0\0\0\1\0\0\0\0\0\0\1x\5local\0\0\1\0\1", 0, ""),
		CASE_YES("\0\0\x10\0\0\0\0\0\0\0\0\0", 0, ""),
		/* recursion available, copied from an answer */
		CASE_YES("\x12\x34\1\x80\0\1\0\0\0\0\0\0" EXAMPLE "\0\1\0\1", 0, ""),
		/* an SRV record of 32 letters, of which a quarter are no half bytes */
		CASE_YES("\x12\x34\1\0\0\1\0\0\0\0\0\0 ABCDEFGHIJKLMNOPABCDEFGQRSTUVWXY\0\0\x21\0\1", 0, ""),
		CASE_YES("\x12\x34\1\0\0\1\0\0\0\0\0\0 abcdefghijklmnopabcdefghijklmnop\0\0\1\0\1", 0, ""),
		/* NetBIOS: a name, a status, a registration; LLMNR; mDNS: a QU bit, two questions, a name, a reverse one */
		CASE_NO("\x45\x72\1\x10\0\1\0\0\0\0\0\0 ABACFPFPENFDECFCEPFHFDEFFPFPACAB\0\0\x20\0\1", 0),
		CASE_NO("\x45\x72\1\x10\0\1\0\0\0\0\0\0 EFEDEJFPEEEPENkBEJEOSACACAC\xf5"
			"ACABM\0\x71\x20\0\1",
			0),
		CASE_NO("\x80\xf0\0\x10\0\1\0\0\0\0\0\0 CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\0\0\x21\0\1", 0),
		CASE_NO("\x89\x2e\x29\x10\0\1\0\0\0\0\0\1 "
			"EEEKFADJDFFDDAEKCACACACACACACAAA\0\0\x20\0\1\xc0\x0c\0\x20\0\1",
			0),
		CASE_NO("\x12\x34\0\0\0\1\0\0\0\0\0\0\4wpad\0\0\1\0\1", 0),
		CASE_NO("\0\0\0\0\0\1\0\0\0\0\0\0\1x\5local\0\0\1\x80\1", 0),
		CASE_NO("\0\0\0\0\0\2\0\0\0\0\0\0\5_raop\4_tcp\5local\0\0\x0c\0\1\x08_airplay\xc0\x12\0\x0c\0\1", 0),
		CASE_NO("\0\0\0\0\0\1\0\0\0\0\0\0\1x\5LOCAL\0\0\1\0\1", 0),
		CASE_NO("\0\0\0\0\0\1\0\0\0\0\0\0\1"
			"1\7in-addr\4arpa\0\0\x0c\0\1",
			0),
		/* cut; a byte too many; NTP; STUN; OpenVPN; noise */
		CASE_NO("\x12\x34\1\0\0\1\0\0\0\0\0\0\7example\3com\0\0\1\0", 0),
		CASE_NO("\x12\x34\1\0\0\1\0\0\0\0\0\0" EXAMPLE "\0\1\0\1\0", 0),
		CASE_NO("\x1b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 0),
		CASE_NO("\0\1\0\0\x21\x12\xa4\x42\1\2\3\4\5\6\7\x08\x09\x0a\x0b\x0c", 0),
		CASE_NO("\x38\x54\x49\x67\xd6\x6c\xc0\x0a\xc3\0\0\0\0\0", 0),
		CASE_NO("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0),
		/* two questions, the second by a pointer; three, and EDNS */
		CASE_YES("\x12\x34\1\0\0\2\0\0\0\0\0\0" EXAMPLE "\0\1\0\1\xc0\x0c\0\x1c\0\1", 0, ""),
		CASE_YES(
			"\x12\x34\1\0\0\3\0\0\0\0\0\1" EXAMPLE "\0\1\0\1\1a\xc0\x0c\0\1\0\1\0\0\2\0\1" COOKIE, 0, ""),
		/* fewer than it says; more; without an id and flags; with answers; a class that is none; a pointer forwards; an update */
		CASE_NO("\x12\x34\1\0\0\3\0\0\0\0\0\0" EXAMPLE "\0\1\0\1\xc0\x0c\0\x1c\0\1", 0),
		CASE_NO("\x12\x34\1\0\0\2\0\0\0\0\0\0" EXAMPLE "\0\1\0\1\xc0\x0c\0\x1c\0\1\0", 0),
		CASE_NO("\0\0\0\0\0\2\0\0\0\0\0\0" EXAMPLE "\0\1\0\1\xc0\x0c\0\x1c\0\1", 0),
		CASE_NO("\x12\x34\1\0\0\2\0\1\0\0\0\0" EXAMPLE "\0\1\0\1\xc0\x0c\0\x1c\0\1" COOKIE, 0),
		CASE_NO("\x12\x34\1\0\0\2\0\0\0\0\0\0" EXAMPLE "\0\1\0\1\xc0\x0c\0\x1c\x80\1", 0),
		CASE_NO("\x12\x34\1\0\0\2\0\0\0\0\0\0" EXAMPLE "\0\1\0\1\xc0\x1d\0\x1c\0\1", 0),
		CASE_NO("\x12\x34\x28\0\0\2\0\0\0\0\0\0" EXAMPLE "\0\6\0\1\xc0\x0c\0\6\0\1", 0),
		CASE_NO("\x12\x34\1\0\0\x11\0\0\0\0\0\0" EXAMPLE "\0\1\0\1", 0),
		/* a byte behind the records; a record that runs past the end */
		CASE_NO("\x12\x34\1\x20\0\1\0\0\0\0\0\1" EXAMPLE "\0\1\0\1" COOKIE "\0", 0),
		CASE_NO("\x12\x34\1\x20\0\1\0\0\0\0\0\1" EXAMPLE "\0\1\0\1\0\0\x29\4\xd0\0\0\0\0\0\1", 0),
	};
	DATAGRAMS_CHECK("dns", cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queries_over_tcp),
		cmocka_unit_test(strangers_over_tcp),
		cmocka_unit_test(a_name_has_255_bytes),
		cmocka_unit_test(datagrams),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
