/* Syslog: RFC 5424 6.2, RFC 3164 4.1, and what devices send in their names; over TCP with its length in front (octet counting,
 * RFC 6587 3.4.1) or without, in a datagram alone (RFC 5426).
 *
 *     < 1 3 > N        a priority of 0 to 191 without zeros in front, and a character of whatever follows:
 *             ^ YES    "1 2026-..." (RFC 5424), "Nov 22 ..." (RFC 3164), a number of the message, or the text at once
 *     9 5   < 1 3 >    the length, 1 to 6 digits, and a blank before it
 *
 * Nothing else begins with a number in angle brackets: no name in XML does. Refuses a priority of which there is no such
 * facility. RELP and what is compressed are other protocols. Owns no memory. */
#include "look.h"
#include "probe.h"

enum {
	PRIORITY_MAX = 23 * 8 + 7,
	PRIORITY_DIGITS = 3,
	LENGTH_DIGITS = 6,
};

static bool is_digit(uint8_t byte)
{
	return byte >= '0' && byte <= '9';
}

/* A number of so many digits at most, without zeros in front; moves `*at` to behind it. */
static enum verdict number_read(const uint8_t *bytes, size_t len, size_t *at, size_t digits, uint32_t *ret)
{
	size_t n = 0;

	*ret = 0;
	while (*at + n < len && is_digit(bytes[*at + n])) {
		if (n == digits || (n == 1 && *ret == 0))
			return VERDICT_NO;
		*ret = *ret * 10 + (bytes[*at + n++] - '0');
	}
	*at += n;
	if (*at == len)
		return VERDICT_MORE;
	return n > 0 ? VERDICT_YES : VERDICT_NO;
}

static enum verdict priority_match(const uint8_t *bytes, size_t len)
{
	size_t at = 1;
	uint32_t priority;

	if (len == 0)
		return VERDICT_MORE;
	if (bytes[0] != '<')
		return VERDICT_NO;
	enum verdict verdict = number_read(bytes, len, &at, PRIORITY_DIGITS, &priority);
	if (priority > PRIORITY_MAX)
		return VERDICT_NO;
	if (verdict != VERDICT_YES)
		return verdict;
	if (bytes[at] != '>')
		return VERDICT_NO;
	if (++at == len)
		return VERDICT_MORE;
	return bytes[at] >= ' ' && bytes[at] != 0x7f ? VERDICT_YES : VERDICT_NO;
}

enum verdict probe_syslog(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence->len, at = 0;
	uint32_t message_len;

	if (len == 0 || !is_digit(bytes[0]))
		return priority_match(bytes, len);
	if (bytes[0] == '0')
		return VERDICT_NO;
	enum verdict verdict = number_read(bytes, len, &at, LENGTH_DIGITS, &message_len);
	if (verdict != VERDICT_YES)
		return verdict;
	if (bytes[at] != ' ' || message_len < sizeof("<0>") - 1)
		return VERDICT_NO;
	return priority_match(bytes + at + 1, len - at - 1);
}

enum verdict probe_syslog_datagram(const struct evidence *evidence, struct findings *findings)
{
	return priority_match(evidence->bytes, evidence->len) == VERDICT_YES ? VERDICT_YES : VERDICT_NO;
}
