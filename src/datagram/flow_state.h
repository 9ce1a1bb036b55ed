/* What of a flow crosses to another worker beside what every session has: one piece of bytes, and the socket to its backend where it is relayed.
 *
 *	| struct flow_state | of each kept datagram: struct flow_state_kept, its bytes | ... | its header |
 *
 * The other worker reads hostile bytes: what does not add up is refused whole. */
#pragma once
#include "datagram_id.h"
#include "flow_header.h"
#include "flow_kept.h"
#include "flow_key.h"
#include "session.h"

struct flow_state {
	struct flow_key key;
	uint64_t spoken_us, answered_us;
	uint64_t datagrams_up, datagrams_down, bytes_up, bytes_down;
	uint64_t flow_timeout_us, answer_timeout_us; /* where the new policy has no service of its name */
	uint64_t backend_hash;
	struct datagram_id id;
	uint8_t speaks, known_by; /* enum affinity_kind */
	uint32_t answers;
	int32_t error; /* 0, or a -errno that the network has reported */
	uint32_t n_kept;
	uint32_t header_len; /* 0: it has none */
	uint32_t place;      /* of the socket that it came by, among those of its listener */
	uint8_t whole, failed, is_unproven, header_each, header_is_sent;
};

struct flow_state_kept {
	uint32_t len;
	uint32_t tos;
};

/* Puts it together: the head's n_kept and header_len are filled in. The length, or -EMSGSIZE. */
ssize_t flow_state_write(uint8_t *to, size_t size, struct flow_state *head, const struct flow_kept *kept,
	const struct flow_header *header);

/* 0, or -EBADMSG. A relayed flow has one descriptor, another none. */
int flow_state_read(struct flow_state *ret, enum session_phase phase, const uint8_t *bytes, size_t len, size_t n_fds);

/* The datagrams of one that was read. 0 or -ENOMEM. */
int flow_state_keep(struct flow_kept *kept, struct pool *pool, const uint8_t *bytes, size_t len);

/* Its header; NULL: none. 0 or -ENOMEM. */
int flow_state_header(struct flow_header **ret, const uint8_t *bytes, size_t len);
