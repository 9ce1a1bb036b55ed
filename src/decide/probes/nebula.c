/* Nebula, in datagrams: header.go of its sources, version 1.
 *
 *     1t | subtype | 00 00 | index[4] | counter[8] | payload
 *     10   00                00000000   00000000 00000001        the handshake that opens a tunnel: no index yet, the first message
 *     11                     of the     from 1                   data, 13: lighthouse, 14: test, 15: close, 16: control; a tag of
 *                            receiver                            16 bytes at least
 *
 * The second kind is from a tunnel that exists: a node whose address or port has changed goes on with it. The counter's
 * first two bytes must be zero, and the whole no header of a DNS query. Refuses 12, which says that a receiver does not
 * know the tunnel. Owns no memory. */
#include "look.h"
#include "probe.h"

enum {
	HEADER_LEN = 16,
	TAG_LEN = 16,
	VERSION_1 = 0x10,
	TYPE_HANDSHAKE = 0,
	TYPE_RECEIVE_ERROR = 2,
	TYPE_MAX = 6,
	SUBTYPE_MAX = 1,
	HANDSHAKE_LEN_MIN = 64, /* a key and an encrypted certificate have more */
};

enum verdict probe_nebula_datagram(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence->len;
	bool matches = false;

	if (len < HEADER_LEN + TAG_LEN || (bytes[0] & 0xf0) != VERSION_1 || bytes[1] > SUBTYPE_MAX ||
		look_be16(bytes + 2) != 0)
		return VERDICT_NO;
	unsigned type = bytes[0] & 0x0f;
	if (type == TYPE_HANDSHAKE)
		matches = len >= HANDSHAKE_LEN_MIN && look_is_zero(bytes + 4, HEADER_LEN - 5) &&
			bytes[HEADER_LEN - 1] == 1;
	else if (type <= TYPE_MAX && type != TYPE_RECEIVE_ERROR)
		matches = !look_is_zero(bytes + 4, 4) && look_be16(bytes + 8) == 0 && !look_is_zero(bytes + 10, 6) &&
			!look_is_dns_header(bytes);
	return matches ? VERDICT_YES : VERDICT_NO;
}
