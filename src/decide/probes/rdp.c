/* RDP by the client's connection request, MS-RDPBCGR 2.2.1.1: a TPKT (RFC 1006 6) with an X.224 Connection Request.
 *
 *     03 00 LL LL | li e0 00 00 ss ss 00 | Cookie: mstshash=NAME\r\n | 01 ff 08 00 pp pp pp pp | 06 00 24 00 [32]
 *           whole   whole - 5              or a routing token, or      negotiation request       correlation info,
 *           length                         nothing                     or nothing                with flag 08
 *
 *     LL LL 00 00 | 00 00 00 00 | 01 00 00 00 | id            before it, with some gateways: MS-RDPEPS 2.2.1
 *     whole         flags         02 00 00 00 | id | CC CC | UTF-16, CCCC units
 *
 * YES with "Cookie: msts" (mstshash, or a routing token), with the requested protocols of a negotiation request, at the
 * end of another routing token that these follow, or, where there is neither (the oldest clients), with the class if the
 * source reference is zero; or with the version of a preconnection packet, the second with its count. The parts must fill
 * the lengths exactly; those agree. `cookie` is the value of mstshash.
 *
 * A client that is told not to negotiate (FreeRDP 3) leaves the request out and begins with what follows it, the MCS Connect
 * Initial of MS-RDPBCGR 2.2.1.3: 03 00 LL LL | 02 f0 80 | 7f 65. YES with that tag.
 *
 * Over UDP a client begins with the SYN datagram of MS-RDPEUDP 3.1.5.1.1, a larger one filled up with zeros:
 *
 *     ff ff ff ff | window[2] | flags[2] | sequence[4] | mtu[2] mtu[2] | what the flags say
 *                               SYN, without others but      1132..1232
 *                               lossy, correlation id, version
 *
 * Other users of TPKT and X.224 (S7, MMS, X.400) name their TSAP in the request and so are refused; H.323 does not begin
 * with a Connection Request. One that sends the bare request cannot be told from an old RDP client. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

#include <string.h>

enum {
	HEADER_LEN = 11,  /* TPKT and the fixed part of X.224 */
	TPDU_SIZE = 0xc0, /* parameters of X.224, 13.2.3 */
	CALLED_TSAP = 0xc2,
	LENGTH_MAX = 4 + 1 + 254,
	NEGOTIATION_LEN = 8,
	CORRELATION_LEN = 36,
	FLAG_CORRELATION = 0x08,
	INITIAL_LEN_MIN = 64,
	SYN_LEN = 16,
	FLAG_SYN = 0x0001,
	FLAGS_OF_SYN = 0x0001 | 0x0200 | 0x0800 | 0x1000,
	MTU_MIN = 1132,
	MTU_MAX = 1232,
	PRECONNECTION_LEN = 12, /* without what its version adds */
	PRECONNECTION_LEN_MAX = PRECONNECTION_LEN + 6 + 2 * 512,
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

/* A routing token is a line of bytes that are not controls, in any character set; what it says is the balancer's business. */
static enum verdict token_match(const uint8_t *bytes, size_t len, size_t room)
{
	size_t n = 0;

	while (n < len && bytes[n] >= ' ' && bytes[n] != 0x7f)
		n++;
	if (len > 0 && bytes[0] >= TPDU_SIZE && bytes[0] <= CALLED_TSAP)
		return VERDICT_NO;
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

/* MCS Connect Initial. */
static enum verdict initial_match(const uint8_t *bytes, size_t len)
{
	static const uint8_t want[] = { 3, 0, 0, 0, 2, 0xf0, 0x80, 0x7f, 0x65 };
	static const uint8_t mask[] = { 0xff, 0xff, 0xf0, 0, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (len >= 4 && look_be16(bytes + 2) < INITIAL_LEN_MIN)
		return VERDICT_NO;
	return look_masked(bytes, len, want, mask, sizeof(want));
}

static enum verdict request_match(const uint8_t *bytes, size_t len, struct findings *findings)
{
	size_t total = 0;

	enum verdict verdict = header_match(bytes, len, &total);
	if (verdict == VERDICT_NO && (verdict = initial_match(bytes, len)) == VERDICT_YES) {
		finding_settle(findings, ATTRIBUTE_COOKIE, NULL, 0);
		return verdict;
	}
	if (verdict != VERDICT_YES)
		return verdict;
	size_t room = total - HEADER_LEN, n = len - HEADER_LEN < room ? len - HEADER_LEN : room;
	verdict = variable_match(bytes + HEADER_LEN, n, room, look_be16(bytes + 8) == 0);
	if (verdict == VERDICT_YES)
		cookie_settle(findings, bytes + HEADER_LEN, n, room);
	return verdict;
}

/* YES: `ret_len` bytes of it are before what else there is. */
static enum verdict preconnection_match(const uint8_t *bytes, size_t len, size_t *ret_len)
{
	static const uint8_t want[PRECONNECTION_LEN] = { 0 };
	static const uint8_t mask[PRECONNECTION_LEN] = { 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff,
		0xff };

	if (len > 1 && (look_le16(bytes) < PRECONNECTION_LEN + 4 || look_le16(bytes) > PRECONNECTION_LEN_MAX))
		return VERDICT_NO;
	if (len > 8 && bytes[8] != 1 && bytes[8] != 2)
		return VERDICT_NO;
	enum verdict verdict = look_masked(bytes, len, want, mask, PRECONNECTION_LEN);
	if (verdict != VERDICT_YES)
		return verdict;
	*ret_len = look_le16(bytes);
	if (bytes[8] == 1)
		return *ret_len == PRECONNECTION_LEN + 4 ? VERDICT_YES : VERDICT_NO;
	if (*ret_len < PRECONNECTION_LEN + 6)
		return VERDICT_NO;
	if (len < PRECONNECTION_LEN + 6)
		return VERDICT_MORE;
	return *ret_len == PRECONNECTION_LEN + 6 + 2 * look_le16(bytes + PRECONNECTION_LEN + 4) ? VERDICT_YES
												: VERDICT_NO;
}

enum verdict probe_rdp(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence_len(evidence), at;

	if (len == 0)
		return VERDICT_MORE;
	if (bytes[0] == 3)
		return request_match(bytes, len, findings);
	enum verdict verdict = preconnection_match(bytes, len, &at);
	if (verdict == VERDICT_YES && len > at && request_match(bytes + at, len - at, findings) == VERDICT_NO)
		finding_settle(findings, ATTRIBUTE_COOKIE, NULL, 0);
	return verdict;
}

enum verdict probe_rdp_datagram(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;

	if (evidence->len < SYN_LEN || evidence->len > MTU_MAX || look_be32(bytes) != UINT32_MAX)
		return VERDICT_NO;
	uint32_t flags = look_be16(bytes + 6), up = look_be16(bytes + 12), down = look_be16(bytes + 14);
	if (!(flags & FLAG_SYN) || flags & ~FLAGS_OF_SYN)
		return VERDICT_NO;
	if (up < MTU_MIN || up > MTU_MAX || down < MTU_MIN || down > MTU_MAX)
		return VERDICT_NO;
	finding_settle(findings, ATTRIBUTE_COOKIE, NULL, 0);
	return VERDICT_YES;
}
