/* SMTP, RFC 3207.
 *
 *     greeting  220 usher ESMTP
 *     client    EHLO name   ->  250-usher, 250 STARTTLS
 *               STARTTLS    ->  220, and TLS
 *               QUIT        ->  221, and the end; NOOP, RSET, HELO: 250; else 530
 *     server    220         ->  EHLO;  250, STARTTLS among its lines  ->  STARTTLS;  220, and TLS
 *
 * The server forgets before TLS who has said EHLO (RFC 3207 4.2), so that its name need not be the client's. Refuses a server that does not
 * offer STARTTLS. */
#include "starttls_kind.h"
#include <string.h>

enum { SERVER_GREETS, SERVER_OFFERS, SERVER_AGREES };

static enum starttls_step hear_client(struct starttls *starttls, const uint8_t *bytes, size_t len, size_t *ret_taken)
{
	struct starttls_line line;

	if (!starttls_line_read(&line, bytes, len, ret_taken))
		return STARTTLS_MORE;
	if (starttls_line_is(&line, "STARTTLS")) {
		starttls_say_text(starttls, "220 begin TLS\r\n");
		return STARTTLS_TLS;
	}
	if (starttls_line_is(&line, "QUIT")) {
		starttls_say_text(starttls, "221 bye\r\n");
		return STARTTLS_REFUSED;
	}
	if (starttls_line_is(&line, "EHLO"))
		starttls_say_text(starttls, "250-usher\r\n250 STARTTLS\r\n");
	else if (starttls_line_is(&line, "HELO") || starttls_line_is(&line, "NOOP") ||
		starttls_line_is(&line, "RSET"))
		starttls_say_text(starttls, "250 usher\r\n");
	else
		starttls_say_text(starttls, "530 STARTTLS is needed first\r\n");
	return STARTTLS_ON;
}

static enum starttls_step hear_server(struct starttls *starttls, const uint8_t *bytes, size_t len, size_t *ret_taken)
{
	static const char *const codes[] = {
		[SERVER_GREETS] = "220", [SERVER_OFFERS] = "250", [SERVER_AGREES] = "220"
	};
	struct starttls_line line;

	if (!starttls_line_read(&line, bytes, len, ret_taken))
		return STARTTLS_MORE;
	enum starttls_step step = starttls_reply_read(starttls, &line, codes[starttls->state]);
	if (step != STARTTLS_REFUSED && starttls->state == SERVER_OFFERS && line.len > 4)
		starttls->offers_tls |=
			starttls_line_is(&(struct starttls_line){ line.at + 4, line.len - 4 }, "STARTTLS");
	if (step != STARTTLS_TLS || starttls->state == SERVER_AGREES)
		return step;
	if (starttls->state == SERVER_OFFERS && !starttls->offers_tls)
		return STARTTLS_REFUSED;
	starttls_say_text(starttls, starttls->state == SERVER_GREETS ? "EHLO [127.0.0.1]\r\n" : "STARTTLS\r\n");
	starttls->state++;
	return STARTTLS_ON;
}

const struct starttls_protocol starttls_smtp = {
	.name = "smtp",
	.probe = { .name = "smtp-starttls", .stream = probe_smtp },
	.greeting = "220 usher ESMTP\r\n",
	.hear_client = hear_client,
	.hear_server = hear_server,
};
