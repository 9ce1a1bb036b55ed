/* Redis, and what speaks its protocol: the RESP specification of redis.io, "Sending commands to a Redis server" and
 * "Inline commands".
 *
 *     *3\r\n $3\r\n SET\r\n ...        an array of bulk strings, the command first
 *      ~       ~    ^ YES              decimal without zeros in front: 1..1048576 strings, a command of 1..64 bytes
 *     PING\r\n                         inline: only the commands listed below, in either case
 *
 * YES with the command's first byte, a letter or digit; for inline commands with the line's end, or the space behind the
 * words that are told by themselves.
 *
 * Refuses the other types of RESP, which a client does not begin with, and the inline commands that others have as well:
 * memcached's `get KEY` and `quit`, everybody's AUTH. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

#include <string.h>

#define STRINGS_MAX 1048576 /* the server's own limit */
#define COMMAND_MAX 64      /* renamed ones are often hashes */

/* A sign, a number in 1..max and the line's end. */
static enum verdict number_match(const uint8_t *bytes, size_t len, char sign, size_t max, size_t *ret_len)
{
	size_t n = 1, value = 0;

	if (len == 0)
		return VERDICT_MORE;
	if (bytes[0] != (uint8_t)sign)
		return VERDICT_NO;
	for (; n < len && bytes[n] >= '0' && bytes[n] <= '9'; n++) {
		value = value * 10 + bytes[n] - '0';
		if (value == 0 || value > max)
			return VERDICT_NO;
	}
	if (n == len)
		return VERDICT_MORE;
	*ret_len = n + 2;
	return value > 0 ? look_literal(bytes + n, len - n, "\r\n", 2) : VERDICT_NO;
}

static enum verdict array_match(const uint8_t *bytes, size_t len)
{
	size_t at, n;

	enum verdict verdict = number_match(bytes, len, '*', STRINGS_MAX, &at);
	if (verdict != VERDICT_YES)
		return verdict;
	verdict = number_match(bytes + at, len - at, '$', COMMAND_MAX, &n);
	if (verdict != VERDICT_YES)
		return verdict;
	at += n;
	if (at == len)
		return VERDICT_MORE;
	uint8_t c = look_lower(bytes[at]);
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ? VERDICT_YES : VERDICT_NO;
}

static const struct look_entry inline_commands[] = { LOOK_ENTRY("ping\r\n"), LOOK_ENTRY("info\r\n"),
	LOOK_ENTRY("info replication\r\n"), LOOK_ENTRY("info server\r\n"), LOOK_ENTRY("config get "),
	LOOK_ENTRY("config set "), LOOK_ENTRY("client list\r\n"), LOOK_ENTRY("client setname "),
	LOOK_ENTRY("client setinfo "), LOOK_ENTRY("replconf "), LOOK_ENTRY("psync "), LOOK_ENTRY("slaveof "),
	LOOK_ENTRY("replicaof "), LOOK_ENTRY("flushall\r\n"), LOOK_ENTRY("flushdb\r\n"), LOOK_ENTRY("dbsize\r\n"),
	LOOK_ENTRY("hello 2\r\n"), LOOK_ENTRY("hello 3\r\n"), LOOK_ENTRY("hello 3 ") };

enum verdict probe_redis(const struct evidence *evidence, struct findings *findings)
{
	size_t len = evidence_len(evidence);

	if (len == 0)
		return VERDICT_MORE;
	if (evidence->bytes[0] == '*')
		return array_match(evidence->bytes, len);
	return look_words(
		evidence->bytes, len, inline_commands, sizeof(inline_commands) / sizeof(inline_commands[0]));
}
