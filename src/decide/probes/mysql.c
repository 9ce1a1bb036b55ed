/* MySQL and MariaDB by what the client says once the server has greeted it: "Protocol::HandshakeResponse41" and
 * "Protocol::SSLRequest" of MySQL's documentation. A client that nobody has greeted says nothing.
 *
 *     LL LL LL | 01 | cc cc cc cc | max packet[4] | cs | 00[19] | 00[4] | alice 00 | ...      32 bytes alone: SSLRequest
 *     length   seq.   capabilities                  charset      MariaDB: its own ^ YES
 *
 * The few lengths that would begin like a SOCKS 5 client's methods are refused, since such a client waits behind them.
 *
 * YES with the zero bytes, where the capabilities name the protocol of 4.1 and, in a packet of 32 bytes, TLS; the length
 * is at least what they promise. `user` is the name behind it, `database` is left out: it lies behind the password.
 *
 * Refuses the older responses, which nothing proves, and the X protocol, whose clients begin with a message of five
 * bytes. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

#include <string.h>

enum {
	HEADER_LEN = 4,
	FIXED_LEN = 32,
	ZEROS = HEADER_LEN + 4 + 4 + 1,
	ZEROS_END = ZEROS + 19,
	SOCKS_METHODS_MAX = 8,
	CAPABILITY_41 = 0x0200,
	CAPABILITY_TLS = 0x0800,
};

/* The name ends with a zero byte; bytes[0 .. len) of what the packet has. */
static void user_settle(struct findings *findings, const uint8_t *bytes, size_t len, size_t total)
{
	size_t start = HEADER_LEN + FIXED_LEN;

	if (total == start) {
		finding_settle(findings, ATTRIBUTE_USER, NULL, 0);
		return;
	}
	const uint8_t *end = len > start ? memchr(bytes + start, 0, len - start) : NULL;
	if (end || len == total)
		finding_settle_text(findings, ATTRIBUTE_USER, bytes + start, end ? (size_t)(end - bytes) - start : 0);
}

enum verdict probe_mysql(const struct evidence *evidence, struct findings *findings)
{
	size_t len = evidence_len(evidence);
	const uint8_t *bytes = evidence->bytes;

	if (len > 2 && (bytes[2] != 0 || look_le16(bytes) < FIXED_LEN))
		return VERDICT_NO;
	if (len > 1 && bytes[0] == 5 && bytes[1] >= 1 && bytes[1] <= SOCKS_METHODS_MAX)
		return VERDICT_NO;
	if ((len > 3 && bytes[3] != 1) || (len > 5 && !(look_le16(bytes + 4) & CAPABILITY_41)))
		return VERDICT_NO;
	if (len > 5 && look_le16(bytes) == FIXED_LEN && !(look_le16(bytes + 4) & CAPABILITY_TLS))
		return VERDICT_NO;
	for (size_t i = ZEROS; i < ZEROS_END && i < len; i++)
		if (bytes[i] != 0)
			return VERDICT_NO;
	if (len < ZEROS_END)
		return VERDICT_MORE;
	size_t total = HEADER_LEN + look_le16(bytes);
	user_settle(findings, bytes, len < total ? len : total, total);
	return VERDICT_YES;
}
