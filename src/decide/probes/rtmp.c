/* RTMP by what its client sends before any answer: C0 and C1, Adobe's "Real Time Messaging Protocol" 1.0, 5.2.
 *
 *     03 | time[4] | 00 00 00 00 | random[1528]
 *     06             09 00 7c 02              ^ YES: 1537 bytes
 *     (encrypted)    or who the client is
 *
 * The zeros of the specification are the version of a player since there are encrypted streams: 9.0.124.2, 10.0.45.2,
 * 128.0.7.2. They leave too little to name it before all is there, and a client sends all of it before it waits. TPKT (RDP and
 * others) begins with 03, too, and what stands at its length and behind it is no time and version. RTMP in HTTP is http. Owns
 * no memory. */
#include "look.h"
#include "probe.h"

enum {
	VERSION_PLAIN = 3,
	VERSION_ENCRYPTED = 6,
	PLAYER_AT = 5,
	HEADER_LEN = 9,
	HELLO_LEN = 1 + 1536,
	PLAYER_MIN = 7,
	PLAYER_MAX = 40,
	PLAYER_OF_LIBRARIES = 128,
	PLAYER_MINOR_MAX = 9,
};

/* The four bytes, as far as they are there. */
static bool player_match(const uint8_t *player, size_t len, bool may_be_zero)
{
	if (player[0] == 0) {
		for (size_t i = 0; i < len; i++)
			if (player[i] != 0)
				return false;
		return may_be_zero;
	}
	if (player[0] != PLAYER_OF_LIBRARIES && (player[0] < PLAYER_MIN || player[0] > PLAYER_MAX))
		return false;
	return len < 2 || player[1] <= PLAYER_MINOR_MAX;
}

enum verdict probe_rtmp(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence->len;

	if (len > 0 && bytes[0] != VERSION_PLAIN && bytes[0] != VERSION_ENCRYPTED)
		return VERDICT_NO;
	if (len > PLAYER_AT &&
		!player_match(bytes + PLAYER_AT, len < HEADER_LEN ? len - PLAYER_AT : HEADER_LEN - PLAYER_AT,
			bytes[0] == VERSION_PLAIN))
		return VERDICT_NO;
	return len < HELLO_LEN ? VERDICT_MORE : VERDICT_YES;
}
