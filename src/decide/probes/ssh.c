/* SSH by its identification string, RFC 4253 4.2 and 5.1:
 *
 *     SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n        protoversion "2.0", "1.99", or "1." and one or two digits
 *         ~~~~
 *
 * YES with the minus behind the version: nothing else begins so, and of softwareversion clients send what RFC 4253 does
 * not allow (nothing at all, a minus in it). Refuses lines before the identification (only a server may send them) and
 * other major versions. Owns no memory. */
#include "probe.h"

#include "finding.h"

#include <string.h>

/* As memcmp() of a prefix, three-valued. */
static enum verdict text_match(const uint8_t *bytes, size_t len, const char *text)
{
	size_t text_len = strlen(text);

	if (memcmp(bytes, text, len < text_len ? len : text_len) != 0)
		return VERDICT_NO;
	return len < text_len ? VERDICT_MORE : VERDICT_YES;
}

/* "2.0-" or "1." DIGIT [DIGIT] "-" */
static enum verdict version_match(const uint8_t *bytes, size_t len)
{
	size_t at = 2;

	if (len == 0)
		return VERDICT_MORE;
	if (bytes[0] == '2')
		return text_match(bytes, len, "2.0-");
	if (text_match(bytes, len, "1.") != VERDICT_YES)
		return text_match(bytes, len, "1.");
	while (at < len && at < 4 && bytes[at] >= '0' && bytes[at] <= '9')
		at++;
	if (at == len)
		return VERDICT_MORE;
	return at > 2 && bytes[at] == '-' ? VERDICT_YES : VERDICT_NO;
}

enum verdict probe_ssh(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence_len(evidence);

	if (len == 0)
		return VERDICT_MORE;
	enum verdict verdict = text_match(bytes, len, "SSH-");
	return verdict == VERDICT_YES ? version_match(bytes + 4, len - 4) : verdict;
}
