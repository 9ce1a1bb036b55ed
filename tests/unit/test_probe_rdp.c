/* The connection request of MS-RDPBCGR 2.2.1.1 in all its forms, and what else begins with TPKT. */
#include "probe_cases.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define CR(total, li) "\x03\x00\x00" total li "\xe0\x00\x00\x00\x00\x00"
#define NEG           "\x01\x00\x08\x00\x03\x00\x00\x00"
#define CORRELATION                                                                                                  \
	"\x06\x00\x24\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"                           \
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

static void connection_requests(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES(CR("\x0b", "\x06"), 11, ""),
		CASE_YES(CR("\x13", "\x0e") NEG, 19, ""),
		CASE_YES(CR("\x13", "\x0e") "\x01\x00\x08\x00\x00\x00\x00\x00", 19, ""),
		CASE_YES(CR("\x2a", "\x25") "Cookie: mstshash=eltons\r\n"
					    "\x01\x00\x08\x00\x0b\x00\x00\x00",
			23, "cookie=eltons"),
		CASE_YES(CR("\x24", "\x1f") "Cookie: mstshash=alice\r\n", 23, "cookie=alice"),
		CASE_YES(CR("\x37", "\x32") "Cookie: msts=3640205228.15629.0000\r\n" NEG, 23, ""),
		CASE_YES(CR("\x37", "\x32") "\x01\x08\x08\x00\x03\x00\x00\x00" CORRELATION, 19, ""),
		CASE_YES(CR("\x30", "\x2b") "tsv://MS Terminal Services\x21\r\n\x01\x00\x08\x00\x01\x00\x00\x00", 48,
			""),
		CASE_YES(CR("\x1c", "\x17") "mth://localhost\r\n", 28, ""),
		CASE_YES("\x03\x00\x00\x2c\x27\xe0\x00\x00\x12\x34\x00"
			 "Cookie: mstshash=Administr\r\n" NEG,
			23, "cookie=Administr"),
	};
	CASES_CHECK("rdp", cases);
}

static void the_cookie_settles_with_its_line(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES(CR("\x2a", "\x25") "Cookie: msts", 23, "cookie?"),
		CASE_YES(CR("\x2a", "\x25") "Cookie: mstshash=elton", 23, "cookie?"),
		CASE_YES(CR("\x2a", "\x25") "Cookie: mstshash=eltons\r", 23, "cookie=eltons"),
		CASE_YES(CR("\x2a", "\x25") "Cookie: mstshash=elt\x01ns\r\n", 23, ""),
		CASE_YES(CR("\x2a", "\x25") "Cookie: mstshash=\r\n", 23, ""),
		CASE_YES(CR("\x21", "\x1c") "Cookie: mstshash=alice\r\n", 23,
			""), /* its end lies behind the packet's */
		CASE_YES(CR("\x17", "\x12") "Cookie: msts\r\n", 23, ""),
	};
	CASES_CHECK("rdp", cases);
}

#define BLOB "\0\0\0\0\0\0\2\0\0\0\0\0\0\0"

static void preconnection_packets(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\x10\0\0\0\0\0\0\0\1\0\0\0\7\0\0\0", 12, "cookie?"),
		CASE_YES("\x16\0" BLOB "\2\0a\0\0\0" CR("\x24", "\x1f") "Cookie: mstshash=alice\r\n", 18,
			"cookie=alice"),
		CASE_YES("\x16\0" BLOB "\2\0a\0\0\0\x16\3\1", 18, ""),
		CASE_MORE("\x16\0" BLOB "\2"),
		CASE_NO("\x16\0" BLOB "\3\0", 18),
		CASE_NO("\x14\0\0\0\0\0\0\0\1\0\0\0\7", 12),
		CASE_NO("\x10\0\0\0\0\0\0\0\3\0\0\0\7", 9),
		CASE_NO("\x10\0\0\0\1\0\0\0\1\0\0\0\7", 5),
		CASE_NO("\x10\0\0\0\0\0\0\0\2\0\0\0\7", 12),
		CASE_NO("\x3a\0\0\0\x4c", 5),
		CASE_NO("\x14\5", 2),
		CASE_NO("\x0e\0", 2),
		CASE_NO("\5\1\0", 1),
	};
	CASES_CHECK("rdp", cases);
}

static void beginnings(void **state)
{
	static const struct probe_case cases[] = {
		CASE_MORE("\x03"),
		CASE_MORE("\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00"),
		CASE_MORE(CR("\x13", "\x0e") "\x01\x00\x08"),
		CASE_MORE(CR("\x2a", "\x25") "Cookie: mst"),
		CASE_MORE(CR("\x2a", "\x25") "tsv://"),
	};
	CASES_CHECK("rdp", cases);
}

static void a_session_without_a_request(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\x03\x00\x01\xca\x02\xf0\x80\x7f\x65\x82\x01\xbe\x04\x01\x01", 9, ""),
		CASE_YES("\x03\x00\x00\x8a\x02\xf0\x80\x7f\x65", 9, ""),
		CASE_MORE("\x03\x00\x01\xca\x02\xf0\x80\x7f"),
		CASE_NO("\x03\x00\x01\xca\x02\xf0\x80\x7f\x66", 9), /* the answer */
		CASE_NO("\x03\x00\x00\x19\x02\xf0\x80\x32\x01", 5), /* S7 */
		CASE_NO("\x03\x00\x10\x00\x02\xf0\x80\x7f\x65", 4),
	};
	CASES_CHECK("rdp", cases);
}

static void strangers(void **state)
{
	static const struct probe_case cases[] = {
		/* S7 and MMS name their TSAPs. */
		CASE_NO("\x03\x00\x00\x16\x11\xe0\x00\x00\x00\x01\x00\xc1\x02\x01\x00\xc2\x02\x01\x02\xc0\x01\x0a",
			12),
		CASE_NO("\x03\x00\x00\x16\x11\xe0\x00\x00\x00\x00\x00\xc0\x01\x0a\xc1\x02\x00\x01\xc2\x02\x00\x01",
			12),
		/* H.225 call signalling: a TPKT with Q.931 in it. */
		CASE_NO("\x03\x00\x00\xc4\x08\x02\x5f\x3e\x05\x04\x03\x80\x90\xa5", 5),
		/* another length indicator, class, destination; no room; too long */
		CASE_NO("\x03\x00\x00\x13\x0f\xe0\x00\x00\x00\x00\x00" NEG, 5),
		CASE_NO("\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x02" NEG, 11),
		CASE_NO("\x03\x00\x00\x13\x0e\xe0\x00\x01\x00\x00\x00" NEG, 8),
		CASE_NO("\x03\x00\x00\x0a\x05\xe0\x00\x00\x00\x00", 4),
		CASE_NO("\x03\x00\x02\x00\xfb\xe0", 5),
		CASE_NO("\x03\x00\x00\x13\x0e\xd0\x00\x00\x00\x00\x00" NEG, 6),
		CASE_NO("\x03\x00\x00\x0b\x06\xe0\x00\x00\x12\x34\x00", 11),
		/* negotiations that do not fill the packet, or are none */
		CASE_NO(CR("\x14", "\x0f") NEG, 12),
		CASE_NO(CR("\x13", "\x0e") "\x01\x08\x08\x00\x03\x00\x00\x00", 13),
		CASE_NO(CR("\x13", "\x0e") "\x01\x00\x09\x00\x03\x00\x00\x00", 14),
		CASE_NO(CR("\x13", "\x0e") "\x01\x00\x08\x00\x03\x00\x01\x00", 18),
		CASE_NO(CR("\x13", "\x0e") "\x02\x00\x08\x00\x03\x00\x00\x00", 12),
		CASE_NO(CR("\x1c", "\x17") "mth://localhost!\r\n", 27),
		CASE_NO(CR("\x1f", "\x1a") "mth://localhost\r\n"
					   "abc",
			28),
		CASE_NO(CR("\x0d", "\x08") "\r\n", 12),
		CASE_NO("\x03\x01\x00", 2),
		/* Cassandra's v3, SOCKS 4 */
		CASE_NO("\x03\x00\x00\x00\x05\x00\x00\x00\x00", 4),
		CASE_NO("\x04\x01\x00\x50", 4),
	};
	CASES_CHECK("rdp", cases);
}

/* MS-RDPEUDP 2.2.2.1, 2.2.2.5, 3.1.5.1.1 */
static void datagrams(void **state)
{
#define SYN(flags, mtus) "\xff\xff\xff\xff\x00\x40" flags "\x12\x34\x56\x78" mtus
#define MTUS             "\x04\xd0\x04\xd0"
	static const struct probe_case cases[] = {
		CASE_YES(SYN("\x00\x01", MTUS), 0, ""),
		CASE_YES(SYN("\x02\x01", "\x04\x6c\x04\x6c") "\x00\x00\x00", 0, ""),
		CASE_YES(SYN("\x18\x01", MTUS) CORRELATION, 0, ""),
		CASE_NO(SYN("\x00\x05", MTUS), 0), /* acknowledges */
		CASE_NO(SYN("\x10\x00", MTUS), 0), /* no SYN */
		CASE_NO(SYN("\x00\x01", "\x04\xd1\x04\xd0"), 0),
		CASE_NO(SYN("\x00\x01", "\x04\xd0\x04\x6b"), 0),
		CASE_NO(SYN("\x00\x01", "\x04\xd0\x04"), 0),
		CASE_NO("\xff\xff\xff\xfe\x00\x40\x00\x01\x12\x34\x56\x78" MTUS, 0),
		CASE_NO(CR("\x13", "\x0e") NEG, 0),
	};
	DATAGRAMS_CHECK("rdp", cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connection_requests),
		cmocka_unit_test(the_cookie_settles_with_its_line),
		cmocka_unit_test(preconnection_packets),
		cmocka_unit_test(beginnings),
		cmocka_unit_test(a_session_without_a_request),
		cmocka_unit_test(strangers),
		cmocka_unit_test(datagrams),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
