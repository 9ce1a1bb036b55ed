/* NATS by what its client says once the server has sent INFO, "NATS Client Protocol"; some do not wait.
 *
 *     CONNECT {"verbose":false,...}\r\n       in either case; white space between
 *              ^ YES
 *
 * Refuses PING, PUB and SUB first: they need a CONNECT before. HTTP's CONNECT names a host instead. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

#define SPACES_MAX 8

enum verdict probe_nats(const struct evidence *evidence, struct findings *findings)
{
	size_t len = evidence_len(evidence), at = 8;
	const uint8_t *bytes = evidence->bytes;

	enum verdict verdict = look_word(bytes, len, "connect ", 8);
	if (verdict != VERDICT_YES)
		return verdict;
	while (at < len && at < 8 + SPACES_MAX && (bytes[at] == ' ' || bytes[at] == '\t'))
		at++;
	if (at == len)
		return VERDICT_MORE;
	if (bytes[at] != '{')
		return VERDICT_NO;
	if (at + 1 == len)
		return VERDICT_MORE;
	return bytes[at + 1] == '"' || bytes[at + 1] == '}' || bytes[at + 1] == ' ' ? VERDICT_YES : VERDICT_NO;
}
