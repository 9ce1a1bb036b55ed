/* IMAP, RFC 9051 6.2.1.
 *
 *     greeting  * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready
 *     client    tag CAPABILITY  ->  the same again;  tag ID ...  ->  * ID NIL;  tag NOOP
 *               tag STARTTLS    ->  tag OK, and TLS
 *               tag LOGOUT      ->  * BYE, and the end; else tag NO
 *     server    * OK            ->  u STARTTLS;  u OK, and TLS; lines with * are passed over
 *
 * Refuses literals, which come in more than one line, tags of other characters than RFC 9051 has for them, and a server that knows the client
 * already (PREAUTH), since TLS cannot begin there. */
#include "starttls_kind.h"
#include <ctype.h>
#include <string.h>

#define CAPABILITIES "CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED"
#define TAG_LEN_MAX  64

enum { SERVER_GREETS, SERVER_AGREES };

static void say_tagged(struct starttls *starttls, const struct starttls_line *tag, const char *text)
{
	starttls_say(starttls, tag->at, tag->len);
	starttls_say_text(starttls, text);
}

/* The line without its tag. False: it has none. */
static bool tag_split(struct starttls_line *line, struct starttls_line *ret_tag)
{
	size_t n = 0;

	while (n < line->len && n < TAG_LEN_MAX && isgraph((unsigned char)line->at[n]) &&
		!strchr("(){%*\"\\+", line->at[n]))
		n++;
	if (n == 0 || n + 1 >= line->len || line->at[n] != ' ')
		return false;
	*ret_tag = (struct starttls_line){ line->at, n };
	*line = (struct starttls_line){ line->at + n + 1, line->len - n - 1 };
	return true;
}

static enum starttls_step hear_client(struct starttls *starttls, const uint8_t *bytes, size_t len, size_t *ret_taken)
{
	struct starttls_line line, tag;

	if (!starttls_line_read(&line, bytes, len, ret_taken))
		return STARTTLS_MORE;
	if (!tag_split(&line, &tag) || line.at[line.len - 1] == '}') {
		starttls_say_text(starttls, "* BAD not understood\r\n");
		return STARTTLS_REFUSED;
	}
	if (starttls_line_is(&line, "STARTTLS")) {
		say_tagged(starttls, &tag, " OK begin TLS\r\n");
		return STARTTLS_TLS;
	}
	bool leaves = starttls_line_is(&line, "LOGOUT");
	bool is_known = leaves || starttls_line_is(&line, "NOOP");
	if (leaves)
		starttls_say_text(starttls, "* BYE\r\n");
	if (starttls_line_is(&line, "CAPABILITY")) {
		starttls_say_text(starttls, "* " CAPABILITIES "\r\n");
		is_known = true;
	} else if (starttls_line_is(&line, "ID")) {
		starttls_say_text(starttls, "* ID NIL\r\n");
		is_known = true;
	}
	say_tagged(starttls, &tag, is_known ? " OK done\r\n" : " NO STARTTLS is needed first\r\n");
	return leaves ? STARTTLS_REFUSED : STARTTLS_ON;
}

static enum starttls_step hear_server(struct starttls *starttls, const uint8_t *bytes, size_t len, size_t *ret_taken)
{
	struct starttls_line line;

	if (!starttls_line_read(&line, bytes, len, ret_taken))
		return STARTTLS_MORE;
	if (starttls->state == SERVER_GREETS) {
		if (!starttls_line_is(&line, "* OK"))
			return STARTTLS_REFUSED;
		starttls->state = SERVER_AGREES;
		starttls_say_text(starttls, "u STARTTLS\r\n");
		return STARTTLS_ON;
	}
	if (starttls_line_is(&line, "*"))
		return STARTTLS_ON;
	return starttls_line_is(&line, "U OK") ? STARTTLS_TLS : STARTTLS_REFUSED;
}

const struct starttls_protocol starttls_imap = {
	.name = "imap",
	.probe = { .name = "imap-starttls", .stream = probe_imap },
	.greeting = "* OK [" CAPABILITIES "] ready\r\n",
	.hear_client = hear_client,
	.hear_server = hear_server,
};
