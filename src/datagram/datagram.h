/* Datagrams in batches: from a socket, and to one, with what goes beside the bytes: addresses, ECN and DSCP.
 *
 * One `struct datagram' may be several of equal size that the kernel had joined (UDP_GRO), the last one perhaps shorter:
 *
 *	bytes   | segment | segment | segment | rest |
 *	        0                                   len
 *
 * Going out, datagrams of equal size that follow each other to the same peer are given to the kernel as one (UDP_SEGMENT), which cuts
 * them again. Boundaries, order and marks stay what they were. */
#pragma once
#include "flow_key.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define DATAGRAM_MAX       65536 /* bytes; less, and the kernel would cut off what it has joined */
#define DATAGRAM_BATCH     64    /* messages that are read or sent in one call at most */
#define DATAGRAM_SEND_MAX  65507 /* bytes that one send may have */
#define DATAGRAM_PARTS_MAX 64    /* datagrams that are joined to one send at most */

struct datagram {
	const uint8_t *bytes;
	uint32_t len;
	uint32_t segment; /* size of each; 0: it is one datagram */
	uint8_t tos;      /* ECN and DSCP */
	uint32_t mark;    /* that it has from a socket of this machine (SO_MARK), where that is asked for; else 0 */
	struct flow_key key; /* of what an unconnected socket received; its local port is the caller's to fill in */
};

/* How many datagrams there are in it. */
static inline uint32_t datagram_count(const struct datagram *datagram)
{
	return datagram->segment ? (datagram->len + datagram->segment - 1) / datagram->segment : 1;
}

/* What is left of it without its first `n` bytes, which are datagrams as they were. */
static inline void datagram_advance(struct datagram *datagram, uint32_t n)
{
	datagram->bytes += n;
	datagram->len -= n;
	if (datagram->segment >= datagram->len)
		datagram->segment = 0;
}

/* ---- receiving ---- */

struct datagram_batch;

struct datagram_batch *datagram_batch_new(void); /* NULL: no memory */
void datagram_batch_free(struct datagram_batch *batch);

/* What a socket needs for that; `listens`: it is not connected, and its own address is wanted of each datagram. 0 or -errno. */
int datagram_prepare(int fd, sa_family_t family, bool listens);

/* Reads at most `most` into the batch, behind the `at` that are there; they stay until the next read in that place. How many there are
 * to be used, or -errno: -EAGAIN, or what the network has reported to a connected socket. */
struct datagram_read {
	size_t n;          /* messages that were taken: fewer than `most` means that no more are there */
	uint32_t unusable; /* of these: cut, or without an address */
	uint32_t drops;    /* that the kernel has dropped at a listening socket so far; set where it says something */
};
int datagram_receive(
	struct datagram_batch *batch, int fd, bool listens, size_t at, size_t most, struct datagram_read *ret);
struct datagram *datagram_at(struct datagram_batch *batch, size_t at);

/* ---- sending ---- */

struct datagram_out {
	const struct datagram *datagram;
	const struct flow_key
		*to; /* its client, from its local address; NULL: the peer that the socket is connected to */
	bool whole; /* is not to be fragmented: a protocol that looks for the largest datagram that the path carries */
	/* Goes before its bytes, in the same datagram, of which there is one then. */
	const uint8_t *header;
	uint32_t header_len;
};

/* How many of the `n` are one send; ret_segment is then the size of each datagram in it, 0 for one datagram. */
size_t datagram_join(const struct datagram_out *list, size_t n, uint32_t *ret_segment);

/* What became of a list. */
struct datagram_sent {
	uint32_t full;       /* there was no room in the kernel */
	uint32_t too_big;    /* for the way to the peer */
	uint32_t fragmented; /* too big, and sent in fragments */
	uint32_t lost;       /* for other reasons */
	bool is_shut;        /* the socket was shut down (shutdown(2)): nothing goes through it any more */
	int error;           /* that a peer's machine or the network has reported, -errno; 0: none */
};

struct datagram_sender; /* scratch of one worker */
struct datagram_sender *datagram_sender_new(void);
void datagram_sender_free(struct datagram_sender *sender);

/* Sends them in their order and never waits: what cannot go now is dropped and counted in `sent`, which is added to. */
void datagram_send(struct datagram_sender *sender, int fd, sa_family_t family, const struct datagram_out *list,
	size_t n, struct datagram_sent *sent);
