/* Judges a client by address and time. Pure: no memory, no clock, no state of its own. */
#include "access.h"
#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>

const char *access_judge(const struct access *access, const struct address *client, bool is_open, time_t now)
{
	if (!access)
		return NULL;
	if (address_is_ip(client)) {
		if (access->deny && address_set_contains(access->deny, client))
			return "deny";
		if (access->allow && !is_open && !address_set_contains(access->allow, client))
			return "allow";
	}
	if (access->hours && !schedule_covers(access->hours, now))
		return "hours";
	return NULL;
}

static uint64_t source_of_v4(const uint8_t *bytes)
{
	uint32_t address = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
	/* ::/8 is reserved (RFC 4291 4): no network is 0:ffff:a.b.c.d::/64. */
	return 0xffffULL << 32 | address;
}

/* 64:ff9b::/96 of RFC 6052: behind a translator all of IPv4 would be one source. */
static const uint8_t nat64[12] = { 0x00, 0x64, 0xff, 0x9b };

uint64_t access_source(const struct address *client)
{
	uint64_t source = 0;

	if (!address_is_ip(client))
		return 0;
	if (client->sa.sa_family == AF_INET)
		return source_of_v4((const uint8_t *)&client->in.sin_addr);
	const uint8_t *bytes = client->in6.sin6_addr.s6_addr;
	if (IN6_IS_ADDR_V4MAPPED(&client->in6.sin6_addr))
		return source_of_v4(bytes + 12);
	if (memcmp(bytes, nat64, sizeof(nat64)) == 0)
		return source_of_v4(bytes + 12);
	for (int i = 0; i < 8; i++)
		source = source << 8 | bytes[i];
	return source ? source : 1; /* ::1 is a source too */
}
