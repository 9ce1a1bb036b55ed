/* Headers of captured packets: every link, both IPs, what is not whole, what lies about its lengths. */
#include "packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct wire {
	uint8_t bytes[4096];
	size_t len;
};

static void put(struct wire *wire, const void *bytes, size_t len)
{
	memcpy(wire->bytes + wire->len, bytes, len);
	wire->len += len;
}
#define PUT(wire, text) put(wire, text, sizeof(text) - 1)

static void put16(struct wire *wire, size_t value)
{
	put(wire, (uint8_t[]){ (uint8_t)(value >> 8), (uint8_t)value }, 2);
}

static void put_udp(struct wire *wire, size_t len, const char *payload)
{
	put16(wire, 1000);
	put16(wire, 53);
	put16(wire, len);
	put16(wire, 0);
	put(wire, payload, strlen(payload));
}

static void put_tcp(struct wire *wire, uint8_t flags, size_t options, const char *payload)
{
	put16(wire, 1000);
	put16(wire, 443);
	PUT(wire, "\x01\x02\x03\x04\x05\x06\x07\x08");
	put(wire, (uint8_t[]){ (uint8_t)((20 + options) / 4 << 4), flags, 0, 0, 0, 0, 0, 0 }, 8);
	for (size_t i = 0; i < options; i++)
		put(wire, "\1", 1);
	put(wire, payload, strlen(payload));
}

/* With what follows it as its payload, of this length. */
static void put_ip4(struct wire *wire, size_t total, size_t fragment, uint8_t protocol, size_t options)
{
	put(wire, (uint8_t[]){ (uint8_t)(0x40 | (20 + options) / 4), 0 }, 2);
	put16(wire, total);
	put16(wire, 7);
	put16(wire, fragment);
	put(wire, (uint8_t[]){ 64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2 }, 12);
	for (size_t i = 0; i < options; i++)
		put(wire, "\1", 1);
}

static void put_ip6(struct wire *wire, size_t payload, uint8_t next)
{
	PUT(wire, "\x60\0\0\0");
	put16(wire, payload);
	put(wire, (uint8_t[]){ next, 64 }, 2);
	PUT(wire, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2");
}

/* Over a copy that ends where the packet does, so that a sanitizer sees what is read behind it. */
static enum packet_kind parse_part(
	struct packet *ret, enum packet_link link, const struct wire *wire, size_t captured, size_t len)
{
	uint8_t *copy = malloc(captured ? captured : 1);

	memcpy(copy, wire->bytes, captured);
	enum packet_kind kind = packet_parse(ret, link, copy, captured, len);
	if (kind == PACKET_TCP || kind == PACKET_UDP) {
		assert_true(ret->captured <= ret->len);
		assert_true(ret->captured == 0 || ret->payload + ret->captured <= copy + captured);
		ret->payload = wire->bytes + (ret->payload - copy);
	}
	free(copy);
	return kind;
}

static enum packet_kind parse(struct packet *ret, enum packet_link link, const struct wire *wire)
{
	return parse_part(ret, link, wire, wire->len, wire->len);
}

#define expect_payload(packet, text)                                                                                 \
	do {                                                                                                         \
		assert_int_equal((packet)->len, strlen(text));                                                       \
		assert_int_equal((packet)->captured, strlen(text));                                                  \
		assert_memory_equal((packet)->payload, text, strlen(text));                                          \
	} while (0)

static void put_ip4_udp(struct wire *wire, const char *payload)
{
	put_ip4(wire, 28 + strlen(payload), 0, 17, 0);
	put_udp(wire, 8 + strlen(payload), payload);
}

static void test_every_link_leads_to_the_same(void **state)
{
	static const struct {
		enum packet_link link;
		const char *head;
		size_t len;
	} links[] = {
		{ LINK_ETHERNET,
			"dddddd"
			"ssssss\x08\0",
			14 },
		{ LINK_ETHERNET, "ddddddssssss\x81\0\0\5\x08\0", 18 },
		{ LINK_ETHERNET, "ddddddssssss\x88\xa8\0\5\x81\0\0\6\x91\0\0\7\x08\0", 26 },
		{ LINK_ETHERNET, "ddddddssssss\x88\x64\x11\0\0\1\0\x26\0\x21", 22 },
		{ LINK_SLL, "\0\0\0\1\0\6aaaaaaaa\x08\0", 16 },
		{ LINK_SLL2, "\x08\0\0\0\0\0\0\1\0\1\0\6aaaaaaaa", 20 },
		{ LINK_FAMILY, "\2\0\0\0", 4 },
		{ LINK_FAMILY, "\0\0\0\2", 4 },
		{ LINK_IP, "", 0 },
		{ LINK_PPP, "\xff\3\0\x21", 4 },
		{ LINK_PPP, "\0\x21", 2 },
		{ LINK_PPPOE, "\x11\0\0\1\0\x26\0\x21", 8 },
		{ LINK_HDLC, "\x0f\0\x08\0", 4 },
	};

	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		struct wire wire = { .len = 0 };
		struct packet packet;
		put(&wire, links[i].head, links[i].len);
		put_ip4_udp(&wire, "question");
		assert_int_equal(parse(&packet, links[i].link, &wire), PACKET_UDP);
		expect_payload(&packet, "question");
		assert_memory_equal(packet.from.address, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1", 16);
		assert_memory_equal(packet.to.port, "\0\x35", 2);
		for (size_t cut = 0; cut < links[i].len + 28; cut++)
			assert_int_equal(parse_part(&packet, links[i].link, &wire, cut, wire.len), PACKET_BROKEN);
	}
}

static void test_padding_is_not_payload(void **state)
{
	struct wire wire = { .len = 0 };
	struct packet packet;

	put(&wire, "ddddddssssss\x08\0", 14);
	put_ip4(&wire, 40 + 2, 0, 6, 0);
	put_tcp(&wire, TCP_ACK, 0, "ab");
	PUT(&wire, "\0\0\0\0\0\0");
	assert_int_equal(parse(&packet, LINK_ETHERNET, &wire), PACKET_TCP);
	expect_payload(&packet, "ab");
	assert_int_equal(packet.sequence, 0x01020304);
	assert_int_equal(packet.acknowledged, 0x05060708);
	assert_int_equal(packet.flags, TCP_ACK);
}

static void test_options_are_skipped(void **state)
{
	struct wire wire = { .len = 0 };
	struct packet packet;

	put_ip4(&wire, 24 + 32 + 3, 0, 6, 4);
	put_tcp(&wire, TCP_SYN, 12, "abc");
	assert_int_equal(parse(&packet, LINK_IP, &wire), PACKET_TCP);
	expect_payload(&packet, "abc");
}

static void test_a_cut_packet_keeps_its_length(void **state)
{
	struct wire wire = { .len = 0 };
	struct packet packet;

	put_ip4_udp(&wire, "question");
	assert_int_equal(parse_part(&packet, LINK_IP, &wire, wire.len - 3, wire.len), PACKET_UDP);
	assert_int_equal(packet.len, 8);
	assert_int_equal(packet.captured, 5);
}

static void test_a_length_of_zero_is_all_that_is_there(void **state)
{
	struct wire wire = { .len = 0 };
	struct packet packet;

	put_ip4(&wire, 0, 0, 6, 0);
	put_tcp(&wire, TCP_ACK, 0, "segmented by the card");
	assert_int_equal(parse(&packet, LINK_IP, &wire), PACKET_TCP);
	expect_payload(&packet, "segmented by the card");
	wire.len = 0;
	put_ip6(&wire, 0, 17);
	put_udp(&wire, 0, "jumbo");
	assert_int_equal(parse(&packet, LINK_IP, &wire), PACKET_UDP);
	expect_payload(&packet, "jumbo");
}

static void test_extension_headers_are_skipped(void **state)
{
	struct wire wire = { .len = 0 };
	struct packet packet;

	put_ip6(&wire, 8 + 16 + 24 + 8 + 8 + 8 + 2, 0);
	put(&wire, "\x2b\0\0\0\0\0\0\0", 8);                  /* hop by hop */
	put(&wire, "\x33\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16); /* routing */
	put(&wire, "\x2c\4\0\0aaaaaaaaaaaaaaaaaaaa", 24);     /* authentication */
	put(&wire, "\x3c\0\0\0\0\0\0\7", 8);                  /* a fragment that is the whole */
	put(&wire, "\x11\0\0\0\0\0\0\0", 8);                  /* destination options */
	put_udp(&wire, 10, "hi");
	assert_int_equal(parse(&packet, LINK_IP, &wire), PACKET_UDP);
	expect_payload(&packet, "hi");
	assert_int_equal(packet.from.address[15], 1);
	for (size_t cut = 0; cut < wire.len - 2; cut++)
		assert_int_equal(parse_part(&packet, LINK_IP, &wire, cut, wire.len), PACKET_BROKEN);
}

static void test_fragments_are_told(void **state)
{
	static const size_t fields[] = { 0x2000, 0x2010, 0x0010 };
	struct packet packet;

	for (size_t i = 0; i < 3; i++) {
		struct wire wire = { .len = 0 };
		put_ip4(&wire, 36, fields[i], 17, 0);
		put_udp(&wire, 16, "question");
		assert_int_equal(parse(&packet, LINK_IP, &wire), PACKET_FRAGMENT);
		assert_int_equal(packet.fragment.id, 7);
		assert_int_equal(packet.fragment.protocol, 17);
		assert_int_equal(packet.fragment.more, i < 2);
		assert_int_equal(packet.fragment.offset, i > 0 ? 0x80 : 0);
		assert_int_equal(packet.len, 16);
		assert_int_equal(packet.from.address[15], 1);
	}
	struct wire wire = { .len = 0 };
	put_ip4(&wire, 36, 0x4000, 17, 0); /* must not be fragmented */
	put_udp(&wire, 16, "question");
	assert_int_equal(parse(&packet, LINK_IP, &wire), PACKET_UDP);
	wire.len = 0;
	put_ip6(&wire, 24, 44);
	put(&wire, "\x11\0\0\1\0\0\0\7", 8);
	put_udp(&wire, 16, "question");
	assert_int_equal(parse(&packet, LINK_IP, &wire), PACKET_FRAGMENT);
	assert_int_equal(packet.fragment.id, 7);
	assert_int_equal(packet.fragment.protocol, 17);
	assert_true(packet.fragment.more);
	assert_int_equal(packet.fragment.offset, 0);
	assert_int_equal(packet.len, 16);
}

static void test_lengths_that_do_not_agree_are_refused(void **state)
{
	struct wire wire = { .len = 0 };
	struct packet packet;

	put_ip4(&wire, 28 + 2, 0, 17, 0);
	put_udp(&wire, 11, "ab"); /* longer than the packet */
	assert_int_equal(parse(&packet, LINK_IP, &wire), PACKET_BROKEN);
	wire.bytes[25] = 7; /* shorter than its header */
	assert_int_equal(parse(&packet, LINK_IP, &wire), PACKET_BROKEN);
	wire.bytes[25] = 9; /* shorter than the packet is no fault */
	assert_int_equal(parse(&packet, LINK_IP, &wire), PACKET_UDP);
	expect_payload(&packet, "a");
	wire.bytes[0] = 0x44; /* an IP header of 16 bytes */
	assert_int_equal(parse(&packet, LINK_IP, &wire), PACKET_BROKEN);
	wire.bytes[0] = 0x45;
	wire.bytes[3] = 19; /* the whole is shorter than that */
	assert_int_equal(parse(&packet, LINK_IP, &wire), PACKET_BROKEN);
	wire.len = 0;
	put_ip4(&wire, 40, 0, 6, 0);
	put_tcp(&wire, TCP_ACK, 0, "");
	wire.bytes[32] = 0x40;
	assert_int_equal(parse(&packet, LINK_IP, &wire), PACKET_BROKEN);
	wire.bytes[32] = 0x60;
	assert_int_equal(parse(&packet, LINK_IP, &wire), PACKET_BROKEN);
}

static void test_other_things_are_none_of_ours(void **state)
{
	struct wire wire = { .len = 0 };
	struct packet packet;

	put(&wire, "ddddddssssss\x08\6and so on", 23);
	assert_int_equal(parse(&packet, LINK_ETHERNET, &wire), PACKET_OTHER);
	wire.len = 0;
	put_ip4(&wire, 28, 0, 1, 0);
	PUT(&wire, "\x08\0\0\0\0\0\0\0");
	assert_int_equal(parse(&packet, LINK_IP, &wire), PACKET_OTHER);
	wire.bytes[0] = 0x55;
	assert_int_equal(parse(&packet, LINK_IP, &wire), PACKET_OTHER);
	wire.len = 0;
	put(&wire, "\x11\x09\0\0\0\4\0\x21", 8); /* PPPoE's own talk */
	assert_int_equal(parse(&packet, LINK_PPPOE, &wire), PACKET_OTHER);
	wire.len = 0;
	put(&wire, "\xc0\x21\1\1\0\4", 6); /* LCP */
	assert_int_equal(parse(&packet, LINK_PPP, &wire), PACKET_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_link_leads_to_the_same),
		cmocka_unit_test(test_padding_is_not_payload),
		cmocka_unit_test(test_options_are_skipped),
		cmocka_unit_test(test_a_cut_packet_keeps_its_length),
		cmocka_unit_test(test_a_length_of_zero_is_all_that_is_there),
		cmocka_unit_test(test_extension_headers_are_skipped),
		cmocka_unit_test(test_fragments_are_told),
		cmocka_unit_test(test_lengths_that_do_not_agree_are_refused),
		cmocka_unit_test(test_other_things_are_none_of_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
