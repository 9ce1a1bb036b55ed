/* What peers, developers and viewers speak: BitTorrent, git, rsync, VNC, RTMP, tinc, adb, Minecraft; and near misses. */
#include "probe_cases.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void bittorrent(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\x13"
			 "BitTorrent protocol\0\0\0\0\0\x10\0\5",
			20, ""),
		CASE_MORE("\x13"
			  "BitTorrent protoco"),
		CASE_NO("\x13OHYO_DOUXIE_BOX", 2),
		CASE_NO("\x14"
			"BitTorrent",
			1),
		CASE_NO("GET /announce?info_hash=a HTTP/1.1\r\n", 1),
	};
	static const struct probe_case datagrams[] = {
		CASE_YES("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t1:x1:y1:qe", 0, ""),
		CASE_YES("d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:"
			 "y1:qe",
			0, ""),
		CASE_YES("\x41\0\xe5\xb8\x4a\x1f\x2c\x33\0\0\0\0\0\x10\0\0\x9c\x2d\0\0", 0, ""),
		CASE_YES("\x41\2\xe5\xb8\x4a\x1f\x2c\x33\0\0\0\0\0\x10\0\0\x9c\x2d\0\0\0\x08\0\0\0\0\0\0\0\0", 0, ""),
		/* an answer; too short; cut */
		CASE_NO("d1:rd2:id20:abcdefghij0123456789e1:q4:ping1:t1:x1:y1:re", 0),
		CASE_NO("d1:ad2:id20:abcdefghij01234567891:q1:t1:y1:qe", 0),
		CASE_NO("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t1:x1:y1:q", 0),
		/* uTP: data; a delay; something acknowledged; bytes behind; an extension that runs past the end */
		CASE_NO("\1\0\xe5\xb8\x4a\x1f\x2c\x33\0\0\0\0\0\x10\0\0\x9c\x2d\0\0", 0),
		CASE_NO("\x41\0\xe5\xb8\x4a\x1f\x2c\x33\0\0\0\1\0\x10\0\0\x9c\x2d\0\0", 0),
		CASE_NO("\x41\0\xe5\xb8\x4a\x1f\x2c\x33\0\0\0\0\0\x10\0\0\x9c\x2d\0\1", 0),
		CASE_NO("\x41\0\xe5\xb8\x4a\x1f\x2c\x33\0\0\0\0\0\x10\0\0\x9c\x2d\0\0a", 0),
		CASE_NO("\x41\2\xe5\xb8\x4a\x1f\x2c\x33\0\0\0\0\0\x10\0\0\x9c\x2d\0\0\0\x09\0\0\0\0\0\0\0\0", 0),
	};
	CASES_CHECK("bittorrent", cases);
	DATAGRAMS_CHECK("bittorrent", datagrams);
}

static void git_and_rsync(void **state)
{
	static const struct probe_case git[] = {
		CASE_YES("0032git-upload-pack /project.git\0host=example.com\0", 20, "host=example.com"),
		CASE_YES("0036git-upload-pack /project.git\0host=[::1]:9418\0\0v", 20, "host?"),
		CASE_YES("0036git-upload-pack /project.git\0host=[::1]:9418\0\0v=2\0", 20, "host=[::1]"),
		CASE_YES("0033git-upload-pack /project.git\0host=example.co", 20, "host?"),
		CASE_YES("0021git-upload-pack /project.git\0", 20, ""),
		CASE_YES("0020git-upload-pack /project.git", 20, ""),
		CASE_YES("0029git-upload-pack /project.git\0host=a b", 20, ""),
		CASE_YES("003Agit-receive-pack /a", 21, "host?"),
		CASE_YES("0045git-upload-archive /a", 23, "host?"),
		CASE_MORE("0033git-upload-"),
		CASE_NO("0014command=ls-refs\n", 4),
		CASE_NO("0000", 4),
		CASE_NO("fff1", 4),
		CASE_NO("0033git-upload-file /", 16),
		CASE_NO("0 alice 17\n", 2),
	};
	static const struct probe_case rsync[] = {
		CASE_YES("@RSYNCD: 31.0\n", 10, ""),
		CASE_YES("@RSYNCD: 29\n", 10, ""),
		CASE_MORE("@RSYNCD: "),
		CASE_NO("@RSYNCD: OK\n", 10),
		CASE_NO("@RSYNCD 31", 8),
	};
	CASES_CHECK("git", git);
	CASES_CHECK("rsync", rsync);
}

static void vnc_and_tinc(void **state)
{
	static const struct probe_case vnc[] = {
		CASE_YES("RFB 003.003\n", 12, ""),
		CASE_YES("RFB 003.889\n", 12, ""),
		CASE_YES("RFB 005.000\n\1", 12, ""),
		CASE_MORE("RFB 003.008"),
		CASE_NO("RFB 002.008\n", 7),
		CASE_NO("RFB 003.008\r\n", 12),
		CASE_NO("RFB 013.008\n", 6),
	};
	static const struct probe_case tinc[] = {
		CASE_YES("0 alice 17\n", 11, ""),
		CASE_YES("0 think 17\n", 11, ""),
		CASE_YES("0 client 17.7\n1 94 64\n", 14, ""),
		CASE_YES("0 ?aB-_9 17.7\n", 14, ""),
		CASE_MORE("0 alice 17"),
		CASE_MORE("0 alice 17."),
		CASE_NO("0 ^cookie 17\n", 3),
		CASE_NO("0 alice 7\n", 10),
		CASE_NO("0 alice 18\n", 11),
		CASE_NO("0 alice 17.\n", 12),
		CASE_NO("0 alice bob\n", 9),
		CASE_NO("0 al-ice 17\n", 5),
		CASE_NO("0  17\n", 3),
		CASE_NO("1 alice 17\n", 1),
	};
	CASES_CHECK("vnc", vnc);
	CASES_CHECK("tinc", tinc);
}

static void rtmp(void **state)
{
	static const struct {
		uint8_t begin[9];
		enum verdict verdict;
		size_t decided_at;
	} cases[] = {
		{ { 3, 0, 0, 0, 0, 0, 0, 0, 0 }, VERDICT_YES, 1537 },
		{ { 3, 0, 0, 0, 0, 9, 0, 124, 2 }, VERDICT_YES, 1537 },
		{ { 3, 1, 2, 3, 4, 10, 0, 45, 2 }, VERDICT_YES, 1537 },
		{ { 3, 1, 2, 3, 4, 128, 0, 7, 2 }, VERDICT_YES, 1537 },
		{ { 6, 1, 2, 3, 4, 10, 0, 45, 2 }, VERDICT_YES, 1537 },
		{ { 6, 1, 2, 3, 4, 0, 0, 0, 0 }, VERDICT_NO, 6 },
		{ { 3, 0, 0, 19, 14, 0xe0, 0, 0, 0 }, VERDICT_NO, 6 }, /* RDP */
		{ { 3, 0, 0, 19, 14, 0, 0, 0, 1 }, VERDICT_NO, 9 },
		{ { 3, 1, 2, 3, 4, 10, 10, 45, 2 }, VERDICT_NO, 7 },
		{ { 4, 0, 0, 0, 0, 0, 0, 0, 0 }, VERDICT_NO, 1 },
	};
	static struct answer answer;
	uint8_t bytes[1600] = { 0 };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memcpy(bytes, cases[i].begin, sizeof(cases[i].begin));
		assert_null(cuts_check(probe_find("rtmp"), bytes, sizeof(bytes), 2000));
		answer_get(&answer, probe_find("rtmp"), bytes, cases[i].decided_at);
		assert_int_equal(answer.verdict, cases[i].verdict);
		answer_get(&answer, probe_find("rtmp"), bytes, cases[i].decided_at - 1);
		assert_int_equal(answer.verdict, VERDICT_MORE);
	}
}

#define MAGIC "\xbc\xb1\xa7\xb1"

static void adb(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("CNXN\0\0\0\1\0\x10\0\0\7\0\0\0\x32\2\0\0" MAGIC "host::\0", 24, ""),
		CASE_YES("CNXN\1\0\0\1\0\0\x10\0\xf1\0\0\0\1\2\3\4" MAGIC "host::features=", 24, ""),
		CASE_YES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff"
			 "CNXN\0\0\0\1\0\x10\0\0\7\0\0\0\x32\2\0\0" MAGIC,
			48, ""),
		CASE_MORE("CNXN\0\0\0\1\0\x10\0\0\7\0\0\0\x32\2\0\0\xbc\xb1\xa7"),
		CASE_NO("OPEN\1\0\0\0\0\0\0\0\7\0\0\0\x32\2\0\0\xb0\xaf\xba\xb1", 1),
		CASE_NO("CNXN\0\0\0\2", 8),
		CASE_NO("CNXN\0\0\0\1\0\0\0\0", 12),
		CASE_NO("CNXN\0\0\0\1\0\x10\0\0\7\0\x20\0", 16),
		CASE_NO("CNXN\0\0\0\1\0\x10\0\0\7\0\0\0\x32\2\0\0\xbc\xb1\xa7\xb2", 24),
		CASE_NO("CONNECT a:1 HTTP/1.1\r\n", 2),
	};
	CASES_CHECK("adb", cases);
}

static void minecraft(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\x10\0\xf2\5\x09"
			 "127.0.0.1\xa7\xd9\2\7\0\5alice",
			17, "host=127.0.0.1"),
		CASE_YES("\x13\0\xff\xff\xff\xff\x0f\x09"
			 "127.0.0.1\x63\xdd\1\1\0",
			20, "host=127.0.0.1"),
		CASE_YES("\x15\0\xfd\5\x0e"
			 "a.example\0FML\0\x63\xdd\2",
			22, "host=a.example"),
		CASE_YES("\x08\0\x2f\2ab\x63\xdd\3", 9, "host=ab"),
		/* a dot at the end, capitals; what BungeeCord adds; IPv6 addresses; what is no name */
		CASE_YES("\x0b\0\x2f\5Ab.C.\x63\xdd\2", 12, "host=ab.c"),
		CASE_YES("\x0e\0\x2f\x08"
			 "ab\0001.2.3\x63\xdd\2",
			15, "host=ab"),
		CASE_YES("\x09\0\x2f\3::1\x63\xdd\2", 10, "host=[::1]"),
		CASE_YES("\x0b\0\x2f\5[::1]\x63\xdd\2", 12, "host=[::1]"),
		CASE_YES("\x08\0\x2f\2a \x63\xdd\2", 9, ""),
		CASE_YES("\xfe\1", 2, ""),
		CASE_YES("\xfe\1\xfa\0\x0b\0M\0C", 2, ""),
		CASE_MORE("\xfe"),
		CASE_MORE("\x10\0\xf2\5\x09"
			  "127.0.0.1\xa7\xd9"),
		CASE_NO("\xfe\xff", 2),
		/* lengths that do not agree; another packet; no such thing next; a control; no host; too long a number */
		CASE_NO("\x11\0\xf2\5\x09"
			"127",
			5),
		CASE_NO("\x10\1\xf2", 2),
		CASE_NO("\x08\0\x2f\2ab\x63\xdd\4", 9),
		CASE_NO("\x08\0\x2f\2\1b", 5),
		CASE_NO("\x07\0\x2f\0", 4),
		CASE_NO("\x10\0\xff\xff\xff\xff\xff", 7),
		/* MQTT, X11, TPKT */
		CASE_NO("\x10\x0c\0\4MQTT\4", 2),
		CASE_NO("l\0\x0b\0\0\0\0\0\0\0\0\0", 4),
		CASE_NO("\3\0\0\x13\x0e\xe0", 1),
	};
	CASES_CHECK("minecraft", cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bittorrent),
		cmocka_unit_test(git_and_rsync),
		cmocka_unit_test(vnc_and_tinc),
		cmocka_unit_test(rtmp),
		cmocka_unit_test(adb),
		cmocka_unit_test(minecraft),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
