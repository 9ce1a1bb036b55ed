/* Puts a client's first bytes together, whatever the order, the overlaps and the repetitions of its packets: of two packets that
 * disagree about a byte the one that came first is believed. A place is a distance from the client's first byte, modulo 2^32:
 *
 *     base                      EVIDENCE_MAX
 *     |#########|      |####|        ranges that are there; the first one is the evidence if it begins at 0
 *
 * Refuses to keep more than EVIDENCE_MAX bytes of a flow, more than FLOW_RANGES pieces of it, and more flows and bytes than it was
 * given; and to take an empty packet for the beginning of anything. Owns flows and their bytes. */
#include "flows.h"

#include "hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SLOTS_MIN 1024 /* a power of two */

struct range {
	uint16_t begin, end; /* EVIDENCE_MAX fits */
};

struct track {
	struct flow flow;
	struct track *next; /* in its slot */
	uint64_t hash;
	uint64_t seen_us;
	uint32_t base;             /* sequence number of the client's first byte */
	bool has_fin, ended_first; /* before it was answered */
	uint32_t fin_at;           /* as a place */
	uint8_t *bytes;
	size_t room;
	bool is_full;      /* UDP: no further datagram is kept */
	size_t sent_until; /* the end of the last byte that the client is known to have sent, at most EVIDENCE_MAX */
	uint8_t n_ranges;
	struct range ranges[FLOW_RANGES];
};

struct flows {
	struct track **tracks;
	size_t n_tracks, max_tracks;
	size_t n_bytes, max_bytes;
	struct track **slots;
	size_t n_slots;
	uint64_t seed[2];
};

struct flows *flows_new(size_t max_flows, size_t max_bytes)
{
	struct flows *flows = calloc(1, sizeof(*flows));

	if (!flows)
		return NULL;
	*flows = (struct flows){ .max_tracks = max_flows, .max_bytes = max_bytes, .n_slots = SLOTS_MIN };
	flows->slots = calloc(flows->n_slots, sizeof(*flows->slots));
	/* Whoever made the capture shall not choose who shares a slot. */
	if (!flows->slots || getrandom(flows->seed, sizeof(flows->seed), 0) != sizeof(flows->seed)) {
		flows_free(flows);
		return NULL;
	}
	return flows;
}

void flows_free(struct flows *flows)
{
	if (!flows)
		return;
	for (size_t i = 0; i < flows->n_tracks; i++) {
		free(flows->tracks[i]->bytes);
		free(flows->tracks[i]);
	}
	free(flows->tracks);
	free(flows->slots);
	free(flows);
}

/* ---- finding ---- */

static uint64_t end_hash(const struct flows *flows, const struct packet_end *end)
{
	uint64_t words[3] = { 0 };

	memcpy(words, end->address, sizeof(end->address));
	memcpy(&words[2], end->port, sizeof(end->port));
	return hash_mix(hash_mix(words[0] ^ flows->seed[0], words[1] ^ flows->seed[1]) ^ flows->seed[0],
		words[2] ^ flows->seed[1]);
}

/* The same in both directions. */
static uint64_t packet_hash(const struct flows *flows, const struct packet *packet)
{
	return end_hash(flows, &packet->from) + end_hash(flows, &packet->to) + packet->is_udp;
}

static bool end_equal(const struct packet_end *a, const struct packet_end *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static bool track_fits(const struct track *track, const struct packet *packet)
{
	const struct flow *flow = &track->flow;

	return flow->is_udp == packet->is_udp &&
		((end_equal(&flow->client, &packet->from) && end_equal(&flow->server, &packet->to)) ||
			(end_equal(&flow->client, &packet->to) && end_equal(&flow->server, &packet->from)));
}

/* The last flow between these ends, or NULL. A newer one stands before it in its slot. */
static struct track *track_find(const struct flows *flows, const struct packet *packet)
{
	uint64_t hash = packet_hash(flows, packet);
	struct track *track = flows->slots[hash & (flows->n_slots - 1)];

	while (track && !(track->hash == hash && track_fits(track, packet)))
		track = track->next;
	return track;
}

static void slot_put(struct track **slots, size_t n_slots, struct track *track)
{
	struct track **slot = &slots[track->hash & (n_slots - 1)];

	track->next = *slot;
	*slot = track;
}

/* In the order in which they began, so that the newest comes first again. */
static int slots_grow(struct flows *flows)
{
	size_t n_slots = flows->n_slots * 2;
	struct track **slots = calloc(n_slots, sizeof(*slots));
	struct track **tracks = reallocarray(flows->tracks, n_slots, sizeof(*tracks));

	if (tracks)
		flows->tracks = tracks;
	if (!slots || !tracks) {
		free(slots);
		return -ENOMEM;
	}
	for (size_t i = 0; i < flows->n_tracks; i++)
		slot_put(slots, n_slots, flows->tracks[i]);
	free(flows->slots);
	flows->slots = slots;
	flows->n_slots = n_slots;
	return 0;
}

static int track_new(struct track **ret, struct flows *flows, const struct packet *packet, bool from_client)
{
	if (flows->n_tracks == flows->max_tracks)
		return -E2BIG;
	int r = !flows->tracks || flows->n_tracks == flows->n_slots ? slots_grow(flows) : 0;
	if (r < 0)
		return r;
	struct track *track = calloc(1, sizeof(*track));
	if (!track)
		return -ENOMEM;
	track->hash = packet_hash(flows, packet);
	track->flow.is_udp = packet->is_udp;
	track->flow.client = from_client ? packet->from : packet->to;
	track->flow.server = from_client ? packet->to : packet->from;
	slot_put(flows->slots, flows->n_slots, track);
	flows->tracks[flows->n_tracks++] = track;
	*ret = track;
	return 0;
}

/* ---- bytes ---- */

static size_t evidence_end(const struct track *track)
{
	return track->n_ranges > 0 && track->ranges[0].begin == 0 ? track->ranges[0].end : 0;
}

static int room_make(struct flows *flows, struct track *track, size_t end)
{
	size_t room = track->room ? track->room : 256;

	if (end <= track->room)
		return 0;
	while (room < end)
		room *= 2;
	if (room - track->room > flows->max_bytes - flows->n_bytes)
		return -E2BIG;
	uint8_t *bytes = realloc(track->bytes, room);
	if (!bytes)
		return -ENOMEM;
	flows->n_bytes += room - track->room;
	track->bytes = bytes;
	track->room = room;
	return 0;
}

/* Takes the new range in among the others. False: there would be too many. */
static bool range_merge(struct track *track, struct range new)
{
	struct range merged[FLOW_RANGES + 1];
	size_t n = 0;
	bool placed = false;

	for (size_t i = 0; i < track->n_ranges; i++) {
		struct range old = track->ranges[i];
		if (old.end < new.begin) {
			merged[n++] = old;
		} else if (old.begin > new.end) {
			if (!placed)
				merged[n++] = new;
			placed = true;
			merged[n++] = old;
		} else {
			new.begin = old.begin < new.begin ? old.begin : new.begin;
			new.end = old.end > new.end ? old.end : new.end;
		}
	}
	if (!placed)
		merged[n++] = new;
	if (n > FLOW_RANGES)
		return false;
	memcpy(track->ranges, merged, n * sizeof(merged[0]));
	track->n_ranges = (uint8_t)n;
	return true;
}

/* Bytes of the client's at a place; what is there already stays. */
static int bytes_put(struct flows *flows, struct track *track, size_t at, const uint8_t *bytes, size_t len)
{
	struct range old[FLOW_RANGES];
	size_t n_old = track->n_ranges, end = at + len, done = at;

	if (len == 0)
		return 0;
	int r = room_make(flows, track, end);
	if (r < 0)
		return r;
	memcpy(old, track->ranges, n_old * sizeof(old[0]));
	if (!range_merge(track, (struct range){ (uint16_t)at, (uint16_t)end }))
		return 0;
	for (size_t i = 0; i < n_old && done < end; i++) {
		size_t until = old[i].begin < end ? old[i].begin : end;
		if (until > done)
			memcpy(track->bytes + done, bytes + (done - at), until - done);
		if (old[i].end > done)
			done = old[i].end;
	}
	if (done < end)
		memcpy(track->bytes + done, bytes + (done - at), end - done);
	return 0;
}

/* ---- TCP ---- */

static int client_take(struct flows *flows, struct track *track, const struct packet *packet)
{
	uint32_t first = packet->sequence + ((packet->flags & TCP_SYN) != 0); /* SYN takes a number itself */
	int64_t at = (int32_t)(first - track->base);
	const uint8_t *bytes = packet->payload;
	size_t len = packet->len, captured = packet->captured;

	if (packet->flags & TCP_FIN && at >= 0) {
		track->has_fin = true;
		track->fin_at = (uint32_t)at + (uint32_t)len;
		track->ended_first |= !track->flow.was_answered;
	}
	if (packet->flags & TCP_RST && at >= 0)
		track->flow.was_reset |= !track->flow.was_answered;
	if (at >= EVIDENCE_MAX || at + (int64_t)len <= 0 || packet->flags & TCP_RST)
		return 0; /* a reset's payload is a reason in words, RFC 9293 3.5.2 */
	if (at < 0) {
		size_t before = (size_t)-at;
		bytes += before < captured ? before : captured;
		captured -= before < captured ? before : captured;
		len -= before;
		at = 0;
	}
	if (len > EVIDENCE_MAX - (size_t)at)
		len = EVIDENCE_MAX - (size_t)at;
	if ((size_t)at + len > track->sent_until)
		track->sent_until = (size_t)at + len;
	return bytes_put(flows, track, (size_t)at, bytes, captured < len ? captured : len);
}

static void server_take(struct track *track, const struct packet *packet)
{
	if (packet->len == 0 || packet->flags & TCP_RST || track->flow.was_answered)
		return;
	track->flow.was_answered = true;
	track->flow.answered = evidence_end(track);
}

/* Does the packet begin another connection between the same ends? */
static bool is_new_connection(const struct track *track, const struct packet *packet)
{
	bool from_client = end_equal(&track->flow.client, &packet->from);

	if (!(packet->flags & TCP_SYN))
		return false;
	if (!(packet->flags & TCP_ACK))
		return !from_client || packet->sequence + 1 != track->base;
	/* The answer acknowledges the beginning, and perhaps bytes that came with it (RFC 7413). */
	return from_client || packet->acknowledged - track->base > EVIDENCE_MAX;
}

/* A first packet, of whichever side, that tells where the client's bytes begin. */
static int tcp_begin(struct flows *flows, const struct packet *packet, struct track **ret)
{
	bool is_answer = packet->flags & TCP_SYN && packet->flags & TCP_ACK;

	*ret = NULL;
	if (packet->flags & TCP_RST || (!(packet->flags & TCP_SYN) && packet->len == 0))
		return 0;
	int r = track_new(ret, flows, packet, !is_answer);
	if (r < 0)
		return r;
	(*ret)->flow.is_midstream = !(packet->flags & TCP_SYN);
	(*ret)->base = is_answer ? packet->acknowledged : packet->sequence + ((packet->flags & TCP_SYN) != 0);
	return 0;
}

static int tcp_take(struct flows *flows, struct track *track, const struct packet *packet)
{
	if (!track || is_new_connection(track, packet)) {
		int r = tcp_begin(flows, packet, &track);
		if (r < 0 || !track)
			return r;
	}
	if (end_equal(&track->flow.client, &packet->from))
		return client_take(flows, track, packet);
	server_take(track, packet);
	return 0;
}

/* ---- UDP ---- */

static int udp_take(struct flows *flows, struct track *track, const struct packet *packet, uint64_t time_us)
{
	if (!track || (time_us > track->seen_us && time_us - track->seen_us > FLOWS_UDP_IDLE_US)) {
		int r = track_new(&track, flows, packet, true);
		if (r < 0)
			return r;
	}
	struct flow *flow = &track->flow;
	size_t at = track->sent_until, len = packet->len;
	track->seen_us = time_us;
	if (!end_equal(&flow->client, &packet->from) || len == 0 || track->is_full)
		return 0;
	if (at == 0 && len > EVIDENCE_MAX)
		len = EVIDENCE_MAX;
	if (len > EVIDENCE_MAX - at) {
		track->is_full = true;
		return 0;
	}
	size_t captured = packet->captured < len ? packet->captured : len;
	int r = bytes_put(flows, track, at, packet->payload, captured);
	if (r < 0)
		return r;
	track->sent_until = at + len;
	if (captured > 0)
		flow->ends[flow->n_datagrams++] = (uint16_t)(at + captured);
	track->is_full = captured < len || flow->n_datagrams == EVIDENCE_DATAGRAMS_MAX;
	return 0;
}

int flows_take(struct flows *flows, const struct packet *packet, uint64_t time_us)
{
	struct track *track = track_find(flows, packet);

	return packet->is_udp ? udp_take(flows, track, packet, time_us) : tcp_take(flows, track, packet);
}

size_t flows_count(const struct flows *flows)
{
	return flows->n_tracks;
}

void flows_get(const struct flows *flows, size_t number, struct flow *ret)
{
	const struct track *track = flows->tracks[number];

	*ret = track->flow;
	ret->bytes = track->bytes;
	ret->len = evidence_end(track);
	/* What the client sends behind its end, acknowledgements, has a number that counts the end itself. */
	ret->is_cut =
		ret->len < (track->has_fin && track->fin_at < track->sent_until ? track->fin_at : track->sent_until);
	ret->was_closed = track->ended_first && track->fin_at <= ret->len;
}
