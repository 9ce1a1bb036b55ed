/* Takes the headers of a captured packet off, from the outside to the inside.
 *
 *     link header | tags | IPv4 or IPv6 | extension headers | TCP or UDP | payload | padding
 *
 * Refuses to read past what was captured and to believe a length that goes past what was sent; looks into no tunnels and tells
 * fragments, but does not put them together. Owns no memory. */
#include "packet.h"

#include <netinet/in.h>
#include <string.h>

#define ETHERTYPE_IP4         0x0800
#define ETHERTYPE_IP6         0x86dd
#define ETHERTYPE_VLAN        0x8100
#define ETHERTYPE_QINQ        0x88a8
#define ETHERTYPE_QINQ_OLD    0x9100
#define ETHERTYPE_PPPOE       0x8864
#define PPP_IP4               0x0021
#define PPP_IP6               0x0057
#define PPP_ADDRESS_CONTROL   0xff03
#define IP6_MOBILITY          135
#define IP6_AUTHENTICATION_AH 51

/* What is left of the packet. */
struct cursor {
	const uint8_t *at;
	size_t captured;
	size_t len; /* >= captured: as it was sent */
};

/* The next bytes, or NULL: they were not captured. */
static const uint8_t *take(struct cursor *cursor, size_t n)
{
	const uint8_t *at = cursor->at;

	if (cursor->captured < n)
		return NULL;
	cursor->at += n;
	cursor->captured -= n;
	cursor->len -= n;
	return at;
}

/* What is behind the first `len` bytes is padding. */
static void trim(struct cursor *cursor, size_t len)
{
	if (cursor->len > len)
		cursor->len = len;
	if (cursor->captured > cursor->len)
		cursor->captured = cursor->len;
}

static uint16_t be16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t be32(const uint8_t *at)
{
	return (uint32_t)be16(at) << 16 | be16(at + 2);
}

static enum packet_kind tcp_parse(struct packet *ret, struct cursor *cursor)
{
	const uint8_t *head = take(cursor, 20);

	if (!head)
		return PACKET_BROKEN;
	size_t options = (size_t)(head[12] >> 4) * 4;
	if (options < 20 || !take(cursor, options - 20))
		return PACKET_BROKEN;
	memcpy(ret->from.port, head, 2);
	memcpy(ret->to.port, head + 2, 2);
	ret->sequence = be32(head + 4);
	ret->acknowledged = be32(head + 8);
	ret->flags = head[13];
	return PACKET_TCP;
}

static enum packet_kind udp_parse(struct packet *ret, struct cursor *cursor)
{
	const uint8_t *head = take(cursor, 8);

	if (!head)
		return PACKET_BROKEN;
	size_t len = be16(head + 4);
	if (len != 0 && (len < 8 || len - 8 > cursor->len)) /* 0: longer than the field can say, RFC 2675 */
		return PACKET_BROKEN;
	if (len != 0)
		trim(cursor, len - 8);
	memcpy(ret->from.port, head, 2);
	memcpy(ret->to.port, head + 2, 2);
	ret->is_udp = true;
	return PACKET_UDP;
}

static enum packet_kind transport_parse(struct packet *ret, struct cursor *cursor, uint8_t protocol)
{
	enum packet_kind kind = PACKET_OTHER;

	if (protocol == IPPROTO_TCP)
		kind = tcp_parse(ret, cursor);
	else if (protocol == IPPROTO_UDP)
		kind = udp_parse(ret, cursor);
	ret->payload = cursor->at;
	ret->captured = cursor->captured;
	ret->len = cursor->len;
	return kind;
}

static void map_address(uint8_t ret[16], const uint8_t *address)
{
	static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };

	memcpy(ret, prefix, 12);
	memcpy(ret + 12, address, 4);
}

static enum packet_kind fragment_parse(
	struct packet *ret, const struct cursor *cursor, uint8_t protocol, uint32_t id, uint16_t offset, bool more)
{
	ret->fragment.protocol = protocol;
	ret->fragment.id = id;
	ret->fragment.offset = offset;
	ret->fragment.more = more;
	ret->payload = cursor->at;
	ret->captured = cursor->captured;
	ret->len = cursor->len;
	return PACKET_FRAGMENT;
}

static enum packet_kind ip4_parse(struct packet *ret, struct cursor *cursor)
{
	const struct cursor whole = *cursor;
	const uint8_t *head = take(cursor, 20);

	if (!head || head[0] >> 4 != 4)
		return PACKET_BROKEN;
	size_t head_len = (size_t)(head[0] & 15) * 4, len = be16(head + 2);
	if (len == 0) /* the card was going to cut it and fill this in */
		len = whole.len;
	if (head_len < 20 || len < head_len || !take(cursor, head_len - 20))
		return PACKET_BROKEN;
	trim(cursor, len - head_len);
	map_address(ret->from.address, head + 12);
	map_address(ret->to.address, head + 16);
	uint16_t field = be16(head + 6);
	if (field & 0x3fff) /* more fragments, or not the first */
		return fragment_parse(
			ret, cursor, head[9], be16(head + 4), (uint16_t)(field << 3), (field & 0x2000) != 0);
	return transport_parse(ret, cursor, head[9]);
}

/* Past the extension headers; *protocol is that of what follows. */
static enum packet_kind extensions_skip(struct packet *ret, struct cursor *cursor, uint8_t *protocol)
{
	for (;;) {
		size_t len;
		bool is_extension = *protocol == IPPROTO_HOPOPTS || *protocol == IPPROTO_ROUTING ||
			*protocol == IPPROTO_DSTOPTS || *protocol == IPPROTO_FRAGMENT || *protocol == IP6_MOBILITY ||
			*protocol == IP6_AUTHENTICATION_AH;
		if (!is_extension)
			return PACKET_TCP;
		const uint8_t *head = take(cursor, 8);
		if (!head)
			return PACKET_BROKEN;
		if (*protocol == IPPROTO_FRAGMENT) {
			if (be16(head + 2) & 0xfff9) /* an offset, or more to come */
				return fragment_parse(ret, cursor, head[0], be32(head + 4), be16(head + 2) & 0xfff8,
					(head[3] & 1) != 0);
			len = 0;
		} else if (*protocol == IP6_AUTHENTICATION_AH) {
			if (head[1] == 0)
				return PACKET_BROKEN;
			len = (size_t)head[1] * 4; /* in 4 bytes, less 2 (RFC 4302 2.2) */
		} else {
			len = (size_t)head[1] * 8;
		}
		*protocol = head[0];
		if (!take(cursor, len))
			return PACKET_BROKEN;
	}
}

static enum packet_kind ip6_parse(struct packet *ret, struct cursor *cursor)
{
	const uint8_t *head = take(cursor, 40);

	if (!head || head[0] >> 4 != 6)
		return PACKET_BROKEN;
	if (be16(head + 4) != 0) /* 0: a jumbogram, or what the card was going to cut */
		trim(cursor, be16(head + 4));
	uint8_t protocol = head[6];
	memcpy(ret->from.address, head + 8, 16);
	memcpy(ret->to.address, head + 24, 16);
	enum packet_kind kind = extensions_skip(ret, cursor, &protocol);
	return kind == PACKET_TCP ? transport_parse(ret, cursor, protocol) : kind;
}

/* By its version, for what stands before it may be wrong about it or say nothing. */
static enum packet_kind ip_parse(struct packet *ret, struct cursor *cursor)
{
	if (cursor->captured == 0)
		return PACKET_BROKEN;
	switch (cursor->at[0] >> 4) {
	case 4:
		return ip4_parse(ret, cursor);
	case 6:
		return ip6_parse(ret, cursor);
	default:
		return PACKET_OTHER;
	}
}

static enum packet_kind ppp_parse(struct packet *ret, struct cursor *cursor)
{
	if (cursor->captured >= 2 && be16(cursor->at) == PPP_ADDRESS_CONTROL)
		take(cursor, 2);
	const uint8_t *protocol = take(cursor, 2);
	if (!protocol)
		return PACKET_BROKEN;
	if (be16(protocol) != PPP_IP4 && be16(protocol) != PPP_IP6)
		return PACKET_OTHER;
	return ip_parse(ret, cursor);
}

static enum packet_kind pppoe_parse(struct packet *ret, struct cursor *cursor)
{
	const uint8_t *head = take(cursor, 6);

	if (!head)
		return PACKET_BROKEN;
	if (head[0] != 0x11 || head[1] != 0) /* not a session's data */
		return PACKET_OTHER;
	trim(cursor, be16(head + 4));
	return ppp_parse(ret, cursor);
}

/* Behind a link header that has said what follows. */
static enum packet_kind ethertype_parse(struct packet *ret, struct cursor *cursor, uint16_t type)
{
	while (type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ || type == ETHERTYPE_QINQ_OLD) {
		const uint8_t *tag = take(cursor, 4);
		if (!tag)
			return PACKET_BROKEN;
		type = be16(tag + 2);
	}
	if (type == ETHERTYPE_PPPOE)
		return pppoe_parse(ret, cursor);
	return type == ETHERTYPE_IP4 || type == ETHERTYPE_IP6 ? ip_parse(ret, cursor) : PACKET_OTHER;
}

/* A header of this length, with the type of what follows somewhere in it. */
static enum packet_kind link_parse(struct packet *ret, struct cursor *cursor, size_t head_len, size_t type_at)
{
	const uint8_t *head = take(cursor, head_len);

	return head ? ethertype_parse(ret, cursor, be16(head + type_at)) : PACKET_BROKEN;
}

enum packet_kind packet_parse_whole(struct packet *ret, uint8_t protocol, const uint8_t *bytes, size_t len)
{
	struct cursor cursor = { bytes, len, len };
	enum packet_kind kind = extensions_skip(ret, &cursor, &protocol);

	return kind == PACKET_TCP ? transport_parse(ret, &cursor, protocol) : kind;
}

enum packet_kind packet_parse(
	struct packet *ret, enum packet_link link, const uint8_t *bytes, size_t captured, size_t len)
{
	struct cursor cursor = { bytes, captured, len > captured ? len : captured };

	*ret = (struct packet){ 0 };
	switch (link) {
	case LINK_ETHERNET:
		return link_parse(ret, &cursor, 14, 12);
	case LINK_SLL:
		return link_parse(ret, &cursor, 16, 14);
	case LINK_SLL2:
		return link_parse(ret, &cursor, 20, 0);
	case LINK_FAMILY:
		return take(&cursor, 4) ? ip_parse(ret, &cursor) : PACKET_BROKEN;
	case LINK_IP:
		return ip_parse(ret, &cursor);
	case LINK_PPP:
		return ppp_parse(ret, &cursor);
	case LINK_PPPOE:
		return pppoe_parse(ret, &cursor);
	case LINK_HDLC:
		return link_parse(ret, &cursor, 4, 2);
	}
	return PACKET_OTHER;
}
