/* FTP by what a client says first that does not wait for the server, or once it has spoken: RFC 959 4.1, RFC 2389, 2428
 * and 4217.
 *
 *     AUTH TLS\r\n        also AUTH SSL, FEAT, SYST, PASV, EPSV, CLNT, OPTS UTF8     YES with the byte behind it
 *     USER alice\r\n      only behind a greeting of FTP or SMTP: one word            YES with the line's end
 *
 * Refuses USER without such a greeting, since POP3 has it too, and QUIT and NOOP, which are everybody's. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"
#include "server_banner.h"

#define NAME_LEN_MAX 255

static enum verdict user_match(const uint8_t *bytes, size_t len)
{
	size_t at = 5;

	enum verdict verdict = look_word(bytes, len, "user ", 5);
	if (verdict != VERDICT_YES)
		return verdict;
	while (at < len && at < NAME_LEN_MAX && bytes[at] > ' ' && bytes[at] != 0x7f)
		at++;
	if (at == NAME_LEN_MAX)
		return VERDICT_NO;
	return at == 5 && len > 5 ? VERDICT_NO : look_line_end(bytes + at, len - at);
}

enum verdict probe_ftp(const struct evidence *evidence, struct findings *findings)
{
	static const struct look_entry words[] = { LOOK_ENTRY("auth tls\n"), LOOK_ENTRY("auth ssl\n"),
		LOOK_ENTRY("auth tls-c\n"), LOOK_ENTRY("feat\n"), LOOK_ENTRY("syst\n"), LOOK_ENTRY("pasv\n"),
		LOOK_ENTRY("epsv\n"), LOOK_ENTRY("clnt "), LOOK_ENTRY("opts utf8 ") };
	size_t len = evidence_len(evidence);

	enum verdict verdict = look_words(evidence->bytes, len, words, sizeof(words) / sizeof(words[0]));
	if (verdict == VERDICT_NO && evidence->greeting == 1 + SERVER_BANNER_220)
		verdict = user_match(evidence->bytes, len);
	return verdict;
}
