/* RDP by the client's connection request, MS-RDPBCGR 2.2.1.1: a TPKT (RFC 1006 6) with an X.224 Connection Request.
 *
 *     03 00 LL LL | li e0 00 00 ss ss 00 | Cookie: mstshash=NAME\r\n | 01 ff 08 00 pp pp pp pp | 06 00 24 00 [32]
 *           whole   whole - 5              or a routing token, or      negotiation request       correlation info,
 *           length                         nothing                     or nothing                with flag 08
 *
 * YES with "Cookie: msts" (mstshash, or a routing token), with the requested protocols of a negotiation request, at the
 * end of another routing token that these follow, or, where there is neither (the oldest clients), with the class if the
 * source reference is zero. The parts must fill the lengths exactly; those agree. `cookie` is the value of mstshash.
 *
 * A preconnection PDU (MS-RDPEPS 2.2.1) may stand in front; Hyper-V's clients name their machine in it:
 *
 *     size[4] 00000000 01000000 id[4]                       little-endian, 16 bytes
 *     size[4] 00000000 02000000 id[4] cc cc text[cc * 2]    18 and the text, in UTF-16
 *
 * Other users of TPKT and X.224 (S7, MMS, X.400) name their TSAP in the request and so are refused; H.323 does not begin
 * with a Connection Request. One that sends the bare request cannot be told from an old RDP client. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

#include <string.h>

enum {
	HEADER_LEN = 11, /* TPKT and the fixed part of X.224 */
	LENGTH_MAX = 4 + 1 + 254,
	NEGOTIATION_LEN = 8,
	CORRELATION_LEN = 36,
	FLAG_CORRELATION = 0x08,
	PRECONNECTION_LEN = 16,
	PRECONNECTION_TEXT = 18,
	PRECONNECTION_MAX = 512,
};

#define MSTS     "Cookie: msts"
#define MSTSHASH "Cookie: mstshash="

/* The first HEADER_LEN bytes, each as soon as it is there. */
static enum verdict header_match(const uint8_t *bytes, size_t len, size_t *ret_total)
{
	static const uint8_t want[HEADER_LEN] = { 3, 0, 0, 0, 0, 0xe0, 0, 0, 0, 0, 0 };
	static const uint8_t mask[HEADER_LEN] = { 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0, 0, 0xff };

	enum verdict verdict = look_masked(bytes, len, want, mask, HEADER_LEN);
	if (verdict == VERDICT_NO || len < 4)
		return verdict;
	*ret_total = look_be16(bytes + 2);
	if (*ret_total < HEADER_LEN || *ret_total > LENGTH_MAX || (len > 4 && bytes[4] != *ret_total - 5))
		return VERDICT_NO;
	return verdict;
}

/* What follows a cookie or token: bytes[0 .. len) of `room`. */
static enum verdict negotiation_match(const uint8_t *bytes, size_t len, size_t room)
{
	static const uint8_t want[NEGOTIATION_LEN] = { 1, 0, 8, 0, 0, 0, 0, 0 };
	static const uint8_t mask[NEGOTIATION_LEN] = { 0xff, 0, 0xff, 0xff, 0, 0, 0xff, 0xff };

	if (room != NEGOTIATION_LEN && room != NEGOTIATION_LEN + CORRELATION_LEN)
		return VERDICT_NO;
	if (len > 1 && (bytes[1] & FLAG_CORRELATION ? NEGOTIATION_LEN + CORRELATION_LEN : NEGOTIATION_LEN) != room)
		return VERDICT_NO;
	return look_masked(bytes, len, want, mask, NEGOTIATION_LEN);
}

/* A routing token is a line of text; what it says is the balancer's business. */
static enum verdict token_match(const uint8_t *bytes, size_t len, size_t room)
{
	size_t n = 0;

	while (n < len && bytes[n] >= ' ' && bytes[n] <= '~')
		n++;
	if (n + 2 > room || (n == 0 && len > 0))
		return VERDICT_NO;
	enum verdict verdict = look_literal(bytes + n, len - n, "\r\n", 2);
	if (verdict != VERDICT_YES || n + 2 == room)
		return verdict;
	return negotiation_match(bytes + n + 2, len - n - 2, room - n - 2);
}

/* bytes[0 .. len) are of the variable part, `room` in all. */
static enum verdict variable_match(const uint8_t *bytes, size_t len, size_t room, bool is_bare_fine)
{
	if (room == 0)
		return is_bare_fine ? VERDICT_YES : VERDICT_NO;
	if (len == 0)
		return VERDICT_MORE;
	if (bytes[0] == 1)
		return negotiation_match(bytes, len, room);
	enum verdict verdict = look_literal(bytes, len, MSTS, sizeof(MSTS) - 1);
	if (verdict == VERDICT_YES || (verdict == VERDICT_MORE && room >= sizeof(MSTS) - 1))
		return verdict;
	return token_match(bytes, len, room);
}

static void cookie_settle(struct findings *findings, const uint8_t *bytes, size_t len, size_t room)
{
	size_t start = sizeof(MSTSHASH) - 1;
	enum verdict verdict = look_literal(bytes, len, MSTSHASH, start);
	const uint8_t *end = NULL;

	if (verdict == VERDICT_YES) {
		end = memchr(bytes + start, '\r', len - start);
		if (!end && len < room)
			return;
	} else if (verdict == VERDICT_MORE && len < room) {
		return;
	}
	finding_settle_text(findings, ATTRIBUTE_COOKIE, bytes + start, end ? (size_t)(end - bytes) - start : 0);
}

static enum verdict preconnection_skip(const uint8_t *bytes, size_t len, size_t *ret_at)
{
	static const uint8_t want[12] = { 0 };
	static const uint8_t mask[12] = { 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc, 0xff, 0xff, 0xff };

	*ret_at = 0;
	if (len == 0 || bytes[0] == 3)
		return len == 0 ? VERDICT_MORE : VERDICT_YES;
	enum verdict verdict = look_masked(bytes, len, want, mask, sizeof(want));
	if (verdict == VERDICT_NO || len < 2)
		return verdict;
	size_t size = look_le16(bytes);
	if (size < PRECONNECTION_LEN || size > PRECONNECTION_MAX || verdict == VERDICT_MORE)
		return size < PRECONNECTION_LEN || size > PRECONNECTION_MAX ? VERDICT_NO : VERDICT_MORE;
	bool has_text = bytes[8] == 2;
	if ((bytes[8] != 1 && !has_text) || (has_text ? size < PRECONNECTION_TEXT : size != PRECONNECTION_LEN))
		return VERDICT_NO;
	if (has_text && len >= PRECONNECTION_TEXT &&
		look_le16(bytes + PRECONNECTION_LEN) * 2 + PRECONNECTION_TEXT != size)
		return VERDICT_NO;
	*ret_at = size;
	return len > size ? VERDICT_YES : VERDICT_MORE;
}

enum verdict probe_rdp(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence_len(evidence), total = 0, at;

	enum verdict verdict = preconnection_skip(bytes, len, &at);
	if (verdict != VERDICT_YES)
		return verdict;
	bytes += at;
	len -= at;
	verdict = header_match(bytes, len, &total);
	if (verdict != VERDICT_YES)
		return verdict;
	size_t room = total - HEADER_LEN, n = len - HEADER_LEN < room ? len - HEADER_LEN : room;
	verdict = variable_match(bytes + HEADER_LEN, n, room, look_be16(bytes + 8) == 0);
	if (verdict == VERDICT_YES)
		cookie_settle(findings, bytes + HEADER_LEN, n, room);
	return verdict;
}
