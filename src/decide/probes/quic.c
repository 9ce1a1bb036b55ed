/* QUIC by the Initial packets that a client begins with: RFC 8999 (what all versions have in common), RFC 9000 (version 1),
 * RFC 9001 5 (their protection), RFC 9369 (version 2), and what the ClientHello in them says.
 *
 *     datagram | packet | packet ... |           at least 1200 bytes, if an Initial packet is in it
 *
 *     packet   | 1Ttt nnnn | version[4] | n destination id[n] | n source id[n] | LL token[LL] | LL | number, payload[LL] |
 *                  00 Initial   01 in version 2                               only Initial
 *                  01 0-RTT     10 in version 2
 *
 *     payload  | PADDING | PING | ACK | CRYPTO offset, length, data | ...     in any order, any number of each
 *
 * The keys follow from the destination id of the first Initial packet and serve for all others of the flow, also when the client
 * has changed to an id of the server's. Whether the QUIC bit (T) is set is not looked at in packets that authenticate
 * (RFC 9287).
 *
 * YES: the first Initial packet authenticates. Its attributes are settled as far as the hello has come, in however many packets and
 * datagrams, frames in whatever order; of bytes that were sent twice the first count. A frame that has no place there, a close or
 * what is no ClientHello ends the reading: what is not known then is absent.
 * YES too, without `sni' and `alpn': a long header of a version that is reserved to force a negotiation (RFC 9000 15), or that is not
 * known but has packets of the same form, in a datagram that a server would answer with Version Negotiation. Without the form, one of
 * 1,000 random datagrams would match.
 * NO: the first Initial packet does not authenticate. It was damaged, or belongs to a connection that began elsewhere, or is
 * none; a server would drop it.
 * MORE: a packet of 0-RTT has overtaken the Initial packet. Nothing can be said of its contents.
 *
 * Refuses packets with the short header and of the handshake: they belong to a connection that began before this flow did, and
 * their protection is unknown; so whether they are QUIC is the flow table's to know. Refuses Google's QUIC before Q050, which has
 * headers of its own. Of a datagram PACKETS_MAX packets are looked at, of a handshake PIECES_LEN_MAX bytes. Owns no memory; the
 * hello is put together in the scratch. */
#include "hello.h"
#include "look.h"
#include "pieces.h"
#include "probe.h"
#include "quic_keys.h"

#include <stdio.h>
#include <string.h>

enum {
	DATAGRAM_LEN_MIN = 1200, /* with an Initial packet, RFC 9000 14.1; to be negotiated, 6 */
	LONG_HEADER = 0x80,
	QUIC_BIT = 0x40,
	TYPE = 0x30,
	TYPE_STEP_2 = 0x10, /* by which the types of version 2 are shifted */
	TYPE_INITIAL = 0x00,
	TYPE_0_RTT = 0x10,
	FIRST_ID_MIN = 8, /* RFC 9000 7.2 */
	ID_MAX = 20,
	NUMBERED_LEN_MIN = 4 + QUIC_TAG_LEN, /* the sample of the header's protection needs so many, RFC 9001 5.4.2 */
	PACKETS_MAX = 8,
	PACKET_LEN_MAX = 9216, /* the largest frame of Ethernet */
	MESSAGE_HEADER_LEN = 4,
	MESSAGE_CLIENT_HELLO = 1,
};

enum frame { PADDING = 0, PING = 1, ACK = 2, ACK_ECN = 3, CRYPTO = 6, CONNECTION_CLOSE = 0x1c };

/* What the flow's datagrams have brought so far. */
struct reading {
	const struct quic_version *version; /* of the first packet, and of all that count */
	struct quic_keys keys;
	bool has_keys, is_quic, is_0_rtt;
	bool is_over; /* nothing more can be learned */
	struct pieces crypto;
};

/* A packet with a long header. */
struct packet {
	const uint8_t *bytes;
	const uint8_t *id; /* of the destination */
	size_t id_len;
	uint32_t version;
	uint8_t type;     /* as in version 1 */
	size_t number_at; /* of the packet number; what is protected begins here */
	size_t len;
};

/* ---- Bytes ---------------------------------------------------------------------------- */

struct cursor {
	const uint8_t *at;
	size_t left;
};

/* A number whose first two bits say how many bytes it has, RFC 9000 16; false: it is not there. */
static bool number_read(struct cursor *cursor, uint64_t *ret)
{
	if (cursor->left == 0)
		return false;
	size_t n = (size_t)1 << (cursor->at[0] >> 6);
	if (n > cursor->left)
		return false;
	*ret = cursor->at[0] & 0x3f;
	for (size_t i = 1; i < n; i++)
		*ret = *ret << 8 | cursor->at[i];
	cursor->at += n;
	cursor->left -= n;
	return true;
}

static bool bytes_skip(struct cursor *cursor, uint64_t n)
{
	if (n > cursor->left)
		return false;
	cursor->at += n;
	cursor->left -= (size_t)n;
	return true;
}

/* A connection id behind its length. */
static bool id_read(struct cursor *cursor, const uint8_t **ret, size_t *ret_len)
{
	if (cursor->left == 0 || cursor->at[0] > ID_MAX)
		return false;
	*ret_len = cursor->at[0];
	*ret = cursor->at + 1;
	return bytes_skip(cursor, 1 + *ret_len);
}

/* ---- Frames --------------------------------------------------------------------------- */

/* RFC 9000 19.3 */
static bool ack_skip(struct cursor *cursor, uint8_t type)
{
	uint64_t largest, delay, ranges, number;

	if (!number_read(cursor, &largest) || !number_read(cursor, &delay) || !number_read(cursor, &ranges) ||
		!number_read(cursor, &number) || ranges > cursor->left)
		return false;
	for (uint64_t left = 2 * ranges + (type == ACK_ECN ? 3 : 0); left > 0; left--)
		if (!number_read(cursor, &number))
			return false;
	return true;
}

/* Those that an Initial packet may have, RFC 9000 17.2.2. False: a server closes the connection at this payload, or it is closed. */
static bool frames_take(struct reading *reading, const uint8_t *payload, size_t len)
{
	struct cursor cursor = { payload, len };
	uint64_t offset, n;

	while (cursor.left > 0) {
		uint8_t type = cursor.at[0];
		bytes_skip(&cursor, 1);
		switch (type) {
		case PADDING:
		case PING:
			break;
		case ACK:
		case ACK_ECN:
			if (!ack_skip(&cursor, type))
				return false;
			break;
		case CRYPTO:
			if (!number_read(&cursor, &offset) || !number_read(&cursor, &n) || n > cursor.left)
				return false;
			pieces_put(&reading->crypto, offset, cursor.at, n);
			bytes_skip(&cursor, n);
			break;
		case CONNECTION_CLOSE:
		default:
			return false;
		}
	}
	return true;
}

/* ---- Packets -------------------------------------------------------------------------- */

/* What all versions have in common, RFC 8999 5.1, as long as ids are no longer than in those that are known. */
static bool header_read(struct cursor *cursor, struct packet *ret)
{
	*ret = (struct packet){ .bytes = cursor->at };
	if (cursor->left < 5 || !(cursor->at[0] & LONG_HEADER))
		return false;
	const uint8_t *source_id;
	size_t source_id_len;
	ret->version = look_be32(cursor->at + 1);
	bytes_skip(cursor, 5);
	return id_read(cursor, &ret->id, &ret->id_len) && id_read(cursor, &source_id, &source_id_len);
}

/* The rest, in a version that is known; the cursor ends up behind the packet. */
static bool packet_read(struct cursor *cursor, const struct quic_version *version, struct packet *packet)
{
	uint64_t len;

	packet->type = (packet->bytes[0] - (version->is_2 ? TYPE_STEP_2 : 0)) & TYPE;
	/* a token */
	if (packet->type == TYPE_INITIAL && (!number_read(cursor, &len) || !bytes_skip(cursor, len)))
		return false;
	if (!number_read(cursor, &len) || len < NUMBERED_LEN_MIN)
		return false;
	packet->number_at = (size_t)(cursor->at - packet->bytes);
	packet->len = packet->number_at + (size_t)len;
	return bytes_skip(cursor, len);
}

/* False: it is the flow's first one, and does not authenticate. */
static bool initial_take(struct reading *reading, const struct packet *packet)
{
	uint8_t payload[PACKET_LEN_MAX];
	size_t len;

	if (!reading->has_keys && packet->id_len >= FIRST_ID_MIN)
		reading->has_keys = quic_keys_derive(&reading->keys, reading->version, packet->id, packet->id_len);
	if (!reading->has_keys || packet->len > PACKET_LEN_MAX ||
		!quic_open(&reading->keys, packet->bytes, packet->number_at, packet->len, payload, &len))
		return reading->is_quic;
	reading->is_quic = true;
	if (!reading->is_over && !frames_take(reading, payload, len))
		reading->is_over = true;
	return true;
}

/* False: NO. */
static bool datagram_take(struct reading *reading, const uint8_t *bytes, size_t len)
{
	struct cursor cursor = { bytes, len };
	struct packet packet;

	for (int i = 0; i < PACKETS_MAX && cursor.left > 0; i++) {
		if (!header_read(&cursor, &packet) || packet.version != reading->version->number ||
			!packet_read(&cursor, reading->version, &packet))
			break;
		if (packet.type == TYPE_0_RTT && packet.id_len >= FIRST_ID_MIN && packet.bytes[0] & QUIC_BIT)
			reading->is_0_rtt = true;
		if (packet.type == TYPE_INITIAL && len >= DATAGRAM_LEN_MIN && !initial_take(reading, &packet))
			return false;
	}
	return reading->is_quic || reading->is_0_rtt;
}

/* ---- The probe ------------------------------------------------------------------------ */

/* As an Initial packet of version 1, with more packets of the version or zeros behind it, or nothing. The cursor is behind the ids. */
static bool has_known_form(struct cursor *cursor, const struct packet *packet)
{
	uint64_t len;

	if (!(packet->bytes[0] & QUIC_BIT) || !number_read(cursor, &len) || !bytes_skip(cursor, len) ||
		!number_read(cursor, &len) || len < NUMBERED_LEN_MIN || !bytes_skip(cursor, len))
		return false;
	return cursor->left == 0 || cursor->at[0] == 0 ||
		(cursor->left > 5 && cursor->at[0] & LONG_HEADER && look_be32(cursor->at + 1) == packet->version);
}

static enum verdict unknown_version_match(
	struct cursor *cursor, const struct packet *packet, size_t len, struct findings *findings)
{
	char text[12];
	bool is_reserved = (packet->version & 0x0f0f0f0f) == 0x0a0a0a0a;

	if (packet->version == 0 || len < DATAGRAM_LEN_MIN || packet->id_len < FIRST_ID_MIN ||
		!(is_reserved || has_known_form(cursor, packet)))
		return VERDICT_NO;
	int n = snprintf(text, sizeof(text), "%08x", packet->version);
	finding_settle(findings, ATTRIBUTE_VERSION, (const uint8_t *)text, (size_t)n);
	findings->settled |= HELLO_ATTRIBUTES;
	return VERDICT_YES;
}

static void hello_learn(struct findings *findings, const struct reading *reading)
{
	const struct quic_version *version = reading->version;
	const uint8_t *crypto = reading->crypto.bytes;
	size_t len = pieces_len(&reading->crypto);
	enum verdict verdict = len == 0 || crypto[0] == MESSAGE_CLIENT_HELLO ? VERDICT_MORE : VERDICT_NO;

	finding_settle(findings, ATTRIBUTE_VERSION, (const uint8_t *)version->text, strlen(version->text));
	if (verdict == VERDICT_MORE && len >= MESSAGE_HEADER_LEN) {
		struct hello hello = { .transport = 'q',
			.bytes = crypto + MESSAGE_HEADER_LEN,
			.len = len - MESSAGE_HEADER_LEN,
			.total = look_be24(crypto + 1) };
		if (hello.len > hello.total)
			hello.len = hello.total;
		verdict = hello.total > PIECES_LEN_MAX - MESSAGE_HEADER_LEN ? VERDICT_NO : hello_match(&hello);
		if (verdict == VERDICT_YES)
			hello_read(findings, &hello);
	}
	if (verdict == VERDICT_NO || reading->is_over)
		findings->settled |= HELLO_ATTRIBUTES;
}

enum verdict probe_quic_datagram(const struct evidence *evidence, struct findings *findings)
{
	struct cursor first = { evidence->bytes, evidence->ends[0] };
	struct reading reading = { 0 };
	struct packet packet;

	if (!header_read(&first, &packet))
		return VERDICT_NO;
	reading.version = quic_version_find(packet.version);
	if (!reading.version)
		return unknown_version_match(&first, &packet, evidence->ends[0], findings);
	reading.crypto.bytes = findings_take(findings, PIECES_LEN_MAX);
	if (!reading.crypto.bytes)
		return VERDICT_NO;
	for (size_t i = 0, at = 0; i < evidence->n_datagrams && !reading.is_over; at = evidence->ends[i++])
		if (!datagram_take(&reading, evidence->bytes + at, evidence->ends[i] - at))
			return VERDICT_NO;
	if (!reading.is_quic)
		return VERDICT_MORE;
	hello_learn(findings, &reading);
	return VERDICT_YES;
}
