/* WireGuard, in datagrams, by the message that opens a session: "WireGuard: Next Generation Kernel Network Tunnel" 5.4.2.
 *
 *     01 00 00 00 | sender[4] | ephemeral[32] | static[48] | time[28] | mac1[16] | mac2[16]
 *                               keys and ciphers: noise                            zeros, or noise
 *
 * 148 bytes and the first four must be these, and what is noise must look so: of 140 bytes of it few are zero. Refuses
 * answers and data of a session that began elsewhere. Owns no memory. */
#include "look.h"
#include "probe.h"

enum {
	MESSAGE_LEN = 148,
	NOISE_AT = 8,
	NOISE_END = MESSAGE_LEN - 16,
	ZEROS_MAX = 8, /* in 124 bytes of noise; more than that are there once in 10^9 */
};

enum verdict probe_wireguard_datagram(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	int zeros = 0;

	if (evidence->len != MESSAGE_LEN || look_le32(bytes) != 1)
		return VERDICT_NO;
	for (size_t i = NOISE_AT; i < NOISE_END; i++)
		zeros += bytes[i] == 0;
	return zeros <= ZEROS_MAX ? VERDICT_YES : VERDICT_NO;
}
