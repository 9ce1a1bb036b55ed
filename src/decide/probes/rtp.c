/* RTP and RTCP, in datagrams: RFC 3550 5.1, 5.3.1, 6.4 and A.2, payload types of RFC 3551 6, the ranges of RFC 7983 7.
 *
 *     10 p x cccc | m type | number[2] | time[4] | source[4] | extension | payload | padding
 *            0000                                              if x                  if p, its last byte counts it
 *     10 p ccccc | c8 | LL LL | source[4] | ... | the next one ...          RTCP: words behind the first, a report first
 *                  c9
 *
 * RTCP must be reports that fill the datagram. RTP has two fixed bits: demanded are no sources that contribute (a client
 * is no mixer), a payload type that is assigned or dynamic, a payload of a length that this type has where it has one, a
 * source with more than its last two bytes, and a header that is neither a DNS query's nor memcached's. Of random bytes
 * one datagram in 500 is taken, so the service belongs behind all others. Encrypted RTCP is refused, media over DTLS
 * begin with stun or dtls. Owns no memory. */
#include "look.h"
#include "probe.h"

enum {
	HEADER_LEN = 12,
	VERSION_MASK = 0xc0,
	VERSION_2 = 0x80,
	PADDED = 0x20,
	EXTENDED = 0x10,
	COUNT_MASK = 0x0f,
	TYPE_MASK = 0x7f,
	TYPE_DYNAMIC = 96,
	REPORT_COUNT_MASK = 0x1f,
	SENDER_REPORT = 200,
	RECEIVER_REPORT = 201,
	PACKET_TYPE_MAX = 213,
	REPORT_WORDS = 6,
};

/* What the payload of an assigned type is a multiple of; 0: there is no such type. */
static size_t payload_unit(unsigned type)
{
	static const uint8_t units[] = { [0] = 40,
		[3] = 33,
		[4] = 4,
		[5] = 4,
		[6] = 4,
		[7] = 7,
		[8] = 40,
		[9] = 40,
		[10] = 4,
		[11] = 2,
		[12] = 1,
		[13] = 1,
		[14] = 1,
		[15] = 5,
		[16] = 1,
		[17] = 1,
		[18] = 2,
		[25] = 1,
		[26] = 1,
		[28] = 1,
		[31] = 1,
		[32] = 1,
		[33] = 188,
		[34] = 1 };

	if (type >= TYPE_DYNAMIC)
		return 1;
	return type < sizeof(units) ? units[type] : 0;
}

static bool media_match(const uint8_t *bytes, size_t len)
{
	size_t at = HEADER_LEN;

	if (len <= HEADER_LEN || bytes[0] & COUNT_MASK || look_be16(bytes + 8) == 0 || look_is_dns_header(bytes) ||
		look_is_memcached_frame(bytes))
		return false;
	if (bytes[0] & EXTENDED) {
		if (len < at + 4)
			return false;
		at += 4 + 4 * look_be16(bytes + at + 2);
	}
	size_t padding = bytes[0] & PADDED ? bytes[len - 1] : 0, unit = payload_unit(bytes[1] & TYPE_MASK);
	if (at + padding >= len || (bytes[0] & PADDED && padding == 0))
		return false;
	return unit > 0 && (len - at - padding) % unit == 0;
}

/* The reports that come first, and what follows each. */
static bool control_match(const uint8_t *bytes, size_t len)
{
	size_t words = bytes[1] == SENDER_REPORT ? REPORT_WORDS : 1;

	if (bytes[1] != SENDER_REPORT && bytes[1] != RECEIVER_REPORT)
		return false;
	if (look_be16(bytes + 2) < words + REPORT_WORDS * (bytes[0] & REPORT_COUNT_MASK))
		return false;
	for (size_t at = 0, packet_len; at < len; at += packet_len) {
		if (len - at < 4 || (bytes[at] & VERSION_MASK) != VERSION_2 || bytes[at + 1] < SENDER_REPORT ||
			bytes[at + 1] > PACKET_TYPE_MAX)
			return false;
		packet_len = 4 + 4 * (size_t)look_be16(bytes + at + 2);
		if (packet_len > len - at)
			return false;
	}
	return true;
}

enum verdict probe_rtp_datagram(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;

	if (evidence->len < 8 || (bytes[0] & VERSION_MASK) != VERSION_2)
		return VERDICT_NO;
	return control_match(bytes, evidence->len) || media_match(bytes, evidence->len) ? VERDICT_YES : VERDICT_NO;
}
