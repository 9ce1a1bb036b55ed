/* What is spoken over UDP alone: TeamSpeak, WireGuard, QUIC, DTLS; near misses, and strangers that no probe may take. */
#include "probe_cases.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static enum verdict run(const char *name, const uint8_t *bytes, size_t len)
{
	static struct answer answer;

	assert_null(datagram_check(probe_find(name), bytes, len));
	answer_make(&answer, probe_find(name), bytes, len, true);
	return answer.verdict;
}

static void teamspeak(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("TS3INIT1\0\x65\0\0\x88\x09\x83\x61\0\0Z;\x1c-abcd\0\0\0\0\0\0\0\0", 0, ""),
		CASE_NO("TS3INIT1\0\x65\0\0\x88\x09\x83\x61\0", 0),
		CASE_NO("TS3INIT1\0\x66\0\0\x88\x09\x83\x61\0\0Z;\x1c-abcd\0\0\0\0\0\0\0\0", 0),
		CASE_NO("TS3INIT1\0\x65\0\0\x08\x09\x83\x61\0\0Z;\x1c-abcd\0\0\0\0\0\0\0\0", 0),
		CASE_NO("\xf4\xbe\3\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0", 0), /* TeamSpeak 2 */
	};
	DATAGRAMS_CHECK("teamspeak", cases);
}

static void wireguard(void **state)
{
	uint8_t bytes[149] = { 1 };

	for (size_t i = 4; i < 132; i++)
		bytes[i] = (uint8_t)(i * 7 + 1);
	for (size_t len = 1; len <= sizeof(bytes); len++)
		assert_int_equal(run("wireguard", bytes, len), len == 148 ? VERDICT_YES : VERDICT_NO);
	memset(bytes + 132, 0xa5, 16); /* a cookie */
	assert_int_equal(run("wireguard", bytes, 148), VERDICT_YES);
	bytes[0] = 2;
	assert_int_equal(run("wireguard", bytes, 148), VERDICT_NO);
	bytes[0] = 1;
	bytes[3] = 1;
	assert_int_equal(run("wireguard", bytes, 148), VERDICT_NO);
	bytes[3] = 0;
	memset(bytes + 60, 0, 12); /* is no noise */
	assert_int_equal(run("wireguard", bytes, 148), VERDICT_NO);
}

/* An Initial: the first byte, the version, and from the length of the destination's id up to the number. */
static enum verdict quic_run(uint8_t first, uint32_t version, const char *rest, size_t rest_len, size_t len)
{
	uint8_t bytes[1400] = { first, (uint8_t)(version >> 24), (uint8_t)(version >> 16), (uint8_t)(version >> 8),
		(uint8_t)version };

	memcpy(bytes + 5, rest, rest_len);
	return run("quic", bytes, len);
}

#define QUIC(first, version, rest, len) quic_run(first, version, rest, sizeof(rest) - 1, len)
#define IDS                                                                                                          \
	"\x08"                                                                                                       \
	"12345678\0"

static void quic(void **state)
{
	assert_int_equal(QUIC(0xc0, 1, IDS "\0\x44\x9e", 1200), VERDICT_YES);
	assert_int_equal(QUIC(0xcf, 1, IDS "\0\x44\x9e", 1252), VERDICT_YES);
	assert_int_equal(QUIC(0xd0, 0x6b3343cf, IDS "\0\x44\x9e", 1200), VERDICT_YES);
	assert_int_equal(QUIC(0xc3, 0xff00001d, IDS "\4abcd\x44\x9a", 1200), VERDICT_YES);
	assert_int_equal(QUIC(0xc9, 0xfaceb001, IDS "\0\x44\x9e", 1232), VERDICT_YES);
	assert_int_equal(QUIC(0xc5, 0x51303530, IDS "\0\x44\x9e", 1350), VERDICT_YES);
	assert_int_equal(QUIC(0x80, 0x1a2a3a4a, IDS, 1200), VERDICT_YES);
	/* too short; a version that is none; the fixed bit; other types of packets */
	assert_int_equal(QUIC(0xc0, 1, IDS "\0\x44\x9e", 1199), VERDICT_NO);
	assert_int_equal(QUIC(0xc0, 3, IDS "\0\x44\x9e", 1200), VERDICT_NO);
	assert_int_equal(QUIC(0xc0, 0, IDS "\0\x44\x9e", 1200), VERDICT_NO);
	assert_int_equal(QUIC(0x80, 1, IDS "\0\x44\x9e", 1200), VERDICT_NO);
	assert_int_equal(QUIC(0xd0, 1, IDS "\0\x44\x9e", 1200), VERDICT_NO);
	assert_int_equal(QUIC(0xc0, 0x6b3343cf, IDS "\0\x44\x9e", 1200), VERDICT_NO);
	assert_int_equal(QUIC(0x40, 1, IDS "\0\x44\x9e", 1200), VERDICT_NO);
	/* ids that are too short or too long; a token or a packet that runs past the end, one that has nothing in it */
	assert_int_equal(QUIC(0xc0, 1,
				 "\7"
				 "1234567\0\0\x44\x9e",
				 1200),
		VERDICT_NO);
	assert_int_equal(QUIC(0xc0, 1,
				 "\x15"
				 "123456789012345678901\0\0\x44\x9e",
				 1200),
		VERDICT_NO);
	assert_int_equal(QUIC(0xc0, 1,
				 "\x08"
				 "12345678\x15",
				 1200),
		VERDICT_NO);
	assert_int_equal(QUIC(0xc0, 1, IDS "\x45\0", 1200), VERDICT_NO);
	assert_int_equal(QUIC(0xc0, 1, IDS "\0\x44\xa0", 1200), VERDICT_NO);
	assert_int_equal(QUIC(0xc0, 1, IDS "\0\x10", 1200), VERDICT_NO);
	/* Google's older ones */
	assert_int_equal(QUIC(0xc3, 0x51303436,
				 "\x50"
				 "12345678\0\0\0\1",
				 1350),
		VERDICT_NO);
}

#define RANDOM "0123456789abcdef0123456789abcdef"
#define EXTENSIONS                                                                                                   \
	"\0\x1d\0\0\0\x0e\0\x0c\0\0\x09"                                                                             \
	"a.example"                                                                                                  \
	"\0\x2b\0\7\6\xfe\xfc\xfe\xfd\xfe\xff"

static void dtls(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x36\1\0\0\x2a\0\0\0\0\0\0\0\x2a\xfe\xfd" RANDOM
			 "\0\0\0\2\xc0\x2b\1\0",
			0, "version=1.2"),
		CASE_YES("\x16\1\0\0\0\0\0\0\0\0\0\0\x36\1\0\0\x2a\0\0\0\0\0\0\0\x2a\1\0" RANDOM "\0\0\0\2\0\x2f\1\0",
			0, "version=1.0"),
		/* a second one with a cookie */
		CASE_YES("\x16\xfe\xff\0\0\0\0\0\0\0\1\0\x3a\1\0\0\x2e\0\1\0\0\0\0\0\x2e\xfe\xff" RANDOM
			 "\0\4abcd\0\2\xc0\x2b\1\0",
			0, "version=1.0"),
		/* with extensions */
		CASE_YES("\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x55\1\0\0\x49\0\0\0\0\0\0\0\x49\xfe\xfd" RANDOM
			 "\0\0\0\2\x13\1\1\0" EXTENSIONS,
			0, "sni=a.example version=1.3"),
		/* the first fragment */
		CASE_YES("\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x3f\1\0\1\0\0\0\0\0\0\0\0\x33\xfe\xfd" RANDOM
			 "\0\0\0\2\x13\1\1\0\0\xd4\0\0\0\x40\0\x3e\0",
			0, ""),
		/* an epoch; a number; a record, a fragment that runs past the end; the second fragment; other messages */
		CASE_NO("\x16\xfe\xff\0\1\0\0\0\0\0\0\0\x36\1\0\0\x2a\0\0\0\0\0\0\0\x2a\xfe\xfd" RANDOM
			"\0\0\0\2\xc0\x2b\1\0",
			0),
		CASE_NO("\x16\xfe\xff\0\0\1\0\0\0\0\0\0\x36\1\0\0\x2a\0\0\0\0\0\0\0\x2a\xfe\xfd" RANDOM
			"\0\0\0\2\xc0\x2b\1\0",
			0),
		CASE_NO("\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x37\1\0\0\x2a\0\0\0\0\0\0\0\x2a\xfe\xfd" RANDOM
			"\0\0\0\2\xc0\x2b\1\0",
			0),
		CASE_NO("\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x36\1\0\0\x2b\0\0\0\0\0\0\0\x2b\xfe\xfd" RANDOM
			"\0\0\0\2\xc0\x2b\1\0",
			0),
		CASE_NO("\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x36\1\0\0\x6a\0\0\0\0\x2a\0\0\x2a\xfe\xfd" RANDOM
			"\0\0\0\2\xc0\x2b\1\0",
			0),
		CASE_NO("\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x36\2\0\0\x2a\0\0\0\0\0\0\0\x2a\xfe\xfd" RANDOM
			"\0\0\0\2\xc0\x2b\1\0",
			0),
		/* TLS; data; a version that is none */
		CASE_NO("\x16\3\1\0\x2d\1\0\0\x29\3\3" RANDOM "\0\0\2\x13\1\1\0aaaaaaaaaaaaaaaaaaaa", 0),
		CASE_NO("\x17\xfe\xfd\0\1\0\0\0\0\0\0\0\x36\1\0\0\x2a\0\0\0\0\0\0\0\x2a\xfe\xfd" RANDOM
			"\0\0\0\2\xc0\x2b\1\0",
			0),
		CASE_NO("\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x36\1\0\0\x2a\0\0\0\0\0\0\0\x2a\3\3" RANDOM
			"\0\0\0\2\xc0\x2b\1\0",
			0),
	};
	DATAGRAMS_CHECK("dtls", cases);
}

#define DATAGRAM(literal)                                                                                            \
	{                                                                                                            \
		(const uint8_t *)(literal), sizeof(literal) - 1                                                      \
	}

static void strangers(void **state)
{
	static const struct {
		const uint8_t *bytes;
		size_t len;
	} datagrams[] = {
		/* DHCP */
		DATAGRAM("\1\1\6\0\x12\x34\x56\x78\0\0\0\0" RANDOM
			 "\0\0\0\0\0\0\0\0\0\0\0\0\x63\x82\x53\x63\x35\1\1\xff"),
		/* GTP, version 1 and 2 */
		DATAGRAM("\x32\1\0\4\0\0\x42\0\x13\x37\0\0"),
		DATAGRAM("\x4e\1\0\4\xde\xfe\xc8\0"),
		/* ONC RPC; a keep-alive of SIP */
		DATAGRAM("\x3e\xec\xe3\xca\0\0\0\0\0\0\0\2\0\xbc\x61\x4e\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
			 "\0\0\0\0\0"),
		DATAGRAM("\r\n\r\n"),
		/* the search for peers on a local network is like SSDP */
		DATAGRAM("BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\n\r\n"),
	};

	for (size_t i = 0; i < sizeof(datagrams) / sizeof(datagrams[0]); i++)
		for (size_t k = 0; k < n_probes; k++)
			if (probes[k].datagram && probes[k].datagram != probe_any &&
				run(probes[k].name, datagrams[i].bytes, datagrams[i].len) != VERDICT_NO)
				fail_msg("datagram %zu is %s", i, probes[k].name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(teamspeak),
		cmocka_unit_test(wireguard),
		cmocka_unit_test(quic),
		cmocka_unit_test(dtls),
		cmocka_unit_test(strangers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
