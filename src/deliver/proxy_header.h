/* The header with which a proxy tells a server who its client is: "The PROXY protocol, Versions 1 & 2" (HAProxy
 * Technologies, 2020/03/05), sections 2.1 and 2.2. Both versions, as bytes from and to; nothing here touches a
 * socket.
 *
 *   version 1   "PROXY TCP4 192.0.2.7 198.51.100.1 52044 443\r\n", at most 107 bytes
 *   version 2   12 signature   1 version and command   1 family and protocol   2 length of all that follows
 *               .. addresses   .. TLVs: 1 type, 2 length, value */
#pragma once
#include "address.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROXY_HEADER_MAX                                                                                             \
	16384 /* the longest that is read; the addresses and what usher adds come on top when one is written */

enum proxy_tlv_type {
	PROXY_TLV_ALPN = 0x01,
	PROXY_TLV_AUTHORITY = 0x02,
	PROXY_TLV_CRC32C = 0x03,
	PROXY_TLV_NOOP = 0x04,
	PROXY_TLV_UNIQUE_ID = 0x05,
};

struct proxy_header {
	/* len 0, both: the header names nobody (LOCAL, UNKNOWN, UNSPEC), and the connection's own addresses count.
	 * IPv4 addresses that are written as v4-mapped IPv6 ones have become IPv4 addresses. */
	struct address source, destination;
	/* Well-formed; they lie in the bytes that were read. */
	const uint8_t *tlvs;
	size_t tlvs_len;
};

/* The length of the header that `bytes` begin with; 0: there must be more bytes to tell; or
 *   -ENOMSG    they begin with no PROXY header
 *   -EPROTO    with one that breaks the specification
 *   -EMSGSIZE  with one of more than PROXY_HEADER_MAX bytes
 *   -EBADMSG   with one whose checksum is wrong
 * What was said once is said for every longer input. Not tolerated: a line that ends in CR or LF alone, zeros in
 * front of numbers, other blanks than one space; versions but 2, commands, families and protocols that are not
 * assigned; TLVs that do not fill their place exactly. Version 2's LOCAL is skipped whole, and so is a family or
 * protocol that is not specified; a UDP client is a client like any other. */
ssize_t proxy_header_read(const uint8_t *bytes, size_t len, struct proxy_header *ret);

struct proxy_tlv {
	uint8_t type;
	const uint8_t *value;
	size_t len;
};

/* Takes the next one off well-formed TLVs; false: there is none. */
bool proxy_tlv_next(const uint8_t **at, size_t *left, struct proxy_tlv *ret);
/* The first one of that type, or NULL value. */
struct proxy_tlv proxy_tlv_find(const struct proxy_header *header, enum proxy_tlv_type type);

/* What usher adds to version 2 where the header that came in does not say it already; NULL, 0: nothing. */
struct proxy_additions {
	const char *alpn, *authority;
	uint64_t id;    /* of the connection: its decimal digits become the unique id */
	bool in6;       /* IP addresses are written as IPv6 ones, whatever they are */
	bool datagrams; /* the client sends datagrams, not a stream; not said in version 1 */
};

#define PROXY_HEADER_OWN_MAX   (16 + 216 + 3 * (3 + 255)) /* of one without TLVs that came in */
#define PROXY_HEADER_WRITE_MAX (PROXY_HEADER_OWN_MAX + PROXY_HEADER_MAX)

/* Writes a header for `version` 1 or 2 and returns its length, at most PROXY_HEADER_WRITE_MAX. Version 1 says
 * UNKNOWN of all but IP addresses, version 2 UNSPEC of none; one IPv4 and one IPv6 address become two IPv6 ones
 * (RFC 4291 2.5.5.2), in version 1 with dots, as other proxies write them. TLVs of the header go out as they came, but for checksum and padding. A text of more than
 * 255 bytes is left out. */
size_t proxy_header_write(
	uint8_t *to, unsigned version, const struct proxy_header *header, const struct proxy_additions *additions);
