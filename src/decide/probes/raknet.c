/* RakNet, in datagrams, which Minecraft's Bedrock edition and other games speak: "Raknet Protocol" in the Minecraft Wiki.
 *
 *     01 | time[8] | 00 ff ff 00 fe fe fe fe fd fd fd fd 12 34 56 78 | client[8]        a ping; 02 if there is room for one more
 *     05 | 00 ff ff 00 ... 78 | version | 00 00 ...                                     to play, filled up with zeros to the
 *                                                                                       size of a datagram that is tried
 *
 * Old clients' pings end with the 16 bytes. Refuses answers, and packets of a connection that began elsewhere. The
 * `minecraft` of TCP is the Java edition. Owns no memory. */
#include "look.h"
#include "probe.h"

enum {
	PING = 1,
	PING_OPEN = 2,
	OPEN_REQUEST = 5,
	TIME_LEN = 8,
	MAGIC_LEN = 16,
	CLIENT_LEN = 8,
	PING_LEN = 1 + TIME_LEN + MAGIC_LEN,
	OPEN_LEN = 1 + MAGIC_LEN + 1,
};

#define MAGIC "\x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78"

static bool is_magic(const uint8_t *at)
{
	return look_literal(at, MAGIC_LEN, MAGIC, MAGIC_LEN) == VERDICT_YES;
}

enum verdict probe_raknet_datagram(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence->len;
	bool matches = false;

	if (len < OPEN_LEN)
		return VERDICT_NO;
	if (bytes[0] == PING || bytes[0] == PING_OPEN)
		matches = (len == PING_LEN || len == PING_LEN + CLIENT_LEN) && is_magic(bytes + 1 + TIME_LEN);
	else if (bytes[0] == OPEN_REQUEST)
		matches = is_magic(bytes + 1) && look_is_zero(bytes + OPEN_LEN, len - OPEN_LEN);
	return matches ? VERDICT_YES : VERDICT_NO;
}
