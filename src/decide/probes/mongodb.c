/* MongoDB by its first message, "MongoDB Wire Protocol": OP_MSG, and OP_QUERY of older clients and of every hello.
 *
 *     LL LL LL LL | id id id id | 00 00 00 00 | dd 07 00 00 | flags[4] | 00 | BSON: its length, elements, 00
 *     LL LL LL LL | id id id id | ff ff ff ff | d4 07 00 00 | flags[4] | admin.$cmd 00 | skip[4] | return[4] | BSON
 *     whole         little-endian  none yet     operation                 ^ YES: kind 0, or the name's end
 *
 * A message of 261 bytes begins as a SOCKS 5 client does that offers one method and waits: a service for SOCKS stands before
 * one for MongoDB.
 *
 * The flags must be ones that exist, the name one of a database and a collection. YES of OP_MSG with the length of its
 * document, which fits the message's. Refuses the operations that no client begins with, and compressed ones, which none
 * sends before they are agreed on. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

enum {
	HEADER_LEN = 16,
	MESSAGE_LEN_MIN = HEADER_LEN + 4 + 1 + 5, /* flags, kind, an empty document */
	MESSAGE_LEN_MAX = 1 << 20,                /* of a first one */
	NAME_LEN_MAX = 120,
	QUERY_FLAGS_BAD = 0x01, /* reserved; the low byte */
	MSG_FLAGS_BAD = 0xfc,   /* likewise; checksum and more to come are bits 0 and 1, exhaust is bit 16 */
};

/* "admin.$cmd": bytes[0 .. len) of `room`. */
static enum verdict name_match(const uint8_t *bytes, size_t len, size_t room)
{
	bool has_dot = false;
	size_t n = 0;

	for (; n < len && n < NAME_LEN_MAX && bytes[n] > ' ' && bytes[n] <= '~'; n++)
		has_dot = has_dot || (bytes[n] == '.' && n > 0);
	if (n == NAME_LEN_MAX || n >= room)
		return VERDICT_NO;
	if (n == len)
		return VERDICT_MORE;
	return bytes[n] == 0 && has_dot ? VERDICT_YES : VERDICT_NO;
}

static enum verdict msg_match(const uint8_t *bytes, size_t len, size_t total)
{
	static const uint8_t want[5] = { 0 };
	static const uint8_t mask[5] = { MSG_FLAGS_BAD, 0xff, 0xfe, 0xff, 0xff };

	enum verdict verdict = look_masked(bytes + HEADER_LEN, len - HEADER_LEN, want, mask, sizeof(want));
	if (verdict != VERDICT_YES)
		return verdict;
	if (len < HEADER_LEN + 9)
		return VERDICT_MORE;
	uint32_t document = look_le32(bytes + HEADER_LEN + 5);
	return document >= 5 && document <= total - HEADER_LEN - 5 ? VERDICT_YES : VERDICT_NO;
}

static enum verdict query_match(const uint8_t *bytes, size_t len, size_t total)
{
	static const uint8_t want[4] = { 0 };
	static const uint8_t mask[4] = { QUERY_FLAGS_BAD, 0xff, 0xff, 0xff };

	enum verdict verdict = look_masked(bytes + HEADER_LEN, len - HEADER_LEN, want, mask, sizeof(want));
	if (verdict != VERDICT_YES)
		return verdict;
	return name_match(bytes + HEADER_LEN + 4, len - HEADER_LEN - 4, total - HEADER_LEN - 4);
}

static enum verdict header_match(const uint8_t *bytes, size_t len)
{
	if ((len > 3 && bytes[3] != 0) || (len > 2 && bytes[2] > MESSAGE_LEN_MAX >> 16))
		return VERDICT_NO;
	if (len > 3 && (look_le32(bytes) < MESSAGE_LEN_MIN || look_le32(bytes) > MESSAGE_LEN_MAX))
		return VERDICT_NO;
	for (size_t i = 8; i < 12 && i < len; i++)
		if ((bytes[i] != 0 && bytes[i] != 0xff) || bytes[i] != bytes[8])
			return VERDICT_NO;
	if ((len > 12 && bytes[12] != 0xdd && bytes[12] != 0xd4) || (len > 13 && bytes[13] != 7))
		return VERDICT_NO;
	if ((len > 14 && bytes[14] != 0) || (len > 15 && bytes[15] != 0))
		return VERDICT_NO;
	return len < HEADER_LEN ? VERDICT_MORE : VERDICT_YES;
}

enum verdict probe_mongodb(const struct evidence *evidence, struct findings *findings)
{
	size_t len = evidence_len(evidence);
	const uint8_t *bytes = evidence->bytes;

	enum verdict verdict = header_match(bytes, len);
	if (verdict != VERDICT_YES)
		return verdict;
	size_t total = look_le32(bytes);
	return bytes[12] == 0xdd ? msg_match(bytes, len, total) : query_match(bytes, len, total);
}
