/* MQTT by its CONNECT packet: 3.1 (2010), 3.1.1 (OASIS 2014) section 3.1, 5.0 (OASIS 2019) section 3.1.
 *
 *     10 | remaining | 00 04 M Q T T  04 | flags | KK KK | [properties] | client id | [will] | [user] | [password]
 *          length,     00 06 M Q I s d p  ~~ 03, 04, 05; a bridge's 83, 84
 *          1..4 bytes                          ^ YES
 *
 * YES with the flags, whose reserved bit is zero, whose will QoS exists, without will if there is no will; the remaining
 * length must hold what the flags promise. `version` is 3.1, 3.1.1 or 5. `user` lies behind the client id and the will,
 * which are passed by their lengths; a user name that is not printable is left out.
 *
 * Refuses: protocol levels that do not exist, a second packet first. MQTT-SN is another protocol. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

#include <string.h>

enum {
	PACKET_LEN_MIN = 6 + 1 + 1 + 2 + 2, /* name, level, flags, keep-alive time, an empty client id */
	LEVEL_3_1 = 3,
	LEVEL_3_1_1 = 4,
	LEVEL_5 = 5,
	LEVEL_BRIDGE = 0x80, /* of mosquitto and others: the client is a broker itself */
	FLAG_RESERVED = 0x01,
	FLAG_WILL = 0x04,
	FLAG_WILL_REST = 0x38, /* QoS and retain */
	FLAG_WILL_QOS = 0x18,
	FLAG_USER = 0x80,
	FLAG_PASSWORD = 0x40,
};

/* The packet from behind its remaining length, as far as it has come. */
struct packet {
	const uint8_t *bytes;
	size_t len;   /* at most `total` */
	size_t total; /* the remaining length */
	size_t at;
};

/* A number of 7 bits a byte, low ones first. */
static enum verdict varint_read(const uint8_t *bytes, size_t len, size_t *ret, size_t *ret_len)
{
	size_t value = 0;

	for (size_t i = 0; i < 4; i++) {
		if (i == len)
			return VERDICT_MORE;
		value |= (size_t)(bytes[i] & 0x7f) << 7 * i;
		if (!(bytes[i] & 0x80)) {
			*ret = value;
			*ret_len = i + 1;
			return VERDICT_YES;
		}
	}
	return VERDICT_NO;
}

/* Over `len` bytes. YES: they are there. NO: the packet ends before. */
static enum verdict packet_skip(struct packet *packet, size_t len)
{
	if (len > packet->total - packet->at)
		return VERDICT_NO;
	if (len > packet->len - packet->at)
		return VERDICT_MORE;
	packet->at += len;
	return VERDICT_YES;
}

/* Over bytes behind their length in two bytes. */
static enum verdict string_skip(struct packet *packet, size_t *ret_len)
{
	enum verdict verdict = packet_skip(packet, 2);

	if (verdict != VERDICT_YES)
		return verdict;
	*ret_len = look_be16(packet->bytes + packet->at - 2);
	return packet_skip(packet, *ret_len);
}

static enum verdict properties_skip(struct packet *packet)
{
	size_t len, len_len;
	enum verdict verdict = varint_read(packet->bytes + packet->at, packet->len - packet->at, &len, &len_len);

	if (verdict == VERDICT_MORE && packet->len == packet->total)
		return VERDICT_NO;
	return verdict == VERDICT_YES ? packet_skip(packet, len_len + len) : verdict;
}

/* From the keep-alive time to the user name, which begins at packet->at - *ret_len if it is there. */
static enum verdict user_find(struct packet *packet, uint8_t flags, bool has_properties, size_t *ret_len)
{
	size_t len;

	if (!(flags & FLAG_USER))
		return VERDICT_NO;
	enum verdict verdict = packet_skip(packet, 2);
	if (verdict == VERDICT_YES && has_properties)
		verdict = properties_skip(packet);
	if (verdict == VERDICT_YES)
		verdict = string_skip(packet, &len);
	if (verdict == VERDICT_YES && flags & FLAG_WILL) {
		if (has_properties)
			verdict = properties_skip(packet);
		for (int i = 0; i < 2 && verdict == VERDICT_YES; i++)
			verdict = string_skip(packet, &len);
	}
	return verdict == VERDICT_YES ? string_skip(packet, ret_len) : verdict;
}

static void user_settle(struct findings *findings, struct packet *packet, uint8_t flags, bool has_properties)
{
	size_t len = 0;
	enum verdict verdict = user_find(packet, flags, has_properties, &len);

	if (verdict == VERDICT_YES)
		finding_settle_text(findings, ATTRIBUTE_USER, packet->bytes + packet->at - len, len);
	else if (verdict == VERDICT_NO)
		finding_settle(findings, ATTRIBUTE_USER, NULL, 0);
}

/* To behind the level. */
static enum verdict name_match(struct packet *packet, uint8_t *ret_level)
{
	bool is_old = packet->len > 1 && packet->bytes[1] == 6;
	size_t name_len = is_old ? 8 : 6;

	enum verdict verdict = is_old ? look_literal(packet->bytes, packet->len, "\0\6MQIsdp", 8)
				      : look_literal(packet->bytes, packet->len, "\0\4MQTT", 6);
	if (verdict != VERDICT_YES)
		return verdict;
	if (packet->len == name_len)
		return VERDICT_MORE;
	uint8_t level = packet->bytes[name_len];
	packet->at = name_len + 1;
	*ret_level = level & (uint8_t)~LEVEL_BRIDGE;
	if (is_old)
		return *ret_level == LEVEL_3_1 ? VERDICT_YES : VERDICT_NO;
	return *ret_level == LEVEL_3_1_1 || level == LEVEL_5 ? VERDICT_YES : VERDICT_NO;
}

/* Are the flags sound, and does the packet have room for what they promise? */
static bool flags_match(const struct packet *packet, uint8_t flags, uint8_t level)
{
	size_t room = 2 + 2; /* keep-alive time, client id */

	if (flags & FLAG_RESERVED || (flags & FLAG_WILL_QOS) == FLAG_WILL_QOS)
		return false;
	if (flags & FLAG_WILL_REST && !(flags & FLAG_WILL))
		return false;
	if (level != LEVEL_5 && flags & FLAG_PASSWORD && !(flags & FLAG_USER))
		return false;
	if (level == LEVEL_5)
		room += flags & FLAG_WILL ? 2 : 1;
	room += flags & FLAG_WILL ? 4 : 0;
	room += flags & FLAG_USER ? 2 : 0;
	room += flags & FLAG_PASSWORD ? 2 : 0;
	return packet->total - packet->at >= room;
}

enum verdict probe_mqtt(const struct evidence *evidence, struct findings *findings)
{
	static const char *const versions[] = { [LEVEL_3_1] = "3.1", [LEVEL_3_1_1] = "3.1.1", [LEVEL_5] = "5" };
	size_t len = evidence_len(evidence), total_len;
	const uint8_t *bytes = evidence->bytes;
	struct packet packet = { 0 };
	uint8_t level;

	if (len == 0)
		return VERDICT_MORE;
	if (bytes[0] != 0x10)
		return VERDICT_NO;
	enum verdict verdict = varint_read(bytes + 1, len - 1, &packet.total, &total_len);
	if (verdict != VERDICT_YES)
		return verdict;
	if (packet.total < PACKET_LEN_MIN)
		return VERDICT_NO;
	packet.bytes = bytes + 1 + total_len;
	packet.len = len - 1 - total_len < packet.total ? len - 1 - total_len : packet.total;
	verdict = name_match(&packet, &level);
	if (verdict != VERDICT_YES)
		return verdict;
	if (packet.at == packet.len)
		return VERDICT_MORE;
	uint8_t flags = packet.bytes[packet.at++];
	if (!flags_match(&packet, flags, level))
		return VERDICT_NO;
	finding_settle(findings, ATTRIBUTE_VERSION, (const uint8_t *)versions[level], strlen(versions[level]));
	user_settle(findings, &packet, flags, level == LEVEL_5);
	return VERDICT_YES;
}
