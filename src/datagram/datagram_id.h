/* Ids of sessions in datagrams, in the clear: what a server has its clients say, wherever they are.
 *
 *	QUIC        connection ids that the server has chosen: the source of its packets with the long header, the destination of its
 *	            clients' packets; RFC 8999 5.1 and 5.2
 *	WireGuard   the index of the server: sender of its messages 1 and 2, receiver of its clients' 2, 3 and 4; the paper's 5.4
 *	OpenVPN     the peer id of data (P_DATA_V2), which both sides write; "peer-id" in doc/doxygen/doc_protocol_overview.h
 */
#pragma once
#include "affinity.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct datagram_id {
	uint8_t kind; /* enum affinity_kind: QUIC, WIREGUARD, OPENVPN; NONE: no id */
	uint8_t len;
	uint8_t bytes[AFFINITY_ID_MAX];
};

/* The id that a server's datagram has its clients use from now on. `kind` is what the flow speaks. False: it says none. */
bool datagram_id_of_server(enum affinity_kind kind, const uint8_t *bytes, size_t len, struct datagram_id *ret);

/* Every id that a client's datagram may have, the most certain first. `quic_lengths` has a bit for each length that ids of QUIC
 * servers have. How many there are. */
#define DATAGRAM_IDS_MAX (AFFINITY_ID_MAX + 3)
size_t datagram_ids_of_client(
	const uint8_t *bytes, size_t len, uint32_t quic_lengths, struct datagram_id ret[DATAGRAM_IDS_MAX]);

bool datagram_id_equal(const struct datagram_id *a, const struct datagram_id *b);
/* Is it one that the functions above make? It may come from another worker. */
bool datagram_id_is_sound(const struct datagram_id *id);
