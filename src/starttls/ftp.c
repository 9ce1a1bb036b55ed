/* FTP, RFC 4217. Of the control connection: those for data go to the server's own addresses and ports.
 *
 *     greeting  220 ready
 *     client    FEAT      ->  211-, AUTH TLS, 211
 *               AUTH TLS  ->  234, and TLS; likewise TLS-C
 *               QUIT      ->  221, and the end; NOOP, OPTS, CLNT: 200; else 530
 *     server    220       ->  AUTH TLS;  234, and TLS
 *
 * Refuses AUTH SSL, after which data would be sent otherwise. */
#include "starttls_kind.h"

enum { SERVER_GREETS, SERVER_AGREES };

static enum starttls_step hear_client(struct starttls *starttls, const uint8_t *bytes, size_t len, size_t *ret_taken)
{
	struct starttls_line line;

	if (!starttls_line_read(&line, bytes, len, ret_taken))
		return STARTTLS_MORE;
	if (starttls_line_is(&line, "AUTH TLS") || starttls_line_is(&line, "AUTH TLS-C")) {
		starttls_say_text(starttls, "234 begin TLS\r\n");
		return STARTTLS_TLS;
	}
	if (starttls_line_is(&line, "QUIT")) {
		starttls_say_text(starttls, "221 bye\r\n");
		return STARTTLS_REFUSED;
	}
	if (starttls_line_is(&line, "FEAT"))
		starttls_say_text(starttls, "211-Features:\r\n AUTH TLS\r\n211 End\r\n");
	else if (starttls_line_is(&line, "AUTH"))
		starttls_say_text(starttls, "504 AUTH TLS is known alone\r\n");
	else if (starttls_line_is(&line, "NOOP") || starttls_line_is(&line, "OPTS") ||
		starttls_line_is(&line, "CLNT"))
		starttls_say_text(starttls, "200 OK\r\n");
	else
		starttls_say_text(starttls, "530 AUTH TLS is needed first\r\n");
	return STARTTLS_ON;
}

static enum starttls_step hear_server(struct starttls *starttls, const uint8_t *bytes, size_t len, size_t *ret_taken)
{
	struct starttls_line line;

	if (!starttls_line_read(&line, bytes, len, ret_taken))
		return STARTTLS_MORE;
	enum starttls_step step =
		starttls_reply_read(starttls, &line, starttls->state == SERVER_GREETS ? "220" : "234");
	if (step != STARTTLS_TLS || starttls->state == SERVER_AGREES)
		return step;
	starttls->state = SERVER_AGREES;
	starttls_say_text(starttls, "AUTH TLS\r\n");
	return STARTTLS_ON;
}

const struct starttls_protocol starttls_ftp = {
	.name = "ftp",
	.probe = { .name = "ftp-starttls", .stream = probe_ftp },
	.greeting = "220 ready\r\n",
	.hear_client = hear_client,
	.hear_server = hear_server,
};
