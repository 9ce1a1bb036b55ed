/* SIP by its first line, RFC 3261 7.1 and 7.2, over TCP and in datagrams.
 *
 *     *8CRLF  INVITE sip:bob@example.com SIP/2.0\r\n       any method; any scheme: sip, sips, tel, urn
 *                       ^ YES                  ^ or here    the methods below with sip or sips; else
 *     SIP/2.0 200 OK\r\n                                   an answer, of a client that is a server as well
 *                ^ YES
 *
 * `host` is that of a request's sip: or sips: URI, once that has ended; of other schemes and of answers it settles as absent.
 * Empty lines before it keep a connection alive (RFC 5626 4.4.1). Refuses the keep-alive alone, which is anybody's, and a
 * target without a scheme, which is HTTP's or RTSP's. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"
#include "request_line.h"

#include <string.h>

#define SCHEME_MAX 32
#define VERSION    "sip/2.0"

static bool is_letter(uint8_t c)
{
	return look_lower(c) >= 'a' && look_lower(c) <= 'z';
}

/* RFC 3986 3.1, with its colon. */
static enum verdict scheme_match(const uint8_t *bytes, size_t len)
{
	size_t n = 0;

	while (n < len && n < SCHEME_MAX &&
		(is_letter(bytes[n]) ||
			(n > 0 &&
				((bytes[n] >= '0' && bytes[n] <= '9') || bytes[n] == '+' || bytes[n] == '-' ||
					bytes[n] == '.'))))
		n++;
	if (n == len && n < SCHEME_MAX)
		return VERDICT_MORE;
	return n > 0 && n < SCHEME_MAX && bytes[n] == ':' ? VERDICT_YES : VERDICT_NO;
}

/* RFC 3261, 3262, 3265, 3311, 3428, 3515, 3903, 6086. bytes[0 .. len) end with the method, empty lines before it. */
static bool method_is_known(const uint8_t *bytes, size_t len)
{
	static const char *const methods[] = { "INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "PRACK",
		"SUBSCRIBE", "NOTIFY", "PUBLISH", "INFO", "REFER", "MESSAGE", "UPDATE" };

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		size_t n = strlen(methods[i]);
		if (len >= n && memcmp(bytes + len - n, methods[i], n) == 0 &&
			(len == n || bytes[len - n - 1] == '\n'))
			return true;
	}
	return false;
}

static enum verdict request_match(const uint8_t *bytes, size_t len, struct findings *findings)
{
	size_t target;

	enum verdict verdict = request_method_skip(bytes, len, &target);
	if (verdict == VERDICT_YES)
		verdict = scheme_match(bytes + target, len - target);
	bool is_sip = verdict == VERDICT_YES &&
		(look_word(bytes + target, len - target, "sip:", 4) == VERDICT_YES ||
			look_word(bytes + target, len - target, "sips:", 5) == VERDICT_YES);
	if (verdict == VERDICT_YES && !(is_sip && method_is_known(bytes, target - 1)))
		verdict = request_target_match(bytes, len, target, VERSION);
	if (verdict == VERDICT_YES && is_sip)
		request_host_settle(findings, bytes, len, target);
	else if (verdict == VERDICT_YES)
		finding_close(findings, ATTRIBUTE_HOST);
	return verdict;
}

enum verdict probe_sip(const struct evidence *evidence, struct findings *findings)
{
	size_t len = evidence_len(evidence);

	if (len == 0)
		return VERDICT_MORE;
	enum verdict verdict = response_match(evidence->bytes, len, VERSION);
	if (verdict == VERDICT_YES)
		finding_close(findings, ATTRIBUTE_HOST);
	return verdict == VERDICT_NO ? request_match(evidence->bytes, len, findings) : verdict;
}

enum verdict probe_sip_datagram(const struct evidence *evidence, struct findings *findings)
{
	if (probe_sip(evidence, findings) != VERDICT_YES)
		return VERDICT_NO;
	finding_close(findings, ATTRIBUTE_HOST); /* nothing follows */
	return VERDICT_YES;
}
