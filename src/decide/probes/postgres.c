/* PostgreSQL by its first packet, "Message Formats" in the chapter "Frontend/Backend Protocol" of its manual.
 *
 *     length  | 04 d2 16 2f                     SSLRequest, length 8; then the client waits
 *     length  | 04 d2 16 30                     GSSENCRequest, length 8; likewise
 *     length  | 04 d2 16 2e | pid | key         CancelRequest, length 16; with protocol 3.2 up to 268
 *     length  | 00 03 vv vv | name 00 value 00 ... 00      StartupMessage, "user" among the names; at most 10000
 *     00000128| 00 02 00 00 | database[64] user[32] ...    StartupPacket of the releases before 7.4
 *     whole, big-endian                 ^ YES
 *
 * YES with the request code, in a StartupMessage behind its first name, in the old one with the user's first byte.
 * `user` and `database` settle with the end of the packet, since the server takes the last of several.
 *
 * Refuses: lengths that do not fit what they are the length of, minor versions past 9999, names that are none. What a
 * client says inside TLS is not seen. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

#include <string.h>

enum {
	HEADER_LEN = 8,
	REQUEST_LEN = 8,
	CANCEL_LEN_MIN = 16,
	CANCEL_LEN_MAX = 12 + 256,
	STARTUP_LEN_MIN = HEADER_LEN + sizeof("user") + sizeof("u") + 1,
	STARTUP_LEN_MAX = 10000,
	NAME_LEN_MAX = 63,
	MINOR_MAX = 9999,
	OLD_LEN = 296,
	OLD_DATABASE = HEADER_LEN,
	OLD_USER = OLD_DATABASE + 64,
	OLD_OPTIONS = OLD_USER + 32,
};

#define CODE_CANCEL 0x04d2162eU
#define CODE_TLS    0x04d2162fU
#define CODE_GSS    0x04d21630U
#define CODE_OLD    0x00020000U

static void both_close(struct findings *findings)
{
	finding_close(findings, ATTRIBUTE_USER);
	finding_close(findings, ATTRIBUTE_DATABASE);
}

static bool is_name_byte(uint8_t c, bool is_first)
{
	if ((look_lower(c) >= 'a' && look_lower(c) <= 'z') || c == '_')
		return true;
	return !is_first && ((c >= '0' && c <= '9') || c == '.' || c == '$');
}

/* bytes[0 .. len) of `room` begin with a name and its end. */
static enum verdict name_match(const uint8_t *bytes, size_t len, size_t room)
{
	size_t n = 0;

	while (n < len && is_name_byte(bytes[n], n == 0))
		n++;
	if (n > NAME_LEN_MAX || n >= room)
		return VERDICT_NO;
	if (n == len)
		return VERDICT_MORE;
	return n > 0 && bytes[n] == 0 ? VERDICT_YES : VERDICT_NO;
}

/* The whole of the pairs, `end` past the zero byte behind the last. What is not of that form has no values. */
static void pairs_read(struct findings *findings, const uint8_t *at, const uint8_t *end)
{
	const uint8_t *name, *value, *name_end, *value_end = NULL, *user = NULL, *database = NULL;
	size_t user_len = 0, database_len = 0;

	for (name = at; name < end && *name != 0; name = value_end + 1) {
		name_end = memchr(name, 0, (size_t)(end - name));
		value = name_end ? name_end + 1 : end;
		value_end = value < end ? memchr(value, 0, (size_t)(end - value)) : NULL;
		if (!value_end)
			break;
		if (name_end - name == 4 && memcmp(name, "user", 4) == 0) {
			user = value;
			user_len = (size_t)(value_end - value);
		} else if (name_end - name == 8 && memcmp(name, "database", 8) == 0) {
			database = value;
			database_len = (size_t)(value_end - value);
		}
	}
	bool is_sound = name == end - 1 && *name == 0;
	finding_settle_text(findings, ATTRIBUTE_USER, user, is_sound ? user_len : 0);
	finding_settle_text(findings, ATTRIBUTE_DATABASE, database, is_sound ? database_len : 0);
}

static enum verdict startup_match(const uint8_t *bytes, size_t len, size_t total, struct findings *findings)
{
	if (total < STARTUP_LEN_MIN || total > STARTUP_LEN_MAX || look_be16(bytes + 6) > MINOR_MAX)
		return VERDICT_NO;
	enum verdict verdict = name_match(bytes + HEADER_LEN, len - HEADER_LEN, total - HEADER_LEN);
	if (verdict == VERDICT_YES && len >= total)
		pairs_read(findings, bytes + HEADER_LEN, bytes + total);
	return verdict;
}

/* A field that zero bytes fill up. */
static void field_settle(struct findings *findings, enum attribute attribute, const uint8_t *at, size_t size)
{
	const uint8_t *end = memchr(at, 0, size);

	finding_settle_text(findings, attribute, at, end ? (size_t)(end - at) : size);
}

static enum verdict old_match(const uint8_t *bytes, size_t len, struct findings *findings)
{
	for (size_t i = OLD_DATABASE; i < OLD_USER && i < len; i++)
		if (bytes[i] != 0 && (bytes[i] < ' ' || bytes[i] > '~'))
			return VERDICT_NO;
	if (len <= OLD_USER)
		return VERDICT_MORE;
	if (bytes[OLD_USER] <= ' ' || bytes[OLD_USER] > '~')
		return VERDICT_NO;
	if (len >= OLD_OPTIONS) {
		field_settle(findings, ATTRIBUTE_DATABASE, bytes + OLD_DATABASE, OLD_USER - OLD_DATABASE);
		field_settle(findings, ATTRIBUTE_USER, bytes + OLD_USER, OLD_OPTIONS - OLD_USER);
	}
	return VERDICT_YES;
}

static enum verdict request_match(size_t total, size_t min, size_t max, struct findings *findings)
{
	if (total < min || total > max)
		return VERDICT_NO;
	both_close(findings);
	return VERDICT_YES;
}

/* The length alone, and as much of the code as all codes have in common. */
static enum verdict header_match(const uint8_t *bytes, size_t len)
{
	if ((len > 0 && bytes[0] != 0) || (len > 1 && bytes[1] != 0))
		return VERDICT_NO;
	if (len > 3 && (look_be32(bytes) < REQUEST_LEN || look_be32(bytes) > STARTUP_LEN_MAX))
		return VERDICT_NO;
	if (len > 4 && bytes[4] != 0x04 && bytes[4] != 0)
		return VERDICT_NO;
	if (len > 5 && bytes[5] != (bytes[4] ? 0xd2 : 3) && (bytes[4] || bytes[5] != 2))
		return VERDICT_NO;
	return len < HEADER_LEN ? VERDICT_MORE : VERDICT_YES;
}

enum verdict probe_postgres(const struct evidence *evidence, struct findings *findings)
{
	size_t len = evidence_len(evidence);
	const uint8_t *bytes = evidence->bytes;

	enum verdict verdict = header_match(bytes, len);
	if (verdict != VERDICT_YES)
		return verdict;
	size_t total = look_be32(bytes);
	switch (look_be32(bytes + 4)) {
	case CODE_TLS:
	case CODE_GSS:
		return request_match(total, REQUEST_LEN, REQUEST_LEN, findings);
	case CODE_CANCEL:
		return request_match(total, CANCEL_LEN_MIN, CANCEL_LEN_MAX, findings);
	case CODE_OLD:
		return total == OLD_LEN ? old_match(bytes, len, findings) : VERDICT_NO;
	default:
		return bytes[5] == 3 ? startup_match(bytes, len, total, findings) : VERDICT_NO;
	}
}
