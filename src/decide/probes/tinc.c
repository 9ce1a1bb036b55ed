/* tinc's meta protocol by the ID request, tinc's manual, "The meta-protocol".
 *
 *     0 alice 17 LF
 *     0 alice 17.7 LF     1.1; an invited node has ?KEY in place of its name
 *       name  version ^ YES
 *
 * A name has letters, digits and underscores. Refuses the requests of a controlling program (0 ^...), which come over a local
 * socket. tinc's datagrams cannot be told from noise. Owns no memory. */
#include "look.h"
#include "probe.h"

enum {
	NAME_MAX_LEN = 256,
	VERSION_MIN = 8,
	VERSION_MAX = 17,
	MINOR_DIGITS = 2,
};

static bool is_digit(uint8_t byte)
{
	return byte >= '0' && byte <= '9';
}

static bool is_name_byte(uint8_t byte, bool is_key)
{
	uint8_t c = look_lower(byte);

	return (c >= 'a' && c <= 'z') || is_digit(c) || c == '_' || (is_key && (c == '-' || c == '+' || c == '/'));
}

/* Behind the blank: the version and the end of the line. */
static enum verdict version_match(const uint8_t *bytes, size_t len)
{
	uint32_t version = 0;
	size_t at = 0;

	while (at < len && at < 2 && is_digit(bytes[at]))
		version = version * 10 + (bytes[at++] - '0');
	if (at == len)
		return VERDICT_MORE;
	if (at == 0 || bytes[0] == '0' || version < VERSION_MIN || version > VERSION_MAX)
		return VERDICT_NO;
	if (bytes[at] == '.') {
		size_t minor = ++at;
		while (at < len && at - minor < MINOR_DIGITS && is_digit(bytes[at]))
			at++;
		if (at == len)
			return VERDICT_MORE;
		if (at == minor)
			return VERDICT_NO;
	}
	return look_line_end(bytes + at, len - at);
}

enum verdict probe_tinc(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence->len, at = 2;

	enum verdict verdict = look_literal(bytes, len, "0 ", 2);
	if (verdict != VERDICT_YES)
		return verdict;
	bool is_key = len > at && bytes[at] == '?';
	size_t name = at += is_key;
	while (at < len && at - name < NAME_MAX_LEN && is_name_byte(bytes[at], is_key))
		at++;
	if (at == len)
		return VERDICT_MORE;
	return at > name && bytes[at] == ' ' ? version_match(bytes + at + 1, len - at - 1) : VERDICT_NO;
}
