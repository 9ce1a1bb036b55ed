/* One packet of a capture: which two ends, TCP or UDP, and what it carries. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What stands before the IP header. */
enum packet_link {
	LINK_ETHERNET, /* with VLAN tags (802.1Q, 802.1ad) and PPPoE sessions */
	LINK_SLL,      /* Linux cooked, https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL.html */
	LINK_SLL2,     /* and its second form, LINKTYPE_LINUX_SLL2.html */
	LINK_FAMILY,   /* 4 bytes of address family, in either order: BSD loopback */
	LINK_IP,       /* nothing */
	LINK_PPP,      /* RFC 1661, with or without HDLC's address and control bytes (RFC 1662) */
	LINK_PPPOE,    /* RFC 2516, from its header on */
	LINK_HDLC,     /* Cisco's: address, control, type, https://www.tcpdump.org/linktypes.html */
};

enum packet_kind {
	PACKET_TCP,
	PACKET_UDP,
	PACKET_FRAGMENT, /* a piece of an IP packet, and not the whole; see fragments.h */
	PACKET_OTHER,    /* something else than TCP or UDP over IP */
	PACKET_BROKEN,   /* its lengths do not agree, or the capture has cut it inside its headers */
};

struct packet_end {
	uint8_t address[16]; /* an IPv4 address is mapped, RFC 4291 2.5.5.2 */
	uint8_t port[2];     /* as in the packet: ends are compared as bytes */
};

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

struct packet {
	struct packet_end from, to;
	bool is_udp;
	uint8_t flags; /* TCP_* */
	uint32_t sequence, acknowledged;
	struct {
		uint32_t id;
		size_t offset; /* in bytes */
		bool more;     /* come behind it */
		uint8_t protocol;
	} fragment;             /* of PACKET_FRAGMENT, which has addresses without ports */
	const uint8_t *payload; /* into the packet */
	size_t len;             /* as it was sent */
	size_t captured;        /* of it; less where the capture cut the packet */
};

/* `captured` bytes of a packet that had `len`. Fills `ret` for TCP and UDP. IPv4 (RFC 791), IPv6 with extension headers (RFC
 * 8200), TCP (RFC 9293), UDP (RFC 768). Checksums are not looked at: captures have them before the card fills them in. */
enum packet_kind packet_parse(
	struct packet *ret, enum packet_link link, const uint8_t *bytes, size_t captured, size_t len);

/* The same of what is behind the IP headers, `len` bytes of `protocol`; the addresses are in `ret` already. */
enum packet_kind packet_parse_whole(struct packet *ret, uint8_t protocol, const uint8_t *bytes, size_t len);
