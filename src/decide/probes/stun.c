/* STUN and TURN, RFC 8489 5 and RFC 8656, over TCP and in datagrams; the older RFC 3489 in datagrams.
 *
 *     00 mm mm mm ... | LL LL | 21 12 a4 42 | transaction id[12] | type LL LL value, filled up to 4 bytes | ...
 *     request or        length  magic       ^ YES
 *     indication        / 4
 *     FF FF | 00 mm mm mm ...                              over TCP also in a frame of RFC 4571, as ICE has it (RFC 6544)
 *     20 + length
 *
 *     cc cc | LL LL | data          in a datagram: of a channel that the client has bound, RFC 8656 12.4; numbers from 4000 to 7ffe,
 *     number  its length            as RFC 5766 11 has them and clients use them
 *
 * Over TCP YES with the magic cookie; in a datagram the length must be the datagram's, and need not be a multiple of 4
 * where the cookie is there: some applications do not fill the last attribute up. RFC 3489 has no cookie: there the
 * attributes must fill the length, and one of them must be known that only it has or begins with (CHANGE-REQUEST, or the
 * cookie that the first TURN had in place of one). A request of RFC 3489 without attributes cannot be told from noise.
 * Data of a channel are the first of a client whose address has changed; their length must be the datagram's, up to 3
 * zeros that fill it up, which of random bytes one in 2^18 has. Fingerprints are not computed: cookie and length say
 * enough.
 *
 * Refuses answers, methods that do not exist, and frames that hold more than the message or less. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

enum {
	HEADER_LEN = 20,
	LENGTH_MAX = 2048,
	FRAME_HEADER_LEN = 2,
	FRAME_LEN_MAX = 1023, /* larger ones begin as SOCKS does; a check of ICE has a tenth of it */
	METHOD_MAX = 0x00c,   /* ConnectionAttempt; all of RFC 8489, 8656 and 6062 lie below */
	CHANNEL_MIN = 0x4000,
	CHANNEL_MAX = 0x7ffe,
	CHANNEL_HEADER_LEN = 4,
	CHANNEL_DATA_MIN = 12, /* RTP is no shorter; what else begins so is */
	ATTRIBUTE_CHANGE_REQUEST = 0x0003,
	ATTRIBUTE_OLD_COOKIE = 0x000f,
};

#define COOKIE     0x2112a442U
#define OLD_COOKIE 0x72c64bc6U

/* `unit` divides the length. */
static enum verdict header_match(const uint8_t *bytes, size_t len, uint8_t unit)
{
	if (len > 0 && bytes[0] != 0)
		return VERDICT_NO; /* no class and no method of ours has a bit here */
	if (len > 1) {
		uint32_t type = bytes[1];
		uint32_t method = (type & 0x0f) | (type & 0xe0) >> 1;
		if (method == 0 || method > METHOD_MAX)
			return VERDICT_NO;
	}
	if ((len > 2 && bytes[2] > LENGTH_MAX >> 8) || (len > 3 && bytes[3] % unit != 0))
		return VERDICT_NO;
	return len < 4 ? VERDICT_MORE : VERDICT_YES;
}

static enum verdict stream_match(const uint8_t *bytes, size_t len)
{
	enum verdict verdict = header_match(bytes, len, 4);

	return verdict == VERDICT_YES ? look_literal(bytes + 4, len - 4, "\x21\x12\xa4\x42", 4) : verdict;
}

static enum verdict frame_match(const uint8_t *bytes, size_t len)
{
	if (len > 0 && bytes[0] > FRAME_LEN_MAX >> 8)
		return VERDICT_NO;
	if (len < FRAME_HEADER_LEN)
		return VERDICT_MORE;
	uint32_t frame_len = look_be16(bytes);
	bytes += FRAME_HEADER_LEN;
	len -= FRAME_HEADER_LEN;
	if (frame_len < HEADER_LEN)
		return VERDICT_NO;
	if (len >= 4 && look_be16(bytes + 2) != frame_len - HEADER_LEN)
		return VERDICT_NO;
	return stream_match(bytes, len);
}

enum verdict probe_stun(const struct evidence *evidence, struct findings *findings)
{
	size_t len = evidence_len(evidence);

	enum verdict verdict = stream_match(evidence->bytes, len);
	return verdict == VERDICT_NO ? frame_match(evidence->bytes, len) : verdict;
}

/* The attributes of a message without the cookie: do they prove what it is? */
static bool old_attributes_prove(const uint8_t *at, const uint8_t *end)
{
	bool is_proven = false;

	while (end - at >= 4) {
		uint32_t type = look_be16(at), len = look_be16(at + 2);
		if (type == 0 || len > (size_t)(end - at - 4))
			return false;
		if (type == ATTRIBUTE_CHANGE_REQUEST && len == 4 && (look_be32(at + 4) & ~6U) == 0)
			is_proven = true;
		if (type == ATTRIBUTE_OLD_COOKIE && len == 4 && look_be32(at + 4) == OLD_COOKIE)
			is_proven = true;
		at += 4 + ((len + 3) & ~3U);
	}
	return is_proven && at == end;
}

static bool channel_match(const uint8_t *bytes, size_t len)
{
	if (len < CHANNEL_HEADER_LEN + CHANNEL_DATA_MIN || look_be16(bytes) < CHANNEL_MIN ||
		look_be16(bytes) > CHANNEL_MAX)
		return false;
	size_t end = CHANNEL_HEADER_LEN + look_be16(bytes + 2);
	return end >= CHANNEL_HEADER_LEN + CHANNEL_DATA_MIN && end <= len && len - end < 4 &&
		(end == len || (len % 4 == 0 && look_is_zero(bytes + end, len - end)));
}

static bool message_match(const uint8_t *bytes, size_t len)
{
	if (len < HEADER_LEN || header_match(bytes, len, 1) != VERDICT_YES ||
		look_be16(bytes + 2) != len - HEADER_LEN)
		return false;
	return look_be32(bytes + 4) == COOKIE ||
		(header_match(bytes, len, 4) == VERDICT_YES && old_attributes_prove(bytes + HEADER_LEN, bytes + len));
}

enum verdict probe_stun_datagram(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence->len;

	return message_match(bytes, len) || channel_match(bytes, len) ? VERDICT_YES : VERDICT_NO;
}
