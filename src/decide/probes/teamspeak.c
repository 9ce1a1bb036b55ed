/* TeamSpeak 3, in datagrams, by the packets with which a client begins; "TeamSpeak 3 protocol" of the project tsdeclarations,
 * 2.1 and 4.
 *
 *     T S 3 I N I T 1 | 00 65 | 00 00 | 88 | version[4] | step | ...
 *     where a MAC is    packet  client  Init1, not
 *     later             101     none    encrypted
 *
 * Refuses packets of a session that began elsewhere, which are encrypted. TeamSpeak 2 is another protocol. Owns no memory. */
#include "look.h"
#include "probe.h"

enum {
	PACKET_LEN_MIN = 13 + 4 + 1,
	PACKET_LEN_MAX = 500,
};

#define BEGIN "TS3INIT1\0\x65\0\0\x88"

enum verdict probe_teamspeak_datagram(const struct evidence *evidence, struct findings *findings)
{
	if (evidence->len < PACKET_LEN_MIN || evidence->len > PACKET_LEN_MAX)
		return VERDICT_NO;
	return look_literal(evidence->bytes, evidence->len, BEGIN, sizeof(BEGIN) - 1);
}
