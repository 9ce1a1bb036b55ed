/* SSH by its identification string, RFC 4253 4.2 and 5.1:
 *
 *     SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n
 *         ~~~ `version`: one or two digits, a point, one or two digits, and what ends them
 *
 * YES with the first minus: no other protocol begins so, and what follows it is for the server to judge. Clients send
 * what RFC 4253 does not allow: no softwareversion, a minus or a blank in it, a blank in place of the second minus,
 * versions that never were. Refuses lines before the identification, which only a server may send. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"
#include <string.h>

#define IDENTIFICATION     "SSH-"
#define IDENTIFICATION_LEN (sizeof(IDENTIFICATION) - 1)
#define DIGITS_MAX         2
#define POINT              "."
#define VERSION_ENDS       "- \r\n"

/* One or two digits, and behind them one of these bytes, which `*at` is moved to. */
static enum verdict number_skip(const uint8_t *bytes, size_t len, size_t *at, const char *ends)
{
	size_t n = 0;

	while (*at + n < len && n < DIGITS_MAX && bytes[*at + n] >= '0' && bytes[*at + n] <= '9')
		n++;
	if (*at + n == len)
		return VERDICT_MORE;
	if (n == 0 || !memchr(ends, bytes[*at + n], strlen(ends)))
		return VERDICT_NO;
	*at += n;
	return VERDICT_YES;
}

static void version_learn(const uint8_t *bytes, size_t len, struct findings *findings)
{
	size_t at = IDENTIFICATION_LEN;

	enum verdict verdict = number_skip(bytes, len, &at, POINT);
	if (verdict == VERDICT_YES) {
		at++;
		verdict = number_skip(bytes, len, &at, VERSION_ENDS);
	}
	if (verdict != VERDICT_MORE)
		finding_settle(findings, ATTRIBUTE_VERSION, bytes + IDENTIFICATION_LEN,
			verdict == VERDICT_YES ? at - IDENTIFICATION_LEN : 0);
}

enum verdict probe_ssh(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence_len(evidence);

	enum verdict verdict = look_literal(bytes, len, IDENTIFICATION, IDENTIFICATION_LEN);
	if (verdict == VERDICT_YES)
		version_learn(bytes, len, findings);
	return verdict;
}
