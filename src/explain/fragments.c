/* Puts fragments of IP packets together, for captures: a query of DNS may be larger than what the link carries.
 *
 * A packet is whole once every 8 bytes of it are there, up to the end that its last fragment has told. Of bytes that came
 * twice the first are taken.
 *
 * Refuses fragments that the capture has cut, that go past 65535 bytes or the end, and that are no multiple of 8 bytes though
 * more follow. Owns the bytes of the packets that are not whole, at most FRAGMENTS_PACKETS times 64 KiB. */
#include "fragments.h"

#include <stdlib.h>
#include <string.h>

enum {
	UNIT = 8,
	WHOLE_MAX = 65535,
	UNITS_MAX = (WHOLE_MAX + UNIT - 1) / UNIT,
};

struct whole {
	uint8_t from[16], to[16];
	uint32_t id;
	uint8_t protocol;
	uint64_t begun_us;
	size_t total;                    /* 0: not told yet */
	size_t n_fragments;              /* that are there */
	uint8_t have[UNITS_MAX / 8 + 1]; /* a bit for each unit */
	uint8_t bytes[UNITS_MAX * UNIT];
};

struct fragments {
	struct whole *wholes[FRAGMENTS_PACKETS]; /* NULL: none */
	size_t next;                             /* the one to be given up next */
	size_t n_taken, n_used;
	struct whole *last; /* the one that was given out */
};

struct fragments *fragments_new(void)
{
	return calloc(1, sizeof(struct fragments));
}

void fragments_free(struct fragments *fragments)
{
	if (!fragments)
		return;
	for (size_t i = 0; i < FRAGMENTS_PACKETS; i++)
		free(fragments->wholes[i]);
	free(fragments->last);
	free(fragments);
}

static bool is_of(const struct whole *whole, const struct packet *packet)
{
	return whole && whole->id == packet->fragment.id && whole->protocol == packet->fragment.protocol &&
		memcmp(whole->from, packet->from.address, 16) == 0 && memcmp(whole->to, packet->to.address, 16) == 0;
}

/* Where the packet is or will be put together; NULL: no memory. */
static struct whole **whole_find(struct fragments *fragments, const struct packet *packet, uint64_t time_us)
{
	struct whole **place = &fragments->wholes[fragments->next];

	for (size_t i = 0; i < FRAGMENTS_PACKETS; i++) {
		if (!is_of(fragments->wholes[i], packet))
			continue;
		if (time_us < fragments->wholes[i]->begun_us + FRAGMENTS_TIMEOUT_US)
			return &fragments->wholes[i];
		place = &fragments->wholes[i];
		break;
	}
	if (place == &fragments->wholes[fragments->next])
		fragments->next = (fragments->next + 1) % FRAGMENTS_PACKETS;
	free(*place);
	*place = calloc(1, sizeof(struct whole));
	if (!*place)
		return NULL;
	memcpy((*place)->from, packet->from.address, 16);
	memcpy((*place)->to, packet->to.address, 16);
	(*place)->id = packet->fragment.id;
	(*place)->protocol = packet->fragment.protocol;
	(*place)->begun_us = time_us;
	return place;
}

static bool is_usable(const struct whole *whole, const struct packet *packet)
{
	size_t end = packet->fragment.offset + packet->len;

	if (packet->captured < packet->len || end > WHOLE_MAX || packet->len == 0)
		return false;
	if (packet->fragment.more && packet->len % UNIT != 0)
		return false;
	return whole->total == 0 || (end <= whole->total && (packet->fragment.more || end == whole->total));
}

static void bytes_take(struct whole *whole, const struct packet *packet)
{
	size_t first = packet->fragment.offset / UNIT, n = (packet->len + UNIT - 1) / UNIT;

	for (size_t i = 0; i < n; i++) {
		uint8_t *have = &whole->have[(first + i) / 8], bit = (uint8_t)(1 << (first + i) % 8);
		size_t left = packet->len - i * UNIT;
		if (*have & bit)
			continue;
		memcpy(whole->bytes + (first + i) * UNIT, packet->payload + i * UNIT, left < UNIT ? left : UNIT);
		*have |= bit;
	}
	if (!packet->fragment.more)
		whole->total = packet->fragment.offset + packet->len;
}

/* Units behind an end that was told late are not asked for. */
static bool all_is_there(const struct whole *whole)
{
	for (size_t i = 0; i < (whole->total + UNIT - 1) / UNIT; i++)
		if (!(whole->have[i / 8] >> i % 8 & 1))
			return false;
	return whole->total > 0;
}

enum packet_kind fragments_take(struct fragments *fragments, struct packet *packet, uint64_t time_us)
{
	struct whole **place = whole_find(fragments, packet, time_us);

	fragments->n_taken++;
	if (!place || !is_usable(*place, packet))
		return PACKET_FRAGMENT;
	struct whole *whole = *place;
	bytes_take(whole, packet);
	whole->n_fragments++;
	if (!all_is_there(whole))
		return PACKET_FRAGMENT;
	fragments->n_used += whole->n_fragments;
	free(fragments->last);
	fragments->last = whole;
	*place = NULL;
	return packet_parse_whole(packet, whole->protocol, whole->bytes, whole->total);
}

size_t fragments_left(const struct fragments *fragments)
{
	return fragments->n_taken - fragments->n_used;
}
