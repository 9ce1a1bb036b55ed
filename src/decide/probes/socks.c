/* SOCKS: version 4 and its extension 4A ("SOCKS: A protocol for TCP proxy across firewalls", "SOCKS 4A: A simple
 * extension to SOCKS 4 protocol"), version 5 (RFC 1928 3).
 *
 *     04  command  port[2]  address[4]  user ... 00                     SOCKS4
 *     04  command  port[2]  00 00 00 xx  user ... 00  domain ... 00     SOCKS4A, xx not 0
 *     05  n  method[n]                                                  SOCKS5
 *
 * YES with the last byte. Of version 4 demanded: a command (connect, bind, or Tor's resolve, 0xf0), a port and an
 * address that can be connected to, a user of at most 255 bytes without controls, a domain of letters, digits and
 * what addresses have. Of version 5: one to sixteen methods, none twice, which keeps out numbers whose low byte comes
 * first (MongoDB's length 0x0205); which methods they are is for the server to judge. What follows is not looked at: a
 * client that does not wait for the answer may send on, and three bytes are all that most have to say. Owns no
 * memory. */
#include "look.h"
#include "probe.h"

enum {
	CONNECT = 1,
	BIND = 2,
	TOR_RESOLVE = 0xf0,
	MULTICAST = 224,
	TEXT_MAX = 255,
	METHODS_MAX = 16,
	HEADER_LEN = 8,
};

static bool is_user_byte(uint8_t byte)
{
	return byte >= ' ' && byte != 0x7f;
}

static bool is_domain_byte(uint8_t byte)
{
	uint8_t c = look_lower(byte);

	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' || c == ':' ||
		c == '[' || c == ']';
}

/* Text up to a zero byte; moves `*at` behind it. */
static enum verdict text_skip(const uint8_t *bytes, size_t len, size_t *at, size_t min, bool (*is_byte)(uint8_t byte))
{
	size_t n = 0;

	while (*at + n < len && n <= TEXT_MAX && is_byte(bytes[*at + n]))
		n++;
	if (n > TEXT_MAX)
		return VERDICT_NO;
	if (*at + n == len)
		return VERDICT_MORE;
	if (bytes[*at + n] != 0 || n < min)
		return VERDICT_NO;
	*at += n + 1;
	return VERDICT_YES;
}

/* The address, as far as it is there; all of it and only zeros in front makes it a name's placeholder. */
static bool address_is_sound(const uint8_t *address, size_t len, uint8_t command)
{
	if (len > 0 && address[0] >= MULTICAST)
		return false;
	if (len > 1 && address[0] == 0 && address[1] != 0)
		return false;
	if (len > 2 && address[0] == 0 && address[2] != 0)
		return false;
	return len < 4 || command == BIND || look_be32(address) != 0;
}

static enum verdict header_match(const uint8_t *bytes, size_t len)
{
	if (len > 0 && bytes[0] != 4)
		return VERDICT_NO;
	if (len > 1 && bytes[1] != CONNECT && bytes[1] != BIND && bytes[1] != TOR_RESOLVE)
		return VERDICT_NO;
	if (len > 3 && bytes[1] == CONNECT && look_be16(bytes + 2) == 0)
		return VERDICT_NO;
	if (len > 4 && !address_is_sound(bytes + 4, len < HEADER_LEN ? len - 4 : 4, bytes[1]))
		return VERDICT_NO;
	return len < HEADER_LEN ? VERDICT_MORE : VERDICT_YES;
}

enum verdict probe_socks4(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence->len, at = HEADER_LEN;

	enum verdict verdict = header_match(bytes, len);
	if (verdict == VERDICT_YES)
		verdict = text_skip(bytes, len, &at, 0, is_user_byte);
	if (verdict != VERDICT_YES || bytes[4] != 0 || bytes[7] == 0)
		return verdict;
	return text_skip(bytes, len, &at, 1, is_domain_byte);
}

enum verdict probe_socks5(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	uint64_t seen[4] = { 0 };

	if (evidence->len > 0 && bytes[0] != 5)
		return VERDICT_NO;
	if (evidence->len > 1 && (bytes[1] == 0 || bytes[1] > METHODS_MAX))
		return VERDICT_NO;
	if (evidence->len < 2)
		return VERDICT_MORE;
	for (size_t i = 0; i < bytes[1]; i++) {
		if (2 + i == evidence->len)
			return VERDICT_MORE;
		uint8_t method = bytes[2 + i];
		if (seen[method / 64] >> method % 64 & 1)
			return VERDICT_NO;
		seen[method / 64] |= UINT64_C(1) << method % 64;
	}
	return VERDICT_YES;
}
