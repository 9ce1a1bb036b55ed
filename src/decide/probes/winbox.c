/* Winbox, the program that administers MikroTik's routers, by its first message, as Margin Research ("MikroTik Authentication
 * Revealed", 2022) and Tenable (TRA-2018-21) have published it.
 *
 *     LL 06 | user 00 | key[32] | 00 or 01                   RouterOS 6.43 and later
 *     what     what is left of it        ^ YES
 *     follows
 *     LL 01 | 00 LL-2 | M 2 ...                              before that
 *                         ^ YES
 *
 * There is no more in the first form than a length, one byte of type, and where the zero and the last byte stand; so it
 * is named on little, but on all of it. A user has printable characters; the length counts from behind the type. Refuses a
 * first message in several parts. Owns no memory. */
#include "look.h"
#include "probe.h"

enum {
	TYPE_KEY = 6,
	TYPE_MESSAGE = 1,
	HEADER_LEN = 2,
	KEY_LEN = 32 + 1, /* and which of two points it is */
	USER_MAX = 64,
	MESSAGE_MIN = 2 + 2 + 6,
};

static enum verdict key_match(const uint8_t *bytes, size_t len)
{
	size_t user_len = bytes[0] - 1U - KEY_LEN, total = HEADER_LEN + bytes[0];

	for (size_t i = 0; i < user_len; i++) {
		if (HEADER_LEN + i == len)
			return VERDICT_MORE;
		if (bytes[HEADER_LEN + i] < ' ' || bytes[HEADER_LEN + i] == 0x7f)
			return VERDICT_NO;
	}
	if (len > HEADER_LEN + user_len && bytes[HEADER_LEN + user_len] != 0)
		return VERDICT_NO;
	if (len < total)
		return VERDICT_MORE;
	return bytes[total - 1] <= 1 ? VERDICT_YES : VERDICT_NO;
}

enum verdict probe_winbox(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence->len;

	if (len == 0)
		return VERDICT_MORE;
	bool may_be_key = bytes[0] > 1 + KEY_LEN && bytes[0] <= USER_MAX + 1 + KEY_LEN;
	if (!may_be_key && bytes[0] < MESSAGE_MIN)
		return VERDICT_NO;
	if (len == 1)
		return VERDICT_MORE;
	if (bytes[1] == TYPE_KEY)
		return may_be_key ? key_match(bytes, len) : VERDICT_NO;
	if (bytes[1] != TYPE_MESSAGE || bytes[0] < MESSAGE_MIN)
		return VERDICT_NO;
	const char rest[] = { 0, (char)(bytes[0] - 2), 'M', '2' };
	return look_literal(bytes + HEADER_LEN, len - HEADER_LEN, rest, sizeof(rest));
}
