/* PostgreSQL, "SSL Session Encryption" and "GSSAPI Session Encryption" in the chapter "Message Flow" of its manual.
 *
 *     client   00 00 00 08 04 d2 16 30     GSSENCRequest, at most once  ->  N
 *              00 00 00 08 04 d2 16 2f     SSLRequest                   ->  S, and TLS
 *     server   the SSLRequest              ->  S, and TLS; N or an ErrorResponse: it has no TLS
 *
 * A client that was told that there is no encryption by GSSAPI and goes on without any is told what is wrong, in the words of the protocol.
 * Refuses everything else. */
#include "starttls_kind.h"
#include <string.h>

#define REQUEST_LEN 8

static const uint8_t tls_request[REQUEST_LEN] = { 0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f };
static const uint8_t gss_request[REQUEST_LEN] = { 0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30 };

/* ErrorResponse: its length counts itself, and each field and all of them end with a zero byte. */
static const char wants_tls[] = "E\0\0\0\067SFATAL\0VFATAL\0C28000\0Ma request for TLS is needed\0";

enum { CLIENT_NEW, CLIENT_HAS_ASKED_FOR_GSS };

static enum verdict request_probe(const struct evidence *evidence, struct findings *findings)
{
	size_t len = evidence->len < REQUEST_LEN ? evidence->len : REQUEST_LEN;

	if (memcmp(evidence->bytes, tls_request, len) != 0 && memcmp(evidence->bytes, gss_request, len) != 0)
		return VERDICT_NO;
	return len < REQUEST_LEN ? VERDICT_MORE : VERDICT_YES;
}

static enum starttls_step hear_client(struct starttls *starttls, const uint8_t *bytes, size_t len, size_t *ret_taken)
{
	if (len < REQUEST_LEN)
		return STARTTLS_MORE;
	*ret_taken = REQUEST_LEN;
	if (memcmp(bytes, tls_request, REQUEST_LEN) == 0) {
		starttls_say(starttls, "S", 1);
		return STARTTLS_TLS;
	}
	if (starttls->state == CLIENT_NEW && memcmp(bytes, gss_request, REQUEST_LEN) == 0) {
		starttls->state = CLIENT_HAS_ASKED_FOR_GSS;
		starttls_say(starttls, "N", 1);
		return STARTTLS_ON;
	}
	starttls_say(starttls, wants_tls, sizeof(wants_tls));
	return STARTTLS_REFUSED;
}

static void meet_server(struct starttls *starttls)
{
	starttls_say(starttls, tls_request, REQUEST_LEN);
}

static enum starttls_step hear_server(struct starttls *starttls, const uint8_t *bytes, size_t len, size_t *ret_taken)
{
	if (len == 0)
		return STARTTLS_MORE;
	*ret_taken = 1;
	return bytes[0] == 'S' ? STARTTLS_TLS : STARTTLS_REFUSED;
}

const struct starttls_protocol starttls_postgres = {
	.name = "postgres",
	.probe = { .name = "postgres-starttls", .stream = request_probe },
	.hear_client = hear_client,
	.hear_server = hear_server,
	.meet_server = meet_server,
};
