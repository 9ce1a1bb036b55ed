/* Android's debug bridge over TCP, by the CNXN message that a host begins with; protocol.txt and apacket in adb's sources.
 *
 *     C N X N | 01 00 00 01 | xx xx xx 00 | LL LL LL 00 | sum[4] | bc b1 a7 b1 | host::features=...
 *               version       longest       length                 the command's
 *               1.0, 1.1      message       of what follows        complement
 *                                                                            ^ YES
 *
 * All numbers are little-endian. A host that has had no answer may send an empty message first: 20 zeros and the complement of
 * zero. Refuses every other message, for those come later or from the device. Owns no memory. */
#include "look.h"
#include "probe.h"

enum {
	HEADER_LEN = 24,
	VERSION_AT = 4,
	MESSAGE_MAX_AT = 8,
	LENGTH_AT = 12,
	MAGIC_AT = 20,
	LENGTH_MAX = 1 << 20,
};

static enum verdict connect_match(const uint8_t *bytes, size_t len)
{
	static const uint8_t want[HEADER_LEN] = { 'C', 'N', 'X', 'N', [VERSION_AT + 3] = 1, [MAGIC_AT] = 0xbc, 0xb1,
		0xa7, 0xb1 };
	static const uint8_t mask[HEADER_LEN] = { 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0xff,
		[MESSAGE_MAX_AT + 3] = 0xff, [LENGTH_AT + 3] = 0xff, [MAGIC_AT] = 0xff, 0xff, 0xff, 0xff };

	enum verdict verdict = look_masked(bytes, len, want, mask, HEADER_LEN);
	if (verdict == VERDICT_NO || len < LENGTH_AT)
		return verdict;
	if (look_le32(bytes + MESSAGE_MAX_AT) == 0)
		return VERDICT_NO;
	return len >= LENGTH_AT + 4 && look_le32(bytes + LENGTH_AT) > LENGTH_MAX ? VERDICT_NO : verdict;
}

enum verdict probe_adb(const struct evidence *evidence, struct findings *findings)
{
	static const uint8_t empty[HEADER_LEN] = { [MAGIC_AT] = 0xff, 0xff, 0xff, 0xff };
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence->len;

	if (len == 0 || bytes[0] == 'C')
		return connect_match(bytes, len);
	enum verdict verdict = look_literal(bytes, len, (const char *)empty, HEADER_LEN);
	return verdict == VERDICT_YES ? connect_match(bytes + HEADER_LEN, len - HEADER_LEN) : verdict;
}
