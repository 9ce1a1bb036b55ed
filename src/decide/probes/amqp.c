/* AMQP by its protocol header: 0-8 to 0-9-1 ("General Protocol Specification" 4.2.2), 0-10, 1.0 (2.2, with SASL and TLS).
 *
 *     A M Q P | 00 00 09 01      0-9-1       A M Q P | 00 01 00 00      1.0; 02 its TLS, 03 its SASL
 *     A M Q P | 01 01 00 09      0-9         A M Q P | 01 01 00 0a      0-10; 01 01 08 00: 0-8
 *                         ^ YES
 *
 * Refuses other versions. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

enum verdict probe_amqp(const struct evidence *evidence, struct findings *findings)
{
	static const char versions[][4] = { "\0\0\x09\1", "\1\1\0\x09", "\1\1\0\x0a", "\1\1\x08\0", "\1\1\x09\1",
		"\0\1\0\0", "\2\1\0\0", "\3\1\0\0" };
	size_t len = evidence_len(evidence);

	enum verdict verdict = look_literal(evidence->bytes, len, "AMQP", 4);
	if (verdict != VERDICT_YES)
		return verdict;
	verdict = VERDICT_NO;
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		enum verdict one = look_literal(evidence->bytes + 4, len - 4, versions[i], sizeof(versions[i]));
		if (one != VERDICT_NO)
			verdict = one;
	}
	return verdict;
}
