/* IKE, in datagrams: version 1 (RFC 2408 3.1, RFC 2409), version 2 (RFC 7296 3.1), on their own port and behind the four
 * zero bytes that they have beside ESP (RFC 3948 2.2); the keep-alive of NAT traversal (2.3).
 *
 *     initiator[8] | responder[8] | next | 10 | exchange | flags | message id[4] | length[4] | payloads
 *     not zero       zero: opens    payload, 20                                    the message's
 *
 *     00 00 00 00 | the same        ff  alone: a keep-alive
 *
 * A client opens with the first message on one port and may go on at the other, where its first datagram is from the
 * middle of the exchange; so messages with a responder are taken too. The length must be exact, exchange and flags must
 * exist; with no responder the exchange is one that opens, the message id is zero. YES gives the `version`, 1 or 2, or
 * none of a keep-alive. ESP itself begins with random bytes and cannot be told. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

enum {
	HEADER_LEN = 28,
	MARKER_LEN = 4,
	KEEP_ALIVE = 0xff,
	VERSION_1 = 0x10,
	VERSION_2 = 0x20,
	BASE_1 = 1,
	MAIN_1 = 2,
	AGGRESSIVE_1 = 4,
	TRANSACTION_1 = 6,
	QUICK_1 = 32,
	NEW_GROUP_1 = 33,
	FLAGS_1 = 0x07, /* encrypted, commit, authenticated */
	PAYLOAD_SA_1 = 1,
	INIT_2 = 34,
	RESUME_2 = 38,
	FOLLOWUP_2 = 44,
	FLAG_INITIATOR_2 = 0x08,
	FLAGS_2 = 0x38, /* initiator, version, response */
	PAYLOAD_MIN_2 = 33,
	PAYLOAD_MAX_2 = 54,
};

static bool version_1_match(const uint8_t *bytes, bool opens)
{
	uint8_t exchange = bytes[18], flags = bytes[19];

	if (opens)
		return (exchange == BASE_1 || exchange == MAIN_1 || exchange == AGGRESSIVE_1) && flags == 0 &&
			bytes[16] == PAYLOAD_SA_1 && look_be32(bytes + 20) == 0;
	return ((exchange >= BASE_1 && exchange <= TRANSACTION_1) || exchange == QUICK_1 ||
		       exchange == NEW_GROUP_1) &&
		(flags & ~FLAGS_1) == 0;
}

static bool version_2_match(const uint8_t *bytes, size_t len, bool opens)
{
	uint8_t exchange = bytes[18], flags = bytes[19];

	if (bytes[16] == 0 ? len != HEADER_LEN : bytes[16] < PAYLOAD_MIN_2 || bytes[16] > PAYLOAD_MAX_2)
		return false;
	if (opens)
		return (exchange == INIT_2 || exchange == RESUME_2) && flags == FLAG_INITIATOR_2 &&
			look_be32(bytes + 20) == 0;
	return exchange >= INIT_2 && exchange <= FOLLOWUP_2 && (flags & ~FLAGS_2) == 0;
}

/* The version of the message; NULL: it is none. */
static const char *message_match(const uint8_t *bytes, size_t len)
{
	if (len < HEADER_LEN || look_is_zero(bytes, 8) || look_be32(bytes + 24) != len)
		return NULL;
	bool opens = look_is_zero(bytes + 8, 8);
	if (bytes[17] == VERSION_1 && version_1_match(bytes, opens))
		return "1";
	return bytes[17] == VERSION_2 && version_2_match(bytes, len, opens) ? "2" : NULL;
}

enum verdict probe_ike_datagram(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence->len;

	if (len == 1 && bytes[0] == KEEP_ALIVE) {
		finding_close(findings, ATTRIBUTE_VERSION);
		return VERDICT_YES;
	}
	if (len > MARKER_LEN && look_is_zero(bytes, MARKER_LEN)) {
		bytes += MARKER_LEN;
		len -= MARKER_LEN;
	}
	const char *version = message_match(bytes, len);
	if (!version)
		return VERDICT_NO;
	finding_settle(findings, ATTRIBUTE_VERSION, (const uint8_t *)version, 1);
	return VERDICT_YES;
}
