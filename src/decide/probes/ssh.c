/* SSH by its identification string, RFC 4253 4.2 and 5.1:
 *
 *     SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n        protoversion: one or two digits, a point, one or two digits
 *         ~~~~ `version`
 *
 * YES with the minus behind the version: nothing else begins so, and of softwareversion clients send what RFC 4253 does
 * not allow (nothing at all, a minus in it). Versions that never were ("9.9", of scanners) are for the server to refuse.
 * Refuses lines before the identification, which only a server may send. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

#define IDENTIFICATION     "SSH-"
#define IDENTIFICATION_LEN (sizeof(IDENTIFICATION) - 1)
#define DIGITS_MAX         2

/* One or two digits and the byte that ends them. */
static enum verdict number_skip(const uint8_t *bytes, size_t len, size_t *at, uint8_t end)
{
	size_t n = 0;

	while (*at + n < len && n < DIGITS_MAX && bytes[*at + n] >= '0' && bytes[*at + n] <= '9')
		n++;
	if (*at + n == len)
		return VERDICT_MORE;
	if (n == 0 || bytes[*at + n] != end)
		return VERDICT_NO;
	*at += n + 1;
	return VERDICT_YES;
}

enum verdict probe_ssh(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence_len(evidence), at = IDENTIFICATION_LEN;

	enum verdict verdict = look_literal(bytes, len, IDENTIFICATION, IDENTIFICATION_LEN);
	if (verdict == VERDICT_YES)
		verdict = number_skip(bytes, len, &at, '.');
	if (verdict == VERDICT_YES)
		verdict = number_skip(bytes, len, &at, '-');
	if (verdict == VERDICT_YES)
		finding_settle(findings, ATTRIBUTE_VERSION, bytes + IDENTIFICATION_LEN, at - 1 - IDENTIFICATION_LEN);
	return verdict;
}
