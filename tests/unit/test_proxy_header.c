/* PROXY headers: every rule of the specification's sections 2.1 and 2.2, each header at each of its cuts, and what is
 * written read again. */
#include "proxy_cuts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
// after those above
#include <cmocka.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

static ssize_t line_verdict(const char *line)
{
	return proxy_cuts((const uint8_t *)line, strlen(line));
}

static void read_line(const char *line, const char *source, const char *destination)
{
	char text[ADDRESS_TEXT_MAX];
	struct proxy_header header;
	ssize_t n = proxy_header_read((const uint8_t *)line, strlen(line), &header);

	assert_int_equal(n, strstr(line, "\r\n") + 2 - line);
	assert_string_equal(address_format(&header.source, text), source);
	assert_string_equal(address_format(&header.destination, text), destination);
	assert_int_equal(header.tlvs_len, 0);
	assert_int_equal(line_verdict(line), n);
}

static void lines_of_version_1(void **state)
{
	read_line("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\n", "192.168.0.1:56324",
		"192.168.0.11:443");
	read_line("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535",
		"255.255.255.255:65535");
	read_line("PROXY TCP4 0.0.0.0 10.0.0.1 0 1\r\n\r\n", "0.0.0.0:0", "10.0.0.1:1");
	read_line("PROXY TCP6 2001:db8::7 ::1 52044 22\r\nSSH-2.0-x\r\n", "[2001:db8::7]:52044", "[::1]:22");
	read_line("PROXY TCP6 FFFF:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe "
		  "65535 65535\r\n",
		"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]:65535");
}

/* A dual-stack proxy writes an IPv4 client so; the client is the IPv4 client, whoever asks. */
static void v4_mapped_addresses_are_ipv4_addresses(void **state)
{
	struct proxy_header header;
	const char *mixed = "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1 2\r\n";

	read_line(mixed, "192.0.2.7:1", "[2001:db8::1]:2");
	read_line("PROXY TCP6 ::ffff:c000:207 ::ffff:198.51.100.1 1 2\r\n", "192.0.2.7:1", "198.51.100.1:2");
	assert_true(proxy_header_read((const uint8_t *)mixed, strlen(mixed), &header) > 0);
	assert_int_equal(header.source.sa.sa_family, AF_INET);
}

static void unknown_names_nobody(void **state)
{
	read_line("PROXY UNKNOWN\r\nGET / HTTP/1.0\r\n", "-", "-");
	read_line("PROXY UNKNOWN ffff:f...f:ffff what ever 1\r\n", "-", "-");
	read_line("PROXY UNKNOWN \r\n", "-", "-");
}

static void lines_that_break_the_rules(void **state)
{
	static const char *const lines[] = {
		"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r",
		"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 1\n2\r\n",
		"PROXY UNKNOWN what\never\r\n",
		"PROXY UNKNOWN\n",
		"PROXY UNKNOWN\r ",
		"PROXY UNKNOWNX\r\n",
		"PROXY  TCP4 192.0.2.7 198.51.100.1 1 2\r\n",
		"PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n",
		"PROXY TCP4 192.0.2.7  198.51.100.1 1 2\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1  1 2\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 \r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n",
		"PROXY TCP4 192.0.2.7\r\n",
		"PROXY TCP4 \r\n",
		"PROXY TCP4\t192.0.2.7 198.51.100.1 1 2\r\n",
		"PROXY TCP4 192.0.2.07 198.51.100.1 1 2\r\n",
		"PROXY TCP4 192.0.2.7 198.51.0100.1 1 2\r\n",
		"PROXY TCP4 192.0.2 198.51.100.1 1 2\r\n",
		"PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n",
		"PROXY TCP4 0xc0.0.2.7 198.51.100.1 1 2\r\n",
		"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
		"PROXY TCP4 192.0.2.7 2001:db8::1 1 2\r\n",
		"PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n",
		"PROXY TCP6 2001:db8::7::1 2001:db8::1 1 2\r\n",
		"PROXY TCP6 2001:db8:0:0:0:0:0:0:7 2001:db8::1 1 2\r\n",
		"PROXY TCP6 2001:db8::00007 2001:db8::1 1 2\r\n",
		"PROXY TCP6 [2001:db8::7] 2001:db8::1 1 2\r\n",
		"PROXY TCP6 fe80::1%lo 2001:db8::1 1 2\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 1 65536\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 1 100000\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 4294967297 2\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 1 \r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 00 2\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 1 02\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 -1 2\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 1 2x\r\n",
		"PROXY TCP5 192.0.2.7 198.51.100.1 1 2\r\n",
		"PROXY tcp4 192.0.2.7 198.51.100.1 1 2\r\n",
		"PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n",
		"PROXY \r\n",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char longer[256];
		ssize_t verdict = line_verdict(lines[i]);
		if (verdict == 0) { /* a lone CR at the end may still be one half */
			snprintf(longer, sizeof(longer), "%sx", lines[i]);
			verdict = line_verdict(longer);
		}
		if (verdict != -EPROTO)
			fail_msg("%zd for %s", verdict, lines[i]);
	}
}

static void a_nul_in_an_address_is_no_end_of_it(void **state)
{
	static const char line[] = "PROXY TCP4 192.0.2.7\0 198.51.100.1 1 2\r\n";

	assert_int_equal(proxy_cuts((const uint8_t *)line, sizeof(line) - 1), -EPROTO);
}

/* 107 bytes with CRLF are the most. */
static void a_line_has_107_bytes_at_most(void **state)
{
	char line[200];

	for (int len = 16; len < 150; len++) {
		snprintf(line, sizeof(line), "PROXY UNKNOWN %0*d\r\n", len - 16, 0);
		assert_int_equal(strlen(line), len == 16 ? 17 : len);
		ssize_t verdict = line_verdict(line);
		assert_int_equal(verdict, strlen(line) <= 107 ? (ssize_t)strlen(line) : -EPROTO);
	}
	memset(line, 'x', sizeof(line));
	memcpy(line, "PROXY UNKNOWN ", 14);
	assert_int_equal(proxy_cuts((const uint8_t *)line, 106), 0);
	assert_int_equal(proxy_cuts((const uint8_t *)line, 107), -EPROTO);
}

static void other_protocols_are_no_header_from_the_byte_that_shows_it(void **state)
{
	static const struct {
		const char *bytes;
		size_t shown;
	} others[] = { { "GET / HTTP/1.1\r\n", 1 }, { "PROPFIND / HTTP/1.1\r\n", 4 }, { "PROXY\r\n", 6 },
		{ "\r\n\r\nGET", 5 }, { "\x16\x03\x01", 1 }, { "SSH-2.0", 1 }, { "proxy TCP4 ", 1 } };

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct proxy_header header;
		const uint8_t *bytes = (const uint8_t *)others[i].bytes;
		assert_int_equal(line_verdict(others[i].bytes), -ENOMSG);
		assert_int_equal(proxy_header_read(bytes, others[i].shown - 1, &header), 0);
		assert_int_equal(proxy_header_read(bytes, others[i].shown, &header), -ENOMSG);
	}
}

/* ---- version 2 ------------------------------------------------------------------------------------------------- */

struct bytes {
	uint8_t at[20000];
	size_t len;
};

static void add(struct bytes *b, const void *bytes, size_t len)
{
	memcpy(b->at + b->len, bytes, len);
	b->len += len;
}

static void header_begin(struct bytes *b, uint8_t command, uint8_t family)
{
	b->len = 0;
	add(b, SIGNATURE, 12);
	add(b, (uint8_t[]){ command, family, 0, 0 }, 4);
}

static void header_end(struct bytes *b)
{
	b->at[14] = (uint8_t)((b->len - 16) >> 8);
	b->at[15] = (uint8_t)(b->len - 16);
}

static void add_tlv(struct bytes *b, uint8_t type, const void *value, size_t len)
{
	add(b, (uint8_t[]){ type, (uint8_t)(len >> 8), (uint8_t)len }, 3);
	add(b, value, len);
}

static const uint8_t in_addresses[12] = { 192, 0, 2, 7, 198, 51, 100, 1, 0xcb, 0x4c, 1, 0xbb };
static const uint8_t in6_addresses[36] = { 0x20, 1, 0xd, 0xb8, [15] = 7, 0x20, 1, 0xd, 0xb8, [31] = 1, 0xcb, 0x4c, 1,
	0xbb };

static struct proxy_header read_bytes(const struct bytes *b)
{
	struct proxy_header header;

	assert_int_equal(proxy_cuts(b->at, b->len), b->len);
	assert_int_equal(proxy_header_read(b->at, b->len, &header), b->len);
	return header;
}

static void assert_addresses(const struct proxy_header *header, const char *source, const char *destination)
{
	char text[ADDRESS_TEXT_MAX];

	assert_string_equal(address_format(&header->source, text), source);
	assert_string_equal(address_format(&header->destination, text), destination);
}

static void families_of_version_2(void **state)
{
	static struct bytes b;
	struct proxy_header header;

	for (uint8_t protocol = 1; protocol <= 2; protocol++) {
		header_begin(&b, 0x21, 0x10 | protocol);
		add(&b, in_addresses, sizeof(in_addresses));
		header_end(&b);
		header = read_bytes(&b);
		assert_addresses(&header, "192.0.2.7:52044", "198.51.100.1:443");

		header_begin(&b, 0x21, 0x20 | protocol);
		add(&b, in6_addresses, sizeof(in6_addresses));
		header_end(&b);
		header = read_bytes(&b);
		assert_addresses(&header, "[2001:db8::7]:52044", "[2001:db8::1]:443");
	}
}

static void a_mapped_address_of_version_2(void **state)
{
	static struct bytes b;
	uint8_t addresses[36];

	memcpy(addresses, in6_addresses, 36);
	memcpy(addresses, (uint8_t[16]){ [10] = 0xff, 0xff, 192, 0, 2, 7 }, 16);
	header_begin(&b, 0x21, 0x21);
	add(&b, addresses, 36);
	header_end(&b);
	struct proxy_header header = read_bytes(&b);
	assert_int_equal(header.source.sa.sa_family, AF_INET);
	assert_addresses(&header, "192.0.2.7:52044", "[2001:db8::1]:443");
}

static void unix_addresses_of_version_2(void **state)
{
	static struct bytes b;
	uint8_t addresses[216] = "/run/client";

	memcpy(addresses + 108, "/run/usher/in.sock", 18);
	header_begin(&b, 0x21, 0x31);
	add(&b, addresses, 216);
	header_end(&b);
	struct proxy_header header = read_bytes(&b);
	assert_addresses(&header, "unix:/run/client", "unix:/run/usher/in.sock");

	memset(b.at + 16, 'x', 108); /* a path that fills its place */
	memset(b.at + 16 + 108, 0, 108);
	header = read_bytes(&b);
	assert_int_equal(header.source.len, sizeof(struct sockaddr_un));
	assert_addresses(&header,
		"unix:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
		"unix:");
	assert_int_equal(header.destination.len, offsetof(struct sockaddr_un, sun_path));

	memcpy(b.at + 16, "\0abstract\0\0", 11);
	memset(b.at + 16 + 11, 0, 108 - 11);
	header = read_bytes(&b);
	assert_addresses(&header, "unix:@abstract", "unix:");
}

static void local_and_unspecified_name_nobody(void **state)
{
	static struct bytes b;
	static const struct {
		uint8_t command, family;
	} kinds[] = { { 0x20, 0x00 }, { 0x20, 0x11 }, { 0x20, 0xff }, { 0x21, 0x00 }, { 0x21, 0x01 }, { 0x21, 0x02 },
		{ 0x21, 0x10 }, { 0x21, 0x20 } };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		header_begin(&b, kinds[i].command, kinds[i].family);
		if (kinds[i].family)
			add(&b, in6_addresses, sizeof(in6_addresses));
		header_end(&b);
		struct proxy_header header = read_bytes(&b);
		assert_addresses(&header, "-", "-");
		assert_int_equal(header.tlvs_len, 0);
	}
	header_begin(&b, 0x20, 0x11); /* not even the room for addresses */
	header_end(&b);
	read_bytes(&b);
}

static void what_is_not_assigned_is_refused(void **state)
{
	static struct bytes b;

	for (unsigned i = 0; i < 65536; i++) {
		uint8_t command = (uint8_t)(i >> 8), family = (uint8_t)i;
		header_begin(&b, command, family);
		b.len += 216;
		header_end(&b);
		struct proxy_header header;
		bool good = command == 0x20 || (command == 0x21 && family >> 4 <= 3 && (family & 15) <= 2);
		memset(b.at + 16, 0, 216);
		/* Behind the addresses the zeros are TLVs of type 0, in each family a whole number of them. */
		ssize_t n = proxy_header_read(b.at, b.len, &header);
		if ((n > 0) != good || (!good && n != -EPROTO))
			fail_msg("%zd for command %02x, family %02x", n, command, family);
	}
}

static void addresses_must_have_their_room(void **state)
{
	static struct bytes b;
	static const struct {
		uint8_t family;
		size_t room;
	} families[] = { { 0x11, 12 }, { 0x12, 12 }, { 0x21, 36 }, { 0x22, 36 }, { 0x31, 216 }, { 0x32, 216 } };

	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		for (size_t room = 0; room <= families[i].room; room++) {
			header_begin(&b, 0x21, families[i].family);
			memset(b.at + 16, 1, room);
			b.len += room;
			header_end(&b);
			assert_int_equal(
				proxy_cuts(b.at, b.len), room == families[i].room ? (ssize_t)b.len : -EPROTO);
		}
	}
}

static void the_length_has_a_limit(void **state)
{
	static struct bytes b;
	struct proxy_header header;

	for (unsigned n = PROXY_HEADER_MAX - 16 - 2; n <= PROXY_HEADER_MAX - 16 + 2; n++) {
		header_begin(&b, 0x20, 0);
		memset(b.at + 16, 0, sizeof(b.at) - 16);
		b.len = 16 + n;
		header_end(&b);
		ssize_t wanted = n + 16 <= PROXY_HEADER_MAX ? (ssize_t)n + 16 : -EMSGSIZE;
		assert_int_equal(proxy_header_read(b.at, b.len, &header), wanted);
		assert_int_equal(proxy_header_read(b.at, 16, &header), wanted < 0 ? wanted : 0);
	}
}

static void tlvs_are_kept(void **state)
{
	static struct bytes b;

	header_begin(&b, 0x21, 0x11);
	add(&b, in_addresses, 12);
	add_tlv(&b, PROXY_TLV_AUTHORITY, "shop.example", 12);
	add_tlv(&b, PROXY_TLV_NOOP, "", 0);
	add_tlv(&b, 0xea, "\1vpce-1", 7);
	header_end(&b);
	struct proxy_header header = read_bytes(&b);
	assert_int_equal(header.tlvs_len, b.len - 16 - 12);
	struct proxy_tlv tlv = proxy_tlv_find(&header, PROXY_TLV_AUTHORITY);
	assert_int_equal(tlv.len, 12);
	assert_memory_equal(tlv.value, "shop.example", 12);
	tlv = proxy_tlv_find(&header, PROXY_TLV_ALPN);
	assert_null(tlv.value);
	assert_int_equal(tlv.len, 0);
	assert_int_equal(tlv.type, 0);
	assert_non_null(proxy_tlv_find(&header, PROXY_TLV_NOOP).value);
}

static void tlvs_that_do_not_fill_their_place(void **state)
{
	static struct bytes b;
	uint8_t id[129] = { 0 };

	for (int change = -12; change <= 12; change++) { /* of the value's length */
		header_begin(&b, 0x21, 0x11);
		add(&b, in_addresses, 12);
		add_tlv(&b, PROXY_TLV_AUTHORITY, "shop.example", 12);
		header_end(&b);
		b.at[16 + 12 + 2] = (uint8_t)(12 + change);
		/* Zeros that are left over would be TLVs of type 's' and so on: none fits. */
		assert_int_equal(proxy_cuts(b.at, b.len), change ? -EPROTO : (ssize_t)b.len);
	}
	for (size_t len = 127; len <= 129; len++) {
		header_begin(&b, 0x21, 0x11);
		add(&b, in_addresses, 12);
		add_tlv(&b, PROXY_TLV_UNIQUE_ID, id, len);
		header_end(&b);
		assert_int_equal(proxy_cuts(b.at, b.len), len <= 128 ? (ssize_t)b.len : -EPROTO);
	}
}

/* Another way to the same sum than the one under test: by a table. */
static uint32_t checksum(const uint8_t *bytes, size_t len)
{
	uint32_t table[256], crc = UINT32_MAX;

	for (uint32_t i = 0; i < 256; i++) {
		table[i] = i;
		for (int bit = 0; bit < 8; bit++)
			table[i] = table[i] & 1 ? table[i] >> 1 ^ 0x82f63b78U : table[i] >> 1;
	}
	for (size_t i = 0; i < len; i++)
		crc = crc >> 8 ^ table[(crc ^ bytes[i]) & 255];
	return ~crc;
}

static void a_checksum_is_checked(void **state)
{
	static struct bytes b;
	static const uint8_t zeros[32];

	assert_int_equal(checksum(zeros, 32), 0x8a9136aaU); /* RFC 3720 B.4 */
	header_begin(&b, 0x21, 0x21);
	add(&b, in6_addresses, sizeof(in6_addresses));
	add_tlv(&b, PROXY_TLV_ALPN, "h2", 2);
	add_tlv(&b, PROXY_TLV_CRC32C, zeros, 4);
	size_t at = b.len - 4;
	add_tlv(&b, PROXY_TLV_NOOP, "behind it", 9);
	header_end(&b);
	uint32_t sum = checksum(b.at, b.len);
	for (int i = 0; i < 4; i++)
		b.at[at + (size_t)i] = (uint8_t)(sum >> (24 - 8 * i));
	read_bytes(&b);
	for (size_t i = 16; i < b.len; i++) {
		struct proxy_header header;
		if (i == at - 3) /* another type: no checksum any more */
			continue;
		b.at[i] ^= 0x10;
		ssize_t n = proxy_header_read(b.at, b.len, &header);
		assert_true(n == -EBADMSG || n == -EPROTO);
		b.at[i] ^= 0x10;
	}
	add_tlv(&b, PROXY_TLV_CRC32C, zeros, 4); /* a second one */
	header_end(&b);
	assert_int_equal(proxy_cuts(b.at, b.len), -EPROTO);
}

/* ---- written --------------------------------------------------------------------------------------------------- */

static struct proxy_header header_of(const char *source, const char *destination)
{
	struct proxy_header header = { 0 };

	assert_int_equal(address_parse(&header.source, source), 0);
	assert_int_equal(address_parse(&header.destination, destination), 0);
	return header;
}

static void assert_written(const struct proxy_header *header, const char *line)
{
	static uint8_t to[PROXY_HEADER_WRITE_MAX];
	size_t len = proxy_header_write(to, 1, header, &(struct proxy_additions){ .alpn = "h2", .id = 7 });

	to[len] = '\0';
	assert_string_equal((char *)to, line);
	assert_int_equal(proxy_cuts(to, len), len);
}

static void for_a_backend_of_ipv6_all_addresses_are_of_ipv6(void **state)
{
	static uint8_t to[PROXY_HEADER_WRITE_MAX];
	const struct proxy_additions in6 = { .in6 = true };
	struct proxy_header header = header_of("192.0.2.7:52044", "198.51.100.1:443"), read;

	size_t len = proxy_header_write(to, 1, &header, &in6);
	to[len] = '\0';
	assert_string_equal((char *)to, "PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 52044 443\r\n");
	len = proxy_header_write(to, 2, &header, &in6);
	assert_int_equal(to[13], 0x21);
	assert_int_equal(proxy_header_read(to, len, &read), len);
	assert_true(address_equal(&read.source, &header.source));
	assert_true(address_equal(&read.destination, &header.destination));
	header = header_of("unix:/a", "unix:/b");
	proxy_header_write(to, 2, &header, &in6);
	assert_int_equal(to[13], 0x31);
}

static void version_1_is_written(void **state)
{
	struct proxy_header header = header_of("192.0.2.7:52044", "198.51.100.1:443");

	assert_written(&header, "PROXY TCP4 192.0.2.7 198.51.100.1 52044 443\r\n");
	header = header_of("[2001:db8::7]:1", "[::1]:2");
	assert_written(&header, "PROXY TCP6 2001:db8::7 ::1 1 2\r\n");
	header = header_of("[::ffff:192.0.2.7]:1", "[::ffff:192.0.2.1]:2");
	assert_written(&header, "PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n");
	header = header_of("192.0.2.7:1", "[2001:db8::1]:2");
	assert_written(&header, "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1 2\r\n");
	header = header_of("[2001:db8::7]:1", "10.0.0.1:2");
	assert_written(&header, "PROXY TCP6 2001:db8::7 ::ffff:10.0.0.1 1 2\r\n");
	header = header_of(
		"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]:65534");
	assert_written(&header,
		"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 65535 "
		"65534\r\n");
	header = header_of("unix:/a", "unix:/b");
	assert_written(&header, "PROXY UNKNOWN\r\n");
	header = (struct proxy_header){ 0 };
	assert_written(&header, "PROXY UNKNOWN\r\n");
}

static void version_2_is_written_byte_for_byte(void **state)
{
	static uint8_t to[PROXY_HEADER_WRITE_MAX];
	static struct bytes wanted;
	struct proxy_header header = header_of("192.0.2.7:52044", "198.51.100.1:443");

	header_begin(&wanted, 0x21, 0x11);
	add(&wanted, in_addresses, 12);
	add_tlv(&wanted, 1, "h2", 2);
	add_tlv(&wanted, 2, "shop.example", 12);
	add_tlv(&wanted, 5, "4711", 4);
	header_end(&wanted);
	size_t len = proxy_header_write(to, 2, &header, &(struct proxy_additions){ "h2", "shop.example", 4711 });
	assert_int_equal(len, wanted.len);
	assert_memory_equal(to, wanted.at, len);
}

static void every_family_is_read_as_it_was_written(void **state)
{
	static const char *const pairs[][2] = { { "192.0.2.7:1", "192.0.2.1:65535" },
		{ "[2001:db8::7]:0", "[::1]:2" }, { "192.0.2.7:1", "[2001:db8::1]:2" },
		{ "[2001:db8::7]:1", "192.0.2.1:2" }, { "unix:/a", "unix:/b" } };
	static struct bytes b;

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		struct proxy_header header = header_of(pairs[i][0], pairs[i][1]);
		b.len = proxy_header_write(b.at, 2, &header, &(struct proxy_additions){ 0 });
		struct proxy_header again = read_bytes(&b);
		assert_addresses(&again, pairs[i][0], pairs[i][1]);
	}
	struct proxy_header none = { 0 };
	b.len = proxy_header_write(b.at, 2, &none, &(struct proxy_additions){ .id = 1 });
	struct proxy_header again = read_bytes(&b);
	assert_addresses(&again, "-", "-");
	assert_int_equal(again.tlvs_len, 3 + 1);
}

/* Of a client that sends datagrams it is said; version 1 cannot. */
static void datagrams_are_another_transport(void **state)
{
	static const struct {
		const char *source, *destination;
		uint8_t family;
		bool in6;
	} kinds[] = { { "192.0.2.7:1", "192.0.2.1:2", 0x12, false }, { "192.0.2.7:1", "192.0.2.1:2", 0x22, true },
		{ "[2001:db8::7]:1", "[::1]:2", 0x22, false }, { "unix:/a", "unix:/b", 0x32, false } };
	static struct bytes b;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct proxy_header header = header_of(kinds[i].source, kinds[i].destination);
		b.len = proxy_header_write(
			b.at, 2, &header, &(struct proxy_additions){ .in6 = kinds[i].in6, .datagrams = true });
		assert_int_equal(b.at[13], kinds[i].family);
		struct proxy_header again = read_bytes(&b);
		assert_addresses(&again, kinds[i].source, kinds[i].destination);
	}
	struct proxy_header none = { 0 };
	b.len = proxy_header_write(b.at, 2, &none, &(struct proxy_additions){ .datagrams = true });
	assert_int_equal(b.at[13], 0);
}

static void a_socket_without_a_name_is_zeros(void **state)
{
	static struct bytes b;
	struct proxy_header header = header_of("unix:/a", "unix:/b");

	header.source.len = sizeof(sa_family_t); /* as accept() gives it */
	memset(header.source.un.sun_path, 'x', 9);
	b.len = proxy_header_write(b.at, 2, &header, &(struct proxy_additions){ 0 });
	assert_int_equal(b.at[16], 0);
	struct proxy_header again = read_bytes(&b);
	assert_addresses(&again, "unix:", "unix:/b");
}

/* What came in knows better; its checksum and padding are its own. */
/* A path up to its NUL, whatever the memory has behind it; an abstract name with the NUL that it begins with. */
static void names_of_unix_sockets_are_written_as_they_are(void **state)
{
	static const uint8_t path[108] = "/", abstract[108] = "\0name";
	static struct bytes b;
	struct proxy_header header = header_of("unix:/a", "unix:/b");

	memcpy(header.source.un.sun_path, "/\0secret", 9);
	header.source.len = offsetof(struct sockaddr_un, sun_path) + 9;
	memcpy(header.destination.un.sun_path, "\0name", 6);
	header.destination.len = offsetof(struct sockaddr_un, sun_path) + 5;
	b.len = proxy_header_write(b.at, 2, &header, &(struct proxy_additions){ 0 });
	assert_int_equal(b.len, 16 + 216);
	assert_memory_equal(b.at + 16, path, 108);
	assert_memory_equal(b.at + 16 + 108, abstract, 108);
}

static void tlvs_that_came_in_go_out(void **state)
{
	static struct bytes in, out;
	static uint8_t to[PROXY_HEADER_WRITE_MAX];

	header_begin(&in, 0x21, 0x11);
	add(&in, in_addresses, 12);
	add_tlv(&in, PROXY_TLV_NOOP, "xxx", 3);
	add_tlv(&in, PROXY_TLV_UNIQUE_ID, "\0id", 3);
	add_tlv(&in, 0x20, "\1\0\0\0\0!\0\7TLSv1.3", 15);
	add_tlv(&in, 0xe0, "", 0);
	header_end(&in);
	struct proxy_header header = read_bytes(&in);

	header_begin(&out, 0x21, 0x11);
	add(&out, in_addresses, 12);
	add_tlv(&out, PROXY_TLV_UNIQUE_ID, "\0id", 3);
	add_tlv(&out, 0x20, "\1\0\0\0\0!\0\7TLSv1.3", 15);
	add_tlv(&out, 0xe0, "", 0);
	add_tlv(&out, PROXY_TLV_AUTHORITY, "host.example", 12);
	header_end(&out);
	size_t len = proxy_header_write(
		to, 2, &header, &(struct proxy_additions){ .authority = "host.example", .id = 17 });
	assert_int_equal(len, out.len);
	assert_memory_equal(to, out.at, len);
}

static void the_longest_header_fits(void **state)
{
	static struct bytes b;
	static uint8_t to[PROXY_HEADER_WRITE_MAX], value[PROXY_HEADER_MAX], text[256];

	header_begin(&b, 0x21, 0x31);
	memset(b.at + 16, 'x', 216);
	b.len += 216;
	add_tlv(&b, 0xe0, value, PROXY_HEADER_MAX - 16 - 216 - 3);
	header_end(&b);
	assert_int_equal(b.len, PROXY_HEADER_MAX);
	struct proxy_header header;
	assert_int_equal(proxy_header_read(b.at, b.len, &header), PROXY_HEADER_MAX);
	memset(text, 'y', 255);
	struct proxy_additions additions = { (char *)text, (char *)text, UINT64_MAX };
	size_t len = proxy_header_write(to, 2, &header, &additions);
	assert_int_equal(len, PROXY_HEADER_MAX + 2 * 258 + 3 + 20);
	assert_true(len <= PROXY_HEADER_WRITE_MAX);
}

/* What a stranger could make of good ones: nothing may be read behind the end, no verdict taken back. */
static void mutations_keep_the_promises(void **state)
{
	static struct bytes b;
	unsigned seed = 4711;

	for (int round = 0; round < 3000; round++) {
		header_begin(&b, 0x21, 0x11);
		if (round % 3 == 0) {
			b.len = 0;
			add(&b, "PROXY TCP6 2001:db8::7 ::ffff:1.2.3.4 52044 443\r\nGET /", 54);
		} else {
			add(&b, in_addresses, 12);
			add_tlv(&b, PROXY_TLV_AUTHORITY, "a.example", 9);
			add_tlv(&b, 0x20, "\1\0\0\0\0!\0\7TLSv1.3", 15);
			header_end(&b);
		}
		for (int n = 0; n < 1 + round % 4; n++)
			b.at[(size_t)rand_r(&seed) % b.len] =
				(uint8_t)(round % 2 ? rand_r(&seed) : " \r\n:.0159"[rand_r(&seed) % 9]);
		proxy_cuts(b.at, b.len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_of_version_1),
		cmocka_unit_test(v4_mapped_addresses_are_ipv4_addresses),
		cmocka_unit_test(unknown_names_nobody),
		cmocka_unit_test(lines_that_break_the_rules),
		cmocka_unit_test(a_nul_in_an_address_is_no_end_of_it),
		cmocka_unit_test(a_line_has_107_bytes_at_most),
		cmocka_unit_test(other_protocols_are_no_header_from_the_byte_that_shows_it),
		cmocka_unit_test(families_of_version_2),
		cmocka_unit_test(a_mapped_address_of_version_2),
		cmocka_unit_test(unix_addresses_of_version_2),
		cmocka_unit_test(local_and_unspecified_name_nobody),
		cmocka_unit_test(what_is_not_assigned_is_refused),
		cmocka_unit_test(addresses_must_have_their_room),
		cmocka_unit_test(the_length_has_a_limit),
		cmocka_unit_test(tlvs_are_kept),
		cmocka_unit_test(tlvs_that_do_not_fill_their_place),
		cmocka_unit_test(a_checksum_is_checked),
		cmocka_unit_test(version_1_is_written),
		cmocka_unit_test(for_a_backend_of_ipv6_all_addresses_are_of_ipv6),
		cmocka_unit_test(version_2_is_written_byte_for_byte),
		cmocka_unit_test(every_family_is_read_as_it_was_written),
		cmocka_unit_test(datagrams_are_another_transport),
		cmocka_unit_test(a_socket_without_a_name_is_zeros),
		cmocka_unit_test(names_of_unix_sockets_are_written_as_they_are),
		cmocka_unit_test(tlvs_that_came_in_go_out),
		cmocka_unit_test(the_longest_header_fits),
		cmocka_unit_test(mutations_keep_the_promises),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
