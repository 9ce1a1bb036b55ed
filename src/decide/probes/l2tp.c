/* L2TP, in datagrams, by the message that opens a control connection (SCCRQ): version 2, RFC 2661 3.1, 4.1 and 6.1;
 * version 3 over UDP, RFC 3931 3.2.1 and 4.1.2.
 *
 *     c8 02 | LL LL | 00 00 | 00 00 | 00 00 | 00 00 | 80 08 | 00 00 | 00 00 | 00 01 | attributes
 *     c8 03   the     tunnel, session Ns      Nr      8 bytes vendor  message type 1  each behind flags and length
 *             whole   or a connection of 4 bytes, none yet
 *
 * The attributes must fill the datagram. YES gives the `version`. Refuses data messages and the control messages of a
 * connection that began elsewhere: the first have one fixed bit in four. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

enum {
	FLAGS_VERSION_2 = 0xc802, /* control, with a length and numbers */
	FLAGS_VERSION_3 = 0xc803,
	HEADER_LEN = 12,
	TYPE_LEN = 8,
	ATTRIBUTE_LEN_MIN = 6,
	LENGTH_MASK = 0x03ff,
};

/* The first attribute, whether or not it has the mandatory bit. */
static bool is_request(const uint8_t *at)
{
	static const uint8_t type[TYPE_LEN] = { 0, TYPE_LEN, 0, 0, 0, 0, 0, 1 };
	static const uint8_t mask[TYPE_LEN] = { 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	return look_masked(at, TYPE_LEN, type, mask, TYPE_LEN) == VERDICT_YES;
}

enum verdict probe_l2tp_datagram(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence->len, at = HEADER_LEN + TYPE_LEN;

	if (len < HEADER_LEN + TYPE_LEN)
		return VERDICT_NO;
	uint32_t flags = look_be16(bytes);
	if ((flags != FLAGS_VERSION_2 && flags != FLAGS_VERSION_3) || look_be16(bytes + 2) != len ||
		!look_is_zero(bytes + 4, HEADER_LEN - 4) || !is_request(bytes + HEADER_LEN))
		return VERDICT_NO;
	for (size_t attribute_len; at < len; at += attribute_len) {
		attribute_len = len - at >= ATTRIBUTE_LEN_MIN ? look_be16(bytes + at) & LENGTH_MASK : 0;
		if (attribute_len < ATTRIBUTE_LEN_MIN || attribute_len > len - at)
			return VERDICT_NO;
	}
	finding_settle(findings, ATTRIBUTE_VERSION, (const uint8_t *)(flags == FLAGS_VERSION_2 ? "2" : "3"), 1);
	return VERDICT_YES;
}
