/* SMTP, IMAP and POP3 by what their clients say first, where they do not wait for the server, or once it has spoken:
 * RFC 5321 4.1.1.1 and RFC 2033 4.1, RFC 9051 2.2.1, RFC 1939 and 2449.
 *
 *     EHLO client.example\r\n       smtp: EHLO, HELO, LHLO, MAIL FROM:         YES with the byte behind the word
 *     a001 CAPABILITY\r\n           imap: a tag of 1..16 letters, digits, dots, with a digit in it or of one byte,
 *                                   and one of the commands below              YES with the byte behind it
 *     CAPA\r\n                      pop3: CAPA, STLS, APOP; behind a greeting of POP3 also USER and AUTH
 *
 * Refuses what is not one protocol's alone: USER, which is FTP's as well, AUTH, QUIT, NOOP. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"
#include "server_banner.h"

#define TAG_MAX    16
#define LEN(array) (sizeof(array) / sizeof((array)[0]))

enum verdict probe_smtp(const struct evidence *evidence, struct findings *findings)
{
	static const struct look_entry words[] = { LOOK_ENTRY("ehlo "), LOOK_ENTRY("ehlo\n"), LOOK_ENTRY("helo "),
		LOOK_ENTRY("helo\n"), LOOK_ENTRY("lhlo "), LOOK_ENTRY("mail from:") };

	return look_words(evidence->bytes, evidence_len(evidence), words, LEN(words));
}

enum verdict probe_pop3(const struct evidence *evidence, struct findings *findings)
{
	/* The first ones need no greeting. */
	static const struct look_entry words[] = { LOOK_ENTRY("capa\n"), LOOK_ENTRY("stls\n"), LOOK_ENTRY("apop "),
		LOOK_ENTRY("user "), LOOK_ENTRY("auth "), LOOK_ENTRY("auth\n") };
	size_t n = evidence->greeting == 1 + SERVER_BANNER_POP3 ? LEN(words) : 3;

	return look_words(evidence->bytes, evidence_len(evidence), words, n);
}

/* A tag and the space behind it. */
static enum verdict tag_skip(const uint8_t *bytes, size_t len, size_t *ret_len)
{
	bool has_digit = false;
	size_t n = 0;

	for (; n < len && n <= TAG_MAX && bytes[n] != ' '; n++) {
		uint8_t c = look_lower(bytes[n]);
		bool is_digit = c >= '0' && c <= '9';
		if (!is_digit && !(c >= 'a' && c <= 'z') && c != '.')
			return VERDICT_NO;
		has_digit = has_digit || is_digit;
	}
	if (n > TAG_MAX)
		return VERDICT_NO;
	if (n == len)
		return VERDICT_MORE;
	*ret_len = n + 1;
	return has_digit || n == 1 ? VERDICT_YES : VERDICT_NO;
}

enum verdict probe_imap(const struct evidence *evidence, struct findings *findings)
{
	static const struct look_entry commands[] = { LOOK_ENTRY("capability\n"), LOOK_ENTRY("login "),
		LOOK_ENTRY("authenticate "), LOOK_ENTRY("starttls\n"), LOOK_ENTRY("id ("), LOOK_ENTRY("id nil\n"),
		LOOK_ENTRY("noop\n"), LOOK_ENTRY("logout\n") };
	size_t len = evidence_len(evidence), at;

	enum verdict verdict = tag_skip(evidence->bytes, len, &at);
	return verdict == VERDICT_YES ? look_words(evidence->bytes + at, len - at, commands, LEN(commands)) : verdict;
}
