/* WireGuard, in datagrams: "WireGuard: Next Generation Kernel Network Tunnel" 5.4.2 to 5.4.7.
 *
 *     01 00 00 00 | sender[4] | ephemeral[32] | static[48] | time[28] | mac1[16] | mac2[16]       148: opens a session
 *     02 00 00 00 | sender[4] | receiver[4] | ephemeral[32] | nothing[16] | mac1[16] | mac2[16]   92: its answer
 *     03 00 00 00 | receiver[4] | nonce[24] | cookie[32]                                          64: under load
 *     04 00 00 00 | receiver[4] | counter[8] | packet[16 n]                                       32 and more: data
 *
 * Each has its length, and keys, ciphers and nonces must look like noise: few of their bytes are zero. Only mac2 may be
 * zeros. mac1 cannot be checked without the server's public key. The last three belong to a session that exists: both
 * sides open one, and a client whose address has changed goes on with data. The counter's last two bytes must be zero: a
 * key lives for 180 seconds. Owns no memory. */
#include "look.h"
#include "probe.h"

enum {
	INITIATION = 1,
	RESPONSE = 2,
	COOKIE = 3,
	DATA = 4,
	INITIATION_LEN = 148,
	RESPONSE_LEN = 92,
	COOKIE_LEN = 64,
	DATA_LEN_MIN = 32,
	MAC_LEN = 16,
	BLOCK_LEN = 16,
	LONG_LEN = 80,
	ZEROS_MAX = 8,
};

/* Of 124 bytes of noise more than 8 are zero once in 10^9, of 64 more than 4 once in 10^6. */
static bool is_noise(const uint8_t *at, size_t len)
{
	size_t zeros = 0;

	for (size_t i = 0; i < len; i++)
		zeros += at[i] == 0;
	return zeros <= (len > LONG_LEN ? ZEROS_MAX : ZEROS_MAX / 2);
}

enum verdict probe_wireguard_datagram(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence->len;
	bool matches = false;

	if (len < DATA_LEN_MIN)
		return VERDICT_NO;
	switch (look_le32(bytes)) {
	case INITIATION:
		matches = len == INITIATION_LEN && is_noise(bytes + 8, len - 8 - MAC_LEN);
		break;
	case RESPONSE:
		matches = len == RESPONSE_LEN && is_noise(bytes + 12, len - 12 - MAC_LEN);
		break;
	case COOKIE:
		matches = len == COOKIE_LEN && is_noise(bytes + 8, len - 8);
		break;
	case DATA:
		matches = len % BLOCK_LEN == 0 && look_le16(bytes + 14) == 0 && is_noise(bytes + 16, BLOCK_LEN);
		break;
	default:
		break;
	}
	return matches ? VERDICT_YES : VERDICT_NO;
}
