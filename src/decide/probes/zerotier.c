/* ZeroTier, in datagrams, by the message with which a node makes itself known (HELLO): Packet.hpp and Identity.hpp of
 * ZeroTier One.
 *
 *     id[8] | destination[5] | source[5] | ff 000 hhh | MAC[8] | 01 | version | major, minor, revision[4] | time[8] |
 *     random                               no cipher             HELLO  4..
 *
 *     address[5] | 00 | public key[64] | 00 | where it was sent ...
 *     the source's  type                 no private key
 *
 * It is the one message that goes in the clear, and names its sender twice. Refuses all others, which are random bytes
 * but for the hops, and so is a HELLO that the node's configuration encrypts. Owns no memory. */
#include "look.h"
#include "probe.h"

#include <string.h>

enum {
	DESTINATION_AT = 8,
	SOURCE_AT = 13,
	ADDRESS_LEN = 5,
	FLAGS_AT = 18,
	CIPHER_MASK = 0x38,
	VERB_AT = 27,
	VERB_HELLO = 1,
	VERSION_AT = 28,
	VERSION_MIN = 4,
	VERSION_MAX = 63,
	IDENTITY_AT = 41,
	KEY_LEN = 64,
	HELLO_LEN_MIN = IDENTITY_AT + ADDRESS_LEN + 1 + KEY_LEN + 1,
	RESERVED = 0xff, /* as an address' first byte */
};

static bool is_address(const uint8_t *at)
{
	return at[0] != RESERVED && !look_is_zero(at, ADDRESS_LEN);
}

enum verdict probe_zerotier_datagram(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;

	if (evidence->len < HELLO_LEN_MIN || bytes[FLAGS_AT] & CIPHER_MASK || bytes[VERB_AT] != VERB_HELLO ||
		bytes[VERSION_AT] < VERSION_MIN || bytes[VERSION_AT] > VERSION_MAX)
		return VERDICT_NO;
	const uint8_t *identity = bytes + IDENTITY_AT;
	if (!is_address(bytes + DESTINATION_AT) || !is_address(bytes + SOURCE_AT) ||
		memcmp(bytes + SOURCE_AT, identity, ADDRESS_LEN) != 0)
		return VERDICT_NO;
	return identity[ADDRESS_LEN] == 0 && identity[ADDRESS_LEN + 1 + KEY_LEN] == 0 ? VERDICT_YES : VERDICT_NO;
}
