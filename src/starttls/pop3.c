/* POP3, RFC 2595 4.
 *
 *     greeting  +OK ready
 *     client    CAPA   ->  +OK, STLS, .
 *               STLS   ->  +OK, and TLS
 *               QUIT   ->  +OK, and the end; else -ERR
 *     server    +OK    ->  STLS;  +OK, and TLS */
#include "starttls_kind.h"

enum { SERVER_GREETS, SERVER_AGREES };

static enum starttls_step hear_client(struct starttls *starttls, const uint8_t *bytes, size_t len, size_t *ret_taken)
{
	struct starttls_line line;

	if (!starttls_line_read(&line, bytes, len, ret_taken))
		return STARTTLS_MORE;
	if (starttls_line_is(&line, "STLS")) {
		starttls_say_text(starttls, "+OK begin TLS\r\n");
		return STARTTLS_TLS;
	}
	if (starttls_line_is(&line, "QUIT")) {
		starttls_say_text(starttls, "+OK bye\r\n");
		return STARTTLS_REFUSED;
	}
	starttls_say_text(
		starttls, starttls_line_is(&line, "CAPA") ? "+OK\r\nSTLS\r\n.\r\n" : "-ERR STLS is needed first\r\n");
	return STARTTLS_ON;
}

static enum starttls_step hear_server(struct starttls *starttls, const uint8_t *bytes, size_t len, size_t *ret_taken)
{
	struct starttls_line line;

	if (!starttls_line_read(&line, bytes, len, ret_taken))
		return STARTTLS_MORE;
	if (!starttls_line_is(&line, "+OK"))
		return STARTTLS_REFUSED;
	if (starttls->state == SERVER_AGREES)
		return STARTTLS_TLS;
	starttls->state = SERVER_AGREES;
	starttls_say_text(starttls, "STLS\r\n");
	return STARTTLS_ON;
}

const struct starttls_protocol starttls_pop3 = {
	.name = "pop3",
	.probe = { .name = "pop3-starttls", .stream = probe_pop3 },
	.greeting = "+OK ready\r\n",
	.hear_client = hear_client,
	.hear_server = hear_server,
};
