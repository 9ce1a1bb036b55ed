/* Which addresses are of the public internet. Refuses to ask whether this machine has one of them. */
#include "address.h"
#include <arpa/inet.h>
#include <string.h>

static bool v4_is_public(uint32_t address)
{
	static const struct {
		uint32_t prefix;
		unsigned bits;
	} special[] = {
		{ 0x00000000, 8 },  /* this network */
		{ 0x0a000000, 8 },  /* RFC 1918 */
		{ 0x64400000, 10 }, /* RFC 6598: carriers' */
		{ 0x7f000000, 8 },  /* loopback */
		{ 0xa9fe0000, 16 }, /* link-local, and with it the metadata of clouds */
		{ 0xac100000, 12 }, /* RFC 1918 */
		{ 0xc0000000, 24 }, /* IETF protocols */
		{ 0xc0000200, 24 }, /* documentation */
		{ 0xc0586300, 24 }, /* 6to4 relays */
		{ 0xc0a80000, 16 }, /* RFC 1918 */
		{ 0xc6120000, 15 }, /* benchmarks */
		{ 0xc6336400, 24 }, /* documentation */
		{ 0xcb007100, 24 }, /* documentation */
		{ 0xe0000000, 3 },  /* multicast, reserved, broadcast */
	};

	for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++)
		if ((address ^ special[i].prefix) >> (32 - special[i].bits) == 0)
			return false;
	return true;
}

static uint32_t v4_at(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static bool v6_is_public(const uint8_t bytes[16])
{
	static const uint8_t nat64[12] = { 0x00, 0x64, 0xff, 0x9b };

	if (memcmp(bytes, nat64, sizeof(nat64)) == 0)
		return v4_is_public(v4_at(bytes + 12));
	if ((bytes[0] & 0xe0) != 0x20) /* all that is global unicast, so far, is in 2000::/3 */
		return false;
	if (bytes[0] == 0x20 && bytes[1] == 0x02) /* 6to4 */
		return v4_is_public(v4_at(bytes + 2));
	if (bytes[0] == 0x20 && bytes[1] == 0x01 && bytes[2] < 0x02) /* 2001::/23: Teredo, ORCHID, benchmarks */
		return false;
	return !(bytes[0] == 0x20 && bytes[1] == 0x01 && bytes[2] == 0x0d && bytes[3] == 0xb8); /* documentation */
}

bool address_is_public(const struct address *a)
{
	struct address plain = address_unmapped(a);

	if (!address_is_ip(&plain))
		return false;
	if (plain.sa.sa_family == AF_INET)
		return v4_is_public(ntohl(plain.in.sin_addr.s_addr));
	return v6_is_public(plain.in6.sin6_addr.s6_addr);
}
