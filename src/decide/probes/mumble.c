/* Mumble, in datagrams, by the ping that asks a server for its version and users: "UDP Ping packet" of the protocol's
 * documentation, and its form since 1.5, MumbleUDP.proto.
 *
 *     00 00 00 00 | number[8]
 *     01 | 08 time | 10 01                 a type, and a message in the encoding of protocol buffers: the time, in bytes of
 *                                          seven bits, and that more than an answer is wanted
 *
 * The first has 12 bytes and is not all zero. Voice, and the pings of a client that has logged in (over tls), are
 * encrypted with a key of that session and cannot be told. Owns no memory. */
#include "look.h"
#include "probe.h"

enum {
	OLD_LEN = 12,
	NUMBER_LEN_MAX = 10,
	TYPE_PING = 1,
};

static bool new_match(const uint8_t *bytes, size_t len)
{
	size_t at = 2;

	if (len < 5 || bytes[0] != TYPE_PING || bytes[1] != 0x08)
		return false;
	while (at < len && bytes[at] & 0x80)
		at++;
	return at - 2 < NUMBER_LEN_MAX && len - at == 3 && bytes[at] != 0 && bytes[at + 1] == 0x10 &&
		bytes[at + 2] == 1;
}

enum verdict probe_mumble_datagram(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;

	if (evidence->len == OLD_LEN && look_is_zero(bytes, 4) && !look_is_zero(bytes, OLD_LEN))
		return VERDICT_YES;
	return new_match(bytes, evidence->len) ? VERDICT_YES : VERDICT_NO;
}
