/* Reads PROXY headers. Pure: what comes in may be anything that a stranger sends, of any length. Refuses to guess:
 * what is neither version is told apart from what is one and is broken. Owns nothing. */
#include "proxy_header.h"
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#define LINE_MAX 107 /* with its CRLF */
#define FIELDS   4

/* Header of version 2 */
#define AT_COMMAND   12
#define AT_FAMILY    13
#define AT_LENGTH    14
#define AT_ADDRESSES 16

#define UNIQUE_ID_MAX 128
#define CRC32C_LEN    4

static const uint8_t signature[12] = { '\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n' };

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* As far as both go. */
static bool begins(const uint8_t *bytes, size_t len, const void *with, size_t with_len)
{
	return memcmp(bytes, with, smaller(len, with_len)) == 0;
}

/* ---- version 1 ---- */

struct field {
	const uint8_t *at;
	size_t len;
};

/* inet_pton() is as strict as the specification: no zeros in front, no blanks, nothing left out. */
static bool field_address(const struct field *field, int family, struct address *ret)
{
	char text[INET6_ADDRSTRLEN];

	if (field->len >= sizeof(text) || memchr(field->at, '\0', field->len))
		return false;
	memcpy(text, field->at, field->len);
	text[field->len] = '\0';
	*ret = (struct address){ .len = family == AF_INET ? sizeof(ret->in) : sizeof(ret->in6) };
	ret->sa.sa_family = (sa_family_t)family;
	return family == AF_INET ? inet_pton(AF_INET, text, &ret->in.sin_addr) == 1
				 : inet_pton(AF_INET6, text, &ret->in6.sin6_addr) == 1;
}

static bool field_port(const struct field *field, struct address *ret)
{
	unsigned value = 0;

	if (field->len < 1 || field->len > 5 || (field->len > 1 && field->at[0] == '0'))
		return false;
	for (size_t i = 0; i < field->len; i++) {
		if (field->at[i] < '0' || field->at[i] > '9')
			return false;
		value = value * 10 + (unsigned)(field->at[i] - '0');
	}
	if (value > UINT16_MAX)
		return false;
	address_set_port(ret, (uint16_t)value);
	return true;
}

/* "192.0.2.7 198.51.100.1 52044 443" */
static bool line_addresses(const uint8_t *at, const uint8_t *end, int family, struct proxy_header *ret)
{
	struct field fields[FIELDS];

	for (size_t i = 0; i < FIELDS; i++) {
		const uint8_t *space = memchr(at, ' ', (size_t)(end - at));
		if ((i < FIELDS - 1) != (space != NULL))
			return false;
		fields[i] = (struct field){ at, (size_t)((space ? space : end) - at) };
		at = space ? space + 1 : end;
	}
	if (!field_address(&fields[0], family, &ret->source) || !field_port(&fields[2], &ret->source) ||
		!field_address(&fields[1], family, &ret->destination) || !field_port(&fields[3], &ret->destination))
		return false;
	ret->source = address_unmapped(&ret->source);
	ret->destination = address_unmapped(&ret->destination);
	return true;
}

/* Where CR LF stands, 0 where it may still come; a CR or LF alone ends no line, and none may stand in one. */
static ssize_t line_end(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < smaller(len, LINE_MAX); i++) {
		if (bytes[i] == '\n')
			return -EPROTO;
		if (bytes[i] != '\r')
			continue;
		if (i + 1 == LINE_MAX)
			return -EPROTO;
		if (i + 1 == len)
			return 0;
		return bytes[i + 1] == '\n' ? (ssize_t)i : -EPROTO;
	}
	return len >= LINE_MAX ? -EPROTO : 0;
}

static ssize_t line_read(const uint8_t *bytes, size_t len, struct proxy_header *ret)
{
	static const struct {
		const char *text;
		size_t len;
		int family;
	} kinds[] = {
		{ "PROXY TCP4 ", 11, AF_INET },
		{ "PROXY TCP6 ", 11, AF_INET6 },
		{ "PROXY UNKNOWN ", 14, AF_UNSPEC },
		{ "PROXY UNKNOWN\r", 14, AF_UNSPEC },
	};
	size_t kind = 0;

	while (kind < sizeof(kinds) / sizeof(kinds[0]) && !begins(bytes, len, kinds[kind].text, kinds[kind].len))
		kind++;
	if (kind == sizeof(kinds) / sizeof(kinds[0]))
		return -EPROTO;
	ssize_t end = line_end(bytes, len);
	if (end <= 0)
		return end;
	if (kinds[kind].family != AF_UNSPEC &&
		!line_addresses(bytes + kinds[kind].len, bytes + end, kinds[kind].family, ret))
		return -EPROTO;
	return end + 2;
}

/* ---- version 2 ---- */

enum { COMMAND_LOCAL, COMMAND_PROXY };
enum { FAMILY_UNSPEC, FAMILY_INET, FAMILY_INET6, FAMILY_UNIX };

static const size_t addresses_len[] = {
	[FAMILY_UNSPEC] = 0,
	[FAMILY_INET] = 4 + 4 + 2 + 2,
	[FAMILY_INET6] = 16 + 16 + 2 + 2,
	[FAMILY_UNIX] = 108 + 108,
};

static size_t get16(const uint8_t *bytes)
{
	return (size_t)bytes[0] << 8 | bytes[1];
}

static uint32_t get32(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* RFC 3720 B.4, reflected, as RFC 4960 Appendix B has it. */
static uint32_t crc32c_add(uint32_t crc, uint8_t byte)
{
	crc ^= byte;
	for (int bit = 0; bit < 8; bit++)
		crc = crc >> 1 ^ (0x82f63b78U & (0U - (crc & 1)));
	return crc;
}

/* With the bytes of the checksum itself as zeros. */
static bool checksum_fits(const uint8_t *bytes, size_t len, const uint8_t *checksum)
{
	uint32_t crc = UINT32_MAX;

	for (const uint8_t *at = bytes; at < bytes + len; at++)
		crc = crc32c_add(crc, at >= checksum && at < checksum + CRC32C_LEN ? 0 : *at);
	return ~crc == get32(checksum);
}

static int tlvs_check(const uint8_t *bytes, size_t len, const uint8_t *tlvs)
{
	const uint8_t *checksum = NULL, *end = bytes + len;

	while (tlvs < end) {
		size_t left = (size_t)(end - tlvs);
		if (left < 3 || left - 3 < get16(tlvs + 1))
			return -EPROTO;
		size_t value_len = get16(tlvs + 1);
		if (tlvs[0] == PROXY_TLV_UNIQUE_ID && value_len > UNIQUE_ID_MAX)
			return -EPROTO;
		if (tlvs[0] == PROXY_TLV_CRC32C) {
			if (checksum || value_len != CRC32C_LEN)
				return -EPROTO;
			checksum = tlvs + 3;
		}
		tlvs += 3 + value_len;
	}
	return !checksum || checksum_fits(bytes, len, checksum) ? 0 : -EBADMSG;
}

static void take_in(struct address *ret, const uint8_t *host, const uint8_t *port)
{
	*ret = (struct address){ .len = sizeof(ret->in) };
	ret->in.sin_family = AF_INET;
	memcpy(&ret->in.sin_addr, host, 4);
	address_set_port(ret, (uint16_t)get16(port));
}

static void take_in6(struct address *ret, const uint8_t *host, const uint8_t *port)
{
	*ret = (struct address){ .len = sizeof(ret->in6) };
	ret->in6.sin6_family = AF_INET6;
	memcpy(&ret->in6.sin6_addr, host, 16);
	address_set_port(ret, (uint16_t)get16(port));
	*ret = address_unmapped(ret);
}

/* 108 bytes: a path up to its NUL, if there is one; a NUL and a name for an abstract socket, whose length can only be
 * where its zeros begin; zeros for a socket without a name. */
static void take_unix(struct address *ret, const uint8_t *path)
{
	size_t len = sizeof(ret->un.sun_path);

	*ret = (struct address){ 0 };
	ret->un.sun_family = AF_UNIX;
	memcpy(ret->un.sun_path, path, len);
	if (path[0] != 0)
		len = smaller(len, strnlen(ret->un.sun_path, len) + 1);
	while (path[0] == 0 && len > 0 && path[len - 1] == 0)
		len--;
	ret->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

static void take_addresses(unsigned family, const uint8_t *at, struct proxy_header *ret)
{
	switch (family) {
	case FAMILY_INET:
		take_in(&ret->source, at, at + 8);
		take_in(&ret->destination, at + 4, at + 10);
		break;
	case FAMILY_INET6:
		take_in6(&ret->source, at, at + 32);
		take_in6(&ret->destination, at + 16, at + 34);
		break;
	case FAMILY_UNIX:
		take_unix(&ret->source, at);
		take_unix(&ret->destination, at + 108);
		break;
	}
}

static ssize_t binary_read(const uint8_t *bytes, size_t len, struct proxy_header *ret)
{
	if (len > AT_COMMAND && (bytes[AT_COMMAND] >> 4 != 2 || (bytes[AT_COMMAND] & 15) > COMMAND_PROXY))
		return -EPROTO;
	bool local = len > AT_COMMAND && (bytes[AT_COMMAND] & 15) == COMMAND_LOCAL;
	if (len > AT_FAMILY && !local && (bytes[AT_FAMILY] >> 4 > FAMILY_UNIX || (bytes[AT_FAMILY] & 15) > 2))
		return -EPROTO;
	if (len < AT_ADDRESSES)
		return 0;

	size_t total = AT_ADDRESSES + get16(bytes + AT_LENGTH);
	unsigned family = bytes[AT_FAMILY] >> 4;
	if (total > PROXY_HEADER_MAX)
		return -EMSGSIZE;
	if (!local && total - AT_ADDRESSES < addresses_len[family])
		return -EPROTO;
	if (len < total)
		return 0;
	/* Of these the addresses are to be ignored; where those end that one half of the byte promises, nobody
	 * says. */
	if (local || (bytes[AT_FAMILY] != 0 && (family == FAMILY_UNSPEC || (bytes[AT_FAMILY] & 15) == 0)))
		return (ssize_t)total;
	const uint8_t *tlvs = bytes + AT_ADDRESSES + addresses_len[family];
	int error = tlvs_check(bytes, total, tlvs);
	if (error < 0)
		return error;
	take_addresses(family, bytes + AT_ADDRESSES, ret);
	ret->tlvs = tlvs;
	ret->tlvs_len = (size_t)(bytes + total - tlvs);
	return (ssize_t)total;
}

ssize_t proxy_header_read(const uint8_t *bytes, size_t len, struct proxy_header *ret)
{
	*ret = (struct proxy_header){ 0 };
	if (begins(bytes, len, signature, sizeof(signature)))
		return len ? binary_read(bytes, len, ret) : 0;
	if (begins(bytes, len, "PROXY ", 6))
		return line_read(bytes, len, ret);
	return -ENOMSG;
}

/* ---- TLVs ---- */

bool proxy_tlv_next(const uint8_t **at, size_t *left, struct proxy_tlv *ret)
{
	if (*left < 3)
		return false;
	*ret = (struct proxy_tlv){ .type = (*at)[0], .value = *at + 3, .len = get16(*at + 1) };
	*at += 3 + ret->len;
	*left -= 3 + ret->len;
	return true;
}

struct proxy_tlv proxy_tlv_find(const struct proxy_header *header, enum proxy_tlv_type type)
{
	const uint8_t *at = header->tlvs;
	size_t left = header->tlvs_len;
	struct proxy_tlv tlv;

	while (proxy_tlv_next(&at, &left, &tlv))
		if (tlv.type == type)
			return tlv;
	return (struct proxy_tlv){ 0 };
}
