/* SMB by its first message: NetBIOS sessions (RFC 1002 4.3), direct TCP (MS-SMB2 2.1), MS-CIFS 2.2.3.1, MS-SMB2 2.2.1.
 *
 *     81 00 00 44 | 20 CKFDENECFDEFFCFGEFFCCACACACACACA 00 | 20 ... 00        a session request of NetBIOS, port 139
 *                             ^ YES with the letters
 *     00 LL LL LL | ff S M B | 72 | 00 00 00 00 | ...                           negotiate of SMB 1
 *     00 LL LL LL | fe S M B | 40 00 | ...    | 00 00 (at 12: the command)      negotiate of SMB 2 and 3
 *     length                                ^ YES with the command
 *
 * Refuses other commands first, and answers. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

enum {
	LENGTH_LEN = 4,
	LENGTH_MAX = 0x1ffff,
	SMB1_LEN_MIN = 32 + 3,
	SMB2_LEN_MIN = 64 + 36,
	SESSION_LEN_MIN = 2 * 34,
	SESSION_LEN_MAX = 2 * 255,
	NAME_LEN = 32,
};

/* The called name, half a byte a letter. */
static enum verdict session_match(const uint8_t *bytes, size_t len)
{
	if ((len > 1 && bytes[1] != 0) || (len > 4 && bytes[4] != NAME_LEN))
		return VERDICT_NO;
	if (len > 3) {
		uint32_t total = look_be16(bytes + 2);
		if (total < SESSION_LEN_MIN || total > SESSION_LEN_MAX)
			return VERDICT_NO;
	}
	for (size_t i = 5; i < 5 + NAME_LEN; i++) {
		if (i >= len)
			return VERDICT_MORE;
		if (bytes[i] < 'A' || bytes[i] > 'P')
			return VERDICT_NO;
	}
	return VERDICT_YES;
}

static enum verdict negotiate_match(const uint8_t *bytes, size_t len)
{
	static const uint8_t want_1[] = { 0xff, 'S', 'M', 'B', 0x72, 0, 0, 0, 0 };
	static const uint8_t want_2[] = { 0xfe, 'S', 'M', 'B', 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
	static const uint8_t mask[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff };
	static const uint8_t mask_1[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (len > 1 && bytes[1] > LENGTH_MAX >> 16)
		return VERDICT_NO;
	if (len <= LENGTH_LEN)
		return VERDICT_MORE;
	uint32_t total = look_be24(bytes + 1);
	if (bytes[4] == want_1[0])
		return total < SMB1_LEN_MIN ? VERDICT_NO
					    : look_masked(bytes + 4, len - 4, want_1, mask_1, sizeof(want_1));
	return total < SMB2_LEN_MIN ? VERDICT_NO : look_masked(bytes + 4, len - 4, want_2, mask, sizeof(want_2));
}

enum verdict probe_smb(const struct evidence *evidence, struct findings *findings)
{
	size_t len = evidence_len(evidence);

	if (len == 0)
		return VERDICT_MORE;
	if (evidence->bytes[0] == 0x81)
		return session_match(evidence->bytes, len);
	return evidence->bytes[0] == 0 ? negotiate_match(evidence->bytes, len) : VERDICT_NO;
}
