/* rsync's daemon by the greeting that both sides send at once, without waiting for the other's; csprotocol.txt in rsync's
 * sources.
 *
 *     @RSYNCD: 31.0 sha512 md5 LF
 *              ^ YES: a digit
 *
 * rsync through a remote shell is that shell's. Owns no memory. */
#include "look.h"
#include "probe.h"

#define GREETING "@RSYNCD: "

enum verdict probe_rsync(const struct evidence *evidence, struct findings *findings)
{
	size_t at = sizeof(GREETING) - 1;

	enum verdict verdict = look_literal(evidence->bytes, evidence->len, GREETING, at);
	if (verdict != VERDICT_YES)
		return verdict;
	if (evidence->len == at)
		return VERDICT_MORE;
	return evidence->bytes[at] >= '1' && evidence->bytes[at] <= '9' ? VERDICT_YES : VERDICT_NO;
}
