/* IRC by the lines with which a client registers, RFC 2812 3.1 and IRCv3's "Capability Negotiation".
 *
 *     CAP LS 302\r\n                      YES with the byte behind LS or REQ
 *     NICK alice\r\n                      YES with the name's first byte
 *     USER alice 0 * :Alice A.\r\n        YES with the first byte of the fourth parameter
 *     PASS secret\r\nNICK alice\r\n       PASS is passed over; YES with the line behind it
 *     WEBIRC ..., PROTOCTL ...            of gateways and servers; behind a PASS also SERVER and CAPAB
 *
 * Refuses USER with fewer parameters, which is FTP's and POP3's, and a line of more than LINE_MAX bytes. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

#define LINE_MAX_LEN 512 /* RFC 2812 2.3 */
#define LEN(array)   (sizeof(array) / sizeof((array)[0]))

static bool is_control(uint8_t c)
{
	return c < ' ' || c == 0x7f;
}

/* A letter or one of the special bytes of RFC 2812 2.3.1; servers take more than that. */
static bool is_name_start(uint8_t c)
{
	return (look_lower(c) >= 'a' && look_lower(c) <= 'z') || (c >= '[' && c <= '`') || (c >= '{' && c <= '}') ||
		c == ':' || c >= 0x80;
}

static enum verdict nick_match(const uint8_t *bytes, size_t len)
{
	enum verdict verdict = look_word(bytes, len, "nick ", 5);

	if (verdict != VERDICT_YES || len == 5)
		return verdict == VERDICT_YES ? VERDICT_MORE : verdict;
	return is_name_start(bytes[5]) ? VERDICT_YES : VERDICT_NO;
}

static enum verdict user_match(const uint8_t *bytes, size_t len)
{
	int parameters = 0;

	enum verdict verdict = look_word(bytes, len, "user ", 5);
	if (verdict != VERDICT_YES)
		return verdict;
	for (size_t at = 5; at < len && at < LINE_MAX_LEN; at++) {
		if (is_control(bytes[at]) || (bytes[at] == ' ' && bytes[at - 1] == ' '))
			return VERDICT_NO;
		if (bytes[at] != ' ' && bytes[at - 1] == ' ' && ++parameters == 4)
			return VERDICT_YES;
	}
	return len < LINE_MAX_LEN ? VERDICT_MORE : VERDICT_NO;
}

/* One line with a password, or the beginning of one. */
static enum verdict pass_skip(const uint8_t *bytes, size_t len, size_t *ret_len)
{
	size_t at = 5;

	enum verdict verdict = look_word(bytes, len, "pass ", 5);
	if (verdict != VERDICT_YES)
		return verdict;
	while (at < len && at < LINE_MAX_LEN && !is_control(bytes[at]))
		at++;
	if (at == LINE_MAX_LEN || (at == 5 && len > 5))
		return VERDICT_NO;
	*ret_len = at < len && bytes[at] == '\n' ? at + 1 : at + 2;
	return look_line_end(bytes + at, len - at);
}

static enum verdict line_match(const uint8_t *bytes, size_t len, bool is_behind_pass)
{
	static const struct look_entry words[] = { LOOK_ENTRY("cap ls\n"), LOOK_ENTRY("cap ls "),
		LOOK_ENTRY("cap req "), LOOK_ENTRY("webirc "), LOOK_ENTRY("protoctl "), LOOK_ENTRY("server "),
		LOOK_ENTRY("capab ") };

	enum verdict verdict = look_words(bytes, len, words, is_behind_pass ? LEN(words) : LEN(words) - 2);
	if (verdict == VERDICT_NO)
		verdict = nick_match(bytes, len);
	return verdict == VERDICT_NO ? user_match(bytes, len) : verdict;
}

enum verdict probe_irc(const struct evidence *evidence, struct findings *findings)
{
	size_t len = evidence_len(evidence), at;

	enum verdict verdict = line_match(evidence->bytes, len, false);
	if (verdict != VERDICT_NO)
		return verdict;
	verdict = pass_skip(evidence->bytes, len, &at);
	return verdict == VERDICT_YES ? line_match(evidence->bytes + at, len - at, true) : verdict;
}
