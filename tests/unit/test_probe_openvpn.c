/* The first packet of OpenVPN 2.6.14 with every wrapping of its control channel, and what is nearly one. */
#include "cuts.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SESSION "\x6c\x21\x85\xc4\xf5\x56\x75\x20"
#define ZEROS   "\0\0\0\0"

static enum verdict run(const uint8_t *bytes, size_t len)
{
	static struct answer answer;

	assert_null(cuts_check(probe_find("openvpn"), bytes, len, 2000));
	answer_get(&answer, probe_find("openvpn"), bytes, len);
	return answer.verdict;
}

static enum verdict run_datagram(const uint8_t *bytes, size_t len)
{
	static struct answer answer;

	assert_null(datagram_check(probe_find("openvpn"), bytes, len));
	datagram_answer_get(&answer, probe_find("openvpn"), bytes, len);
	return answer.verdict;
}

/* The packet, behind room for its length. */
static uint8_t packet[2 + 2000] = { 0 };
static size_t packet_len;

static void packet_begin(uint8_t opcode)
{
	packet[2] = opcode;
	memcpy(packet + 3, SESSION, 8);
	packet_len = 9;
}

static void packet_add(const void *bytes, size_t len)
{
	memcpy(packet + 2 + packet_len, bytes, len);
	packet_len += len;
}

static void packet_fill(size_t len)
{
	memset(packet + 2 + packet_len, 0xa5, len);
	packet_len += len;
}

/* Both ways at once: they must agree. */
static enum verdict packet_run(void)
{
	packet[0] = (uint8_t)(packet_len >> 8);
	packet[1] = (uint8_t)packet_len;
	enum verdict verdict = run(packet, 2 + packet_len);
	assert_int_equal(run_datagram(packet + 2, packet_len), verdict);
	return verdict;
}

static void neither_wrapped_nor_signed(void **state)
{
	for (uint8_t opcode = 0; opcode < 32; opcode++) {
		packet_begin((uint8_t)(opcode << 3));
		packet_add(ZEROS, 5);
		assert_int_equal(packet_run(), opcode == 1 || opcode == 7 ? VERDICT_YES : VERDICT_NO);
		packet[2] |= 1;  /* a key id */
		if (opcode == 3) /* renewed: in a datagram it may be the first, see test_probe_tunnels.c */
			assert_int_equal(run(packet, 2 + packet_len), VERDICT_NO);
		else
			assert_int_equal(packet_run(), VERDICT_NO);
	}
	packet_begin(0x38);
	packet_add(ZEROS, 5);
	packet_run();
	for (size_t len = 0; len < 16; len++)
		assert_int_equal(run(packet, len), VERDICT_MORE);
	for (size_t at = 11; at < 16; at++) {
		packet[at] = 1;
		assert_int_equal(packet_run(), VERDICT_NO);
		packet[at] = 0;
	}
	memset(packet + 3, 0, 8); /* no session id */
	assert_int_equal(packet_run(), VERDICT_NO);
}

static void signed_with_tls_auth(void **state)
{
	for (size_t digest = 0; digest <= 80; digest++) {
		bool exists =
			digest == 16 || digest == 20 || digest == 28 || digest == 32 || digest == 48 || digest == 64;
		packet_begin(0x38);
		packet_fill(digest);
		size_t id = 2 + packet_len;
		packet_add("\0\0\0\1\x6b\x02\x4d\x18\0\0\0\0\0", 13);
		assert_int_equal(packet_run(), exists ? VERDICT_YES : VERDICT_NO);
		if (!exists)
			continue;
		assert_int_equal(run(packet, 2 + packet_len - 1), VERDICT_MORE);
		packet[id + 1] = 0xff;
		assert_int_equal(packet_run(), VERDICT_YES); /* kept from an earlier run */
		memcpy(packet + id, "\1\0\0\1", 4);
		assert_int_equal(packet_run(), VERDICT_NO);
		memcpy(packet + id, "\0\0\0\0", 4);
		assert_int_equal(packet_run(), VERDICT_NO);
		memcpy(packet + id, "\0\0\0\1", 4);
		packet[2 + packet_len - 1] = 1;
		assert_int_equal(packet_run(), VERDICT_NO);
	}
}

static void encrypted_with_tls_crypt(void **state)
{
	packet_begin(0x38);
	packet_add("\0\0\0\1\x6b\x02\x4d\x29", 8);
	packet_fill(32 + 5);
	assert_int_equal(packet_run(), VERDICT_YES);
	assert_int_equal(run(packet, 2 + 9 + 4), VERDICT_YES); /* the rest is secret */
	assert_int_equal(run(packet, 2 + 9 + 3), VERDICT_MORE);
	memcpy(packet + 11, "\xf\0\0\1", 4); /* it can do with a stateless server */
	assert_int_equal(packet_run(), VERDICT_YES);
	memcpy(packet + 11, "\xe\0\0\1", 4);
	assert_int_equal(packet_run(), VERDICT_NO);
	memcpy(packet + 11, "\xf\0\0\0", 4);
	assert_int_equal(packet_run(), VERDICT_NO);
	memcpy(packet + 11, "\0\0\0\1", 4);
	packet[2] = 0x08; /* version 1 is older */
	assert_int_equal(packet_run(), VERDICT_NO);
}

static void encrypted_with_a_key_of_the_client(void **state)
{
	for (size_t key = 280; key <= 1030; key += key < 300 || key > 1015 ? 1 : 50) {
		packet_begin(0x50);
		packet_add("\xf\0\0\1\x6b\x02\x4d\x2e", 8);
		packet_fill(32 + 5 + key - 2);
		packet_add((uint8_t[]){ (uint8_t)(key >> 8), (uint8_t)key }, 2);
		bool is_key = key >= 290 && key <= 1024;
		assert_int_equal(packet_run(), is_key ? VERDICT_YES : VERDICT_NO);
		if (!is_key)
			continue;
		assert_int_equal(run(packet, 2 + 9 + 4), VERDICT_YES);
		packet[2 + packet_len - 1] ^= 1; /* another length than the key's */
		assert_int_equal(run_datagram(packet + 2, packet_len), VERDICT_NO);
		packet[2 + packet_len - 1] ^= 1;
		packet[11] = 0xa5;
		assert_int_equal(packet_run(), VERDICT_NO);
	}
}

static void what_follows_does_not_matter(void **state)
{
	static const uint8_t twice[] = "\0\x0e\x38" SESSION "\0\0\0\0\0\0\x0e\x38" SESSION "\0\0\0\0";

	assert_int_equal(run(twice, sizeof(twice)), VERDICT_YES);
	/* but a datagram has its length */
	assert_int_equal(run_datagram(twice + 2, sizeof(twice) - 2), VERDICT_NO);
}

static void strangers(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
		{ "\x16\3\1\2", 4 },                          /* TLS */
		{ "\0\x1d\x38\x01\1\0\0\1\0\0\0\0\0\0", 14 }, /* DNS: no such length */
		{ "\0\x2a\x12\x34\1\0\0\1", 8 },              /* DNS of 42 bytes */
		{ "\0\x2a\x38\x34\1\0\0\1\0\0\0\0\0\0\7example\3com\0\0\1\0\1.............",
			44 }, /* with such an id */
		/* and of the length that tls-crypt has, where the rest could be an id, a time and what is secret */
		{ "\0\x36\x38\x55\1\x20\0\1\0\0\0\0\0\1\4mail\7example\4test\0\0\xff\0\1", 36 },
		{ "\0\0\0\x2f", 4 }, /* longer lengths */
		{ "\0\x0e\0", 3 },
		{ "GET /", 5 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(run((const uint8_t *)cases[i].bytes, cases[i].len), VERDICT_NO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(neither_wrapped_nor_signed),
		cmocka_unit_test(signed_with_tls_auth),
		cmocka_unit_test(encrypted_with_tls_crypt),
		cmocka_unit_test(encrypted_with_a_key_of_the_client),
		cmocka_unit_test(what_follows_does_not_matter),
		cmocka_unit_test(strangers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
