/* BitTorrent: the handshake between peers (BEP 3); in datagrams queries of the DHT (BEP 5) and the SYN of uTP (BEP 29).
 *
 *     13 "BitTorrent protocol"  reserved[8] hash[20] id[20]
 *                            ^ YES
 *     d1:a d2:id20: node[20] ... e ... 1:y 1:q e          the keys of a dictionary are sorted: a, q, ..., t, v, y
 *           ^ 2:bsi1e before it, where libtorrent asks while it looks for its first nodes
 *     41 ext | id[2] time[4] | 00 00 00 00 | window[4] number[2] | 00 00 | extensions
 *     SYN, version 1           delay                               acknowledged
 *
 * A query must have the length that its parts need at least and end as queries do. A SYN has neither a delay nor anything to
 * acknowledge, and nothing behind its header but extensions, which must fill the datagram. Refuses answers, and the requests
 * to trackers over HTTP, which are HTTP. The encrypted handshake is made to look like noise and is not claimed, nor are
 * datagrams of a uTP connection that began elsewhere. Owns no memory. */
#include "look.h"
#include "probe.h"

enum {
	NODE_LEN = 20,
	QUERY_LEN_MIN = 12 + NODE_LEN + 1 + 3 + 6 + 3 + 3 + 7, /* "ping" with a transaction of one byte */
	SYN_LEN = 20,
	SYN_AND_VERSION = 0x41,
	EXTENSION_MAX = 4,
};

#define HANDSHAKE                                                                                                    \
	"\x13"                                                                                                       \
	"BitTorrent protocol"
#define QUERY_BEGIN     "d1:ad2:id20:"
#define BOOTSTRAP_BEGIN "d1:ad2:bsi1e2:id20:"
#define QUERY_END       "1:y1:qe"

enum verdict probe_bittorrent(const struct evidence *evidence, struct findings *findings)
{
	return look_literal(evidence->bytes, evidence->len, HANDSHAKE, sizeof(HANDSHAKE) - 1);
}

static bool query_match(const uint8_t *bytes, size_t len)
{
	size_t end_len = sizeof(QUERY_END) - 1;

	return len >= QUERY_LEN_MIN &&
		(look_literal(bytes, len, QUERY_BEGIN, sizeof(QUERY_BEGIN) - 1) == VERDICT_YES ||
			look_literal(bytes, len, BOOTSTRAP_BEGIN, sizeof(BOOTSTRAP_BEGIN) - 1) == VERDICT_YES) &&
		look_literal(bytes + len - end_len, end_len, QUERY_END, end_len) == VERDICT_YES;
}

static bool syn_match(const uint8_t *bytes, size_t len)
{
	size_t at = SYN_LEN;

	if (len < SYN_LEN || bytes[0] != SYN_AND_VERSION || look_be32(bytes + 8) != 0 || look_be16(bytes + 18) != 0)
		return false;
	for (uint8_t next = bytes[1]; next != 0;) { /* each names the type of the one behind it, and its length */
		if (next > EXTENSION_MAX || len - at < 2 || bytes[at + 1] == 0 || bytes[at + 1] > len - at - 2)
			return false;
		next = bytes[at];
		at += 2U + bytes[at + 1];
	}
	return at == len && look_be32(bytes + 4) != 0;
}

enum verdict probe_bittorrent_datagram(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;

	return query_match(bytes, evidence->len) || syn_match(bytes, evidence->len) ? VERDICT_YES : VERDICT_NO;
}
