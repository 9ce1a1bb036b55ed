/* QUIC by the Initial packet that a client begins with: RFC 8999 (what all versions have in common), RFC 9000 14.1, 15 and
 * 17.2.2, RFC 9369 (version 2).
 *
 *     11 00 rrnn | version[4] | n destination id[n] | n source id[n] | token length, token | length | number, payload ...
 *        ~~        00000001     8..20                 0..20            numbers of 1 to 8 bytes
 *        01 in version 2
 *
 * A datagram with one has at least 1200 bytes, and the packet's length must lie in it. Versions: 1, 2, the drafts 22 to 34, those
 * of mvfst and of Google that have this header (T050, Q050, T051), and the ones that are reserved to force a negotiation, of
 * which no more is known than the ids. Refuses packets with the short header, which belong to a connection that began
 * elsewhere, 0-RTT packets that have overtaken the Initial, and Google's older QUIC, which has headers of its own. What is in
 * the packet is encrypted; server name and ALPN are not told. Owns no memory. */
#include "look.h"
#include "probe.h"

enum {
	DATAGRAM_LEN_MIN = 1200,
	LONG_AND_FIXED = 0xc0,
	TYPE = 0x30,
	TYPE_INITIAL_2 = 0x10,
	DESTINATION_MIN = 8,
	ID_MAX = 20,
	PACKET_LEN_MIN = 4 + 16, /* what the protection of the header takes as its sample, and a tag */
};

enum version_kind { VERSION_NONE, VERSION_1, VERSION_2, VERSION_RESERVED };

static enum version_kind version_kind(uint32_t version)
{
	if (version == 1)
		return VERSION_1;
	if (version == 0x6b3343cf)
		return VERSION_2;
	if ((version & 0x0f0f0f0f) == 0x0a0a0a0a)
		return VERSION_RESERVED;
	if (version >= 0xff000016 && version <= 0xff000022)
		return VERSION_1;
	if (version >> 8 == 0xfaceb0)
		return VERSION_1;
	return version == 0x54303530 || version == 0x51303530 || version == 0x54303531 ? VERSION_1 : VERSION_NONE;
}

/* A number whose first two bits say how many bytes it has, RFC 9000 16; false: it is not there. */
static bool number_read(const uint8_t *bytes, size_t len, size_t *at, uint64_t *ret)
{
	if (*at >= len)
		return false;
	size_t n = (size_t)1 << (bytes[*at] >> 6);
	if (n > len - *at)
		return false;
	*ret = bytes[*at] & 0x3f;
	for (size_t i = 1; i < n; i++)
		*ret = *ret << 8 | bytes[*at + i];
	*at += n;
	return true;
}

/* Over a connection id behind its length. */
static bool id_skip(const uint8_t *bytes, size_t len, size_t *at, size_t min)
{
	if (*at >= len || bytes[*at] < min || bytes[*at] > ID_MAX || bytes[*at] > len - *at - 1)
		return false;
	*at += 1U + bytes[*at];
	return true;
}

enum verdict probe_quic_datagram(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence->len, at = 5;
	uint64_t token_len, packet_len;

	if (len < DATAGRAM_LEN_MIN || !(bytes[0] & 0x80))
		return VERDICT_NO;
	enum version_kind kind = version_kind(look_be32(bytes + 1));
	if (kind == VERSION_NONE || !id_skip(bytes, len, &at, DESTINATION_MIN) || !id_skip(bytes, len, &at, 0))
		return VERDICT_NO;
	if (kind == VERSION_RESERVED)
		return VERDICT_YES;
	if ((bytes[0] & (LONG_AND_FIXED | TYPE)) != (LONG_AND_FIXED | (kind == VERSION_2 ? TYPE_INITIAL_2 : 0)))
		return VERDICT_NO;
	if (!number_read(bytes, len, &at, &token_len) || token_len > len - at)
		return VERDICT_NO;
	at += (size_t)token_len;
	if (!number_read(bytes, len, &at, &packet_len) || packet_len > len - at)
		return VERDICT_NO;
	return packet_len >= PACKET_LEN_MIN ? VERDICT_YES : VERDICT_NO;
}
