/* The kinds of banners, by their first bytes and their last line.
 *
 *     220-mail.example ESMTP CRLF        a reply of several lines: a hyphen in all but the last
 *     220 ready CRLF
 *     +OK ready CRLF
 *     * OK [CAPABILITY IMAP4rev1] ready CRLF
 *
 * Refuses to tell protocols whose banner is theirs alone (ssh, vnc, mysql): there is nothing to decide after them, and ssh's
 * is signed later, so another server's cannot stand for it. Owns no memory. */
#include "server_banner.h"
#include <string.h>

static const struct {
	const char *begin;
	enum server_banner kind;
	bool has_lines; /* a hyphen in place of the begin's last byte: another line follows */
} begins[] = {
	{ "220 ", SERVER_BANNER_220, true },
	{ "+OK", SERVER_BANNER_POP3, false },
	{ "* OK", SERVER_BANNER_IMAP, false },
	{ "* PREAUTH", SERVER_BANNER_IMAP, false },
};

static const struct {
	enum server_banner kind;
	const char *protocol;
} fits[] = {
	{ SERVER_BANNER_220, "smtp" },
	{ SERVER_BANNER_220, "ftp" },
	{ SERVER_BANNER_POP3, "pop3" },
	{ SERVER_BANNER_IMAP, "imap" },
};

/* YES: the line begins so and is the last one. MORE: as far as the bytes go, or another line follows. */
static enum verdict begin_match(size_t i, const uint8_t *line, size_t len)
{
	const char *begin = begins[i].begin;
	size_t begin_len = strlen(begin);

	for (size_t at = 0; at < begin_len; at++) {
		if (at == len)
			return VERDICT_MORE;
		if (line[at] == (uint8_t)begin[at])
			continue;
		return begins[i].has_lines && at == begin_len - 1 && line[at] == '-' ? VERDICT_MORE : VERDICT_NO;
	}
	return VERDICT_YES;
}

/* The whole of it, line by line. */
static enum verdict lines_match(size_t i, const uint8_t *bytes, size_t len, size_t *ret_len)
{
	for (size_t at = 0;;) {
		enum verdict verdict = begin_match(i, bytes + at, len - at);
		const uint8_t *end = memchr(bytes + at, '\n', len - at);
		if (verdict == VERDICT_NO || !end)
			return verdict == VERDICT_NO ? VERDICT_NO : VERDICT_MORE;
		at = (size_t)(end + 1 - bytes);
		*ret_len = at;
		if (verdict == VERDICT_YES)
			return VERDICT_YES;
	}
}

enum verdict server_banner_read(const uint8_t *bytes, size_t len, enum server_banner *ret_kind, size_t *ret_len)
{
	enum verdict verdict = VERDICT_NO;

	for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++) {
		enum verdict one = lines_match(i, bytes, len, ret_len);
		if (one == VERDICT_YES) {
			*ret_kind = begins[i].kind;
			return VERDICT_YES;
		}
		if (one == VERDICT_MORE)
			verdict = VERDICT_MORE;
	}
	return len < SERVER_BANNER_MAX ? verdict : VERDICT_NO;
}

bool server_banner_fits(enum server_banner kind, const char *protocol)
{
	for (size_t i = 0; i < sizeof(fits) / sizeof(fits[0]); i++)
		if (fits[i].kind == kind && strcmp(fits[i].protocol, protocol) == 0)
			return true;
	return false;
}
