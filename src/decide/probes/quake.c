/* Games, in datagrams without a connection, which begin with four bytes of ff: those of id Software's engines and what
 * came of them ("Quake III Arena network protocol"; Half-Life before Source), and those of the Source engine ("Server
 * queries" of the Valve Developer Community).
 *
 *     ff ff ff ff | getinfo xxx          quake: a command of four letters or more, a small one first; behind it the end, a blank, a
 *                                        line's end, a zero byte or a quotation mark
 *     ff ff ff ff | T "Source Engine Query" 00 | challenge[4]    a2s: what a server is; the second time with a challenge
 *     ff ff ff ff | U | challenge[4]                             its players; V: its rules
 *     ff ff ff ff | W                                            a challenge; i: a ping
 *     ff ff ff ff | q | number[4] "0000000000" 00                to play; or "connect0x", 8 digits, 00 in place of both
 *
 * Each of the second has one length. Refuses answers of Source servers, which have other letters; those of the first kind
 * are words too and cannot be told from commands. RDP's first datagram begins like this and has no word. Owns no memory. */
#include "look.h"
#include "probe.h"

enum {
	WORD_AT = 4,
	WORD_MIN = 4,
	WORD_MAX = 24,
	CHALLENGE_LEN = 4,
	HEX_LEN = 8,
};

#define INFO    "TSource Engine Query\0"
#define PADDING "0000000000\0"
#define CONNECT "qconnect0x"

static bool begins(const uint8_t *bytes, size_t len)
{
	return len > WORD_AT && look_be32(bytes) == UINT32_MAX;
}

static bool is_letter(uint8_t byte)
{
	return look_lower(byte) >= 'a' && look_lower(byte) <= 'z';
}

enum verdict probe_quake_datagram(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence->len, at = WORD_AT;

	if (!begins(bytes, len) || bytes[at] != look_lower(bytes[at]))
		return VERDICT_NO;
	while (at < len && at < WORD_AT + WORD_MAX && is_letter(bytes[at]))
		at++;
	if (at < WORD_AT + WORD_MIN)
		return VERDICT_NO;
	if (at == len || bytes[at] == ' ' || bytes[at] == '\n' || bytes[at] == 0 || bytes[at] == '"')
		return VERDICT_YES;
	return VERDICT_NO;
}

static bool play_match(const uint8_t *at, size_t len)
{
	size_t padding = sizeof(PADDING) - 1, connect = sizeof(CONNECT) - 1;

	if (len == 1 + CHALLENGE_LEN + padding &&
		look_literal(at + 1 + CHALLENGE_LEN, padding, PADDING, padding) == VERDICT_YES)
		return true;
	return len == connect + HEX_LEN + 1 && look_literal(at, len, CONNECT, connect) == VERDICT_YES &&
		at[len - 1] == 0;
}

enum verdict probe_a2s_datagram(const struct evidence *evidence, struct findings *findings)
{
	size_t info = sizeof(INFO) - 1;
	bool matches = false;

	if (!begins(evidence->bytes, evidence->len))
		return VERDICT_NO;
	const uint8_t *at = evidence->bytes + WORD_AT;
	size_t len = evidence->len - WORD_AT;
	switch (at[0]) {
	case 'T':
		matches = (len == info || len == info + CHALLENGE_LEN) &&
			look_literal(at, len, INFO, info) == VERDICT_YES;
		break;
	case 'U':
	case 'V':
		matches = len == 1 + CHALLENGE_LEN;
		break;
	case 'W':
	case 'i':
		matches = len == 1 || (len == 2 && at[1] == 0);
		break;
	case 'q':
		matches = play_match(at, len);
		break;
	default:
		break;
	}
	return matches ? VERDICT_YES : VERDICT_NO;
}
