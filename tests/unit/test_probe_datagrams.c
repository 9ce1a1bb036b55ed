/* What is spoken over UDP alone: TeamSpeak, WireGuard; near misses, and strangers that no probe may take. QUIC and DTLS have files of
 * their own. */
#include "probe_cases.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static enum verdict run(const char *name, const uint8_t *bytes, size_t len)
{
	static struct answer answer;

	assert_null(datagram_check(probe_find(name), bytes, len));
	datagram_answer_get(&answer, probe_find(name), bytes, len);
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

#define RANDOM "0123456789abcdef0123456789abcdef"

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
		cmocka_unit_test(strangers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
