/* Cassandra, and what speaks its protocol: "CQL binary protocol" versions 3 to 6, and DataStax' own 1 and 2.
 *
 *     vv | flags | stream[2] | op | LL LL LL LL | 00 nn 00 0b CQL_VERSION 00 05 3.0.0 ...
 *     03..06       0..32767    05 OPTIONS, length 0          ^ YES
 *     41, 42                   01 STARTUP, a map of strings         ^ YES
 *
 * YES of OPTIONS with the length; of STARTUP with the length of its first key, a name in capitals. Flags: none, or 10,
 * which asks for a version that is not finished. Refuses versions 1 and 2, whose OPTIONS nothing tells from noise. Owns no
 * memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

enum {
	HEADER_LEN = 9,
	OP_STARTUP = 1,
	OP_OPTIONS = 5,
	FLAG_BETA = 0x10,
	STARTUP_LEN_MIN = 2 + 2 + 11 + 2 + 5, /* CQL_VERSION alone */
	STARTUP_LEN_MAX = 4096,
	PAIRS_MAX = 16,
	KEY_MAX = 64,
};

static bool version_exists(uint8_t version)
{
	return (version >= 3 && version <= 6) || version == 0x41 || version == 0x42;
}

/* A map's number of pairs, and its first key. */
static enum verdict startup_match(const uint8_t *bytes, size_t len)
{
	size_t at = HEADER_LEN;

	if ((len > at && bytes[at] != 0) || (len > at + 1 && (bytes[at + 1] == 0 || bytes[at + 1] > PAIRS_MAX)) ||
		(len > at + 2 && bytes[at + 2] != 0) ||
		(len > at + 3 && (bytes[at + 3] == 0 || bytes[at + 3] > KEY_MAX)))
		return VERDICT_NO;
	if (len < at + 5)
		return VERDICT_MORE;
	return bytes[at + 4] >= 'A' && bytes[at + 4] <= 'Z' ? VERDICT_YES : VERDICT_NO;
}

enum verdict probe_cassandra(const struct evidence *evidence, struct findings *findings)
{
	size_t len = evidence_len(evidence);
	const uint8_t *bytes = evidence->bytes;

	if ((len > 0 && !version_exists(bytes[0])) || (len > 1 && bytes[1] & ~FLAG_BETA) ||
		(len > 2 && bytes[2] & 0x80))
		return VERDICT_NO;
	if ((len > 4 && bytes[4] != OP_STARTUP && bytes[4] != OP_OPTIONS) || (len > 5 && bytes[5] != 0) ||
		(len > 6 && bytes[6] != 0))
		return VERDICT_NO;
	if (len < HEADER_LEN)
		return VERDICT_MORE;
	uint32_t body = look_be32(bytes + 5);
	if (bytes[4] == OP_OPTIONS)
		return body == 0 ? VERDICT_YES : VERDICT_NO;
	return body >= STARTUP_LEN_MIN && body <= STARTUP_LEN_MAX ? startup_match(bytes, len) : VERDICT_NO;
}
