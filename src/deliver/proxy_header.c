/* Writes PROXY headers. Says only what it is given; refuses nothing, since there is a form for addresses that
 * cannot be told. Owns nothing. */
#include "proxy_header.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX 255 /* of a TLV of usher's own */

static const uint8_t mapped[12] = { [10] = 0xff, 0xff };

static void put16(uint8_t *to, size_t value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

/* The family that both can be written in; AF_UNSPEC: none. */
static int common_family(const struct address *source, const struct address *destination, bool in6)
{
	if (address_is_ip(source) && address_is_ip(destination))
		return source->sa.sa_family == AF_INET && destination->sa.sa_family == AF_INET && !in6 ? AF_INET
												       : AF_INET6;
	if (source->len && destination->len && source->sa.sa_family == AF_UNIX &&
		destination->sa.sa_family == AF_UNIX)
		return AF_UNIX;
	return AF_UNSPEC;
}

static void address_in6(const struct address *address, uint8_t ret[16])
{
	if (address->sa.sa_family == AF_INET6) {
		memcpy(ret, &address->in6.sin6_addr, 16);
		return;
	}
	memcpy(ret, mapped, sizeof(mapped));
	memcpy(ret + 12, &address->in.sin_addr, 4);
}

/* ---- version 1 ---- */

static void format_in6(const struct address *address, char ret[INET6_ADDRSTRLEN])
{
	uint8_t bytes[16];

	address_in6(address, bytes);
	inet_ntop(AF_INET6, bytes, ret, INET6_ADDRSTRLEN);
}

static size_t line_write(uint8_t *to, const struct address *source, const struct address *destination, bool in6)
{
	char from[INET6_ADDRSTRLEN], at[INET6_ADDRSTRLEN], line[2 * INET6_ADDRSTRLEN + 32];
	int family = common_family(source, destination, in6);
	int len;

	if (family == AF_INET) {
		inet_ntop(AF_INET, &source->in.sin_addr, from, sizeof(from));
		inet_ntop(AF_INET, &destination->in.sin_addr, at, sizeof(at));
	} else if (family == AF_INET6) {
		format_in6(source, from);
		format_in6(destination, at);
	}
	if (family == AF_INET || family == AF_INET6)
		len = snprintf(line, sizeof(line), "PROXY TCP%c %s %s %u %u\r\n", family == AF_INET ? '4' : '6', from,
			at, address_port(source), address_port(destination));
	else
		len = snprintf(line, sizeof(line), "PROXY UNKNOWN\r\n");
	memcpy(to, line, (size_t)len);
	return (size_t)len;
}

/* ---- version 2 ---- */

static size_t put_ports(uint8_t *to, const struct address *source, const struct address *destination)
{
	put16(to, address_port(source));
	put16(to + 2, address_port(destination));
	return 4;
}

/* A path that fills its place has no NUL; an abstract name keeps the one that it begins with. */
static void put_unix(uint8_t *to, const struct address *address)
{
	size_t room = sizeof(address->un.sun_path), at = offsetof(struct sockaddr_un, sun_path);
	size_t len = address->len > at ? address->len - at : 0;

	memset(to, 0, room);
	len = len < room ? len : room;
	if (len && address->un.sun_path[0])
		len = strnlen(address->un.sun_path, len);
	memcpy(to, address->un.sun_path, len);
}

/* The addresses, behind the byte that says what they are. */
static size_t put_addresses(uint8_t *to, uint8_t *ret_family, const struct address *source,
	const struct address *destination, const struct proxy_additions *additions)
{
	uint8_t transport = additions->datagrams ? 2 : 1;

	switch (common_family(source, destination, additions->in6)) {
	case AF_INET:
		*ret_family = 0x10 | transport;
		memcpy(to, &source->in.sin_addr, 4);
		memcpy(to + 4, &destination->in.sin_addr, 4);
		return 8 + put_ports(to + 8, source, destination);
	case AF_INET6:
		*ret_family = 0x20 | transport;
		address_in6(source, to);
		address_in6(destination, to + 16);
		return 32 + put_ports(to + 32, source, destination);
	case AF_UNIX:
		*ret_family = 0x30 | transport;
		put_unix(to, source);
		put_unix(to + 108, destination);
		return 216;
	default:
		*ret_family = 0x00;
		return 0;
	}
}

static size_t put_tlv(uint8_t *to, uint8_t type, const void *value, size_t len)
{
	to[0] = type;
	put16(to + 1, len);
	memcpy(to + 3, value, len);
	return 3 + len;
}

/* What came in says more than we know: who decrypted TLS, or counts connections, stands further up. */
static size_t put_text(uint8_t *to, const struct proxy_header *header, enum proxy_tlv_type type, const char *text)
{
	size_t len = text ? strlen(text) : 0;

	if (len == 0 || len > TEXT_MAX || proxy_tlv_find(header, type).value)
		return 0;
	return put_tlv(to, (uint8_t)type, text, len);
}

static size_t put_tlvs(uint8_t *to, const struct proxy_header *header, const struct proxy_additions *additions)
{
	const uint8_t *at = header->tlvs;
	size_t left = header->tlvs_len, len = 0;
	struct proxy_tlv tlv;
	char id[24] = "";

	while (proxy_tlv_next(&at, &left, &tlv))
		if (tlv.type != PROXY_TLV_CRC32C && tlv.type != PROXY_TLV_NOOP)
			len += put_tlv(to + len, tlv.type, tlv.value, tlv.len);
	if (additions->id)
		snprintf(id, sizeof(id), "%ju", (uintmax_t)additions->id);
	len += put_text(to + len, header, PROXY_TLV_ALPN, additions->alpn);
	len += put_text(to + len, header, PROXY_TLV_AUTHORITY, additions->authority);
	len += put_text(to + len, header, PROXY_TLV_UNIQUE_ID, id);
	return len;
}

size_t proxy_header_write(
	uint8_t *to, unsigned version, const struct proxy_header *header, const struct proxy_additions *additions)
{
	struct address source = address_unmapped(&header->source);
	struct address destination = address_unmapped(&header->destination);

	if (version == 1)
		return line_write(to, &source, &destination, additions->in6);
	memcpy(to, "\r\n\r\n\0\r\nQUIT\n\x21", 13);
	size_t len = put_addresses(to + 16, &to[13], &source, &destination, additions);
	len += put_tlvs(to + 16 + len, header, additions);
	put16(to + 14, len);
	return 16 + len;
}
