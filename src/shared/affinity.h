/* To which service and backend a session over UDP went, found by an id that its datagrams carry or by its client's address: for a client whose
 * address has changed, or whose flow has ended here and not at its ends. One table for all workers, which outlives them.
 *
 * Fixed size and no lock: AFFINITY_GROUPS groups of AFFINITY_GROUP entries. An entry is valid for AFFINITY_KEPT_S after it was noted last;
 * where a group has no place, the entry noted longest ago is lost. Ids and addresses have tables of their own: clients cannot displace
 * ids by coming from many addresses.
 *
 * A worker that was taken over can write any entry, and so send datagrams of clients that no flow knows to another service of the
 * configuration; it cannot do more: a reader gets two hashes, which it looks up in its own policy. */
#pragma once
#include "address.h"
#include <stdbool.h>
#include <stdint.h>

#define AFFINITY_GROUPS 16384
#define AFFINITY_GROUP  8
#define AFFINITY_KEPT_S 3600

struct affinity;

/* What an entry is found by. */
enum affinity_kind {
	AFFINITY_NONE,
	AFFINITY_QUIC,           /* a connection id that a server chose */
	AFFINITY_WIREGUARD,      /* an index that a server chose */
	AFFINITY_OPENVPN,        /* a peer id, at one listener */
	AFFINITY_OPENVPN_CLIENT, /* the same of one client address */
	AFFINITY_ADDRESS,        /* a client's address and port, at one listener */
	AFFINITY_HOST,           /* its address alone */
	AFFINITY_KINDS
};

struct affinity_place {
	uint64_t service;        /* hash_name() of its name */
	uint64_t backend;        /* affinity_backend(); as much of it as is kept */
	enum affinity_kind kind; /* of the ids that the session has: QUIC, WIREGUARD, OPENVPN or NONE */
};

/* 0 or -errno. `fd` as shared_memory_map() has it. */
int affinity_new(struct affinity **ret, int *fd);
size_t affinity_size(void);
void affinity_free(struct affinity *affinity); /* accepts NULL */
/* As a worker sees it: it can write the entries and nothing else. 0 or -errno. */
int affinity_view(int fd, struct affinity **ret);

/* A key of up to AFFINITY_KEY_MAX bytes. Never 0. */
#define AFFINITY_KEY_MAX 64
uint64_t affinity_key(const struct affinity *affinity, enum affinity_kind kind, const void *bytes, size_t len);
uint64_t affinity_backend(const struct address *address); /* never 0 */

/* The session that has this key is there, `now_s` seconds after any moment that is the same for all. Where another place has an id,
 * neither is found by it until both are too old; of an address the last one counts. */
void affinity_note(struct affinity *affinity, enum affinity_kind kind, uint64_t key,
	const struct affinity_place *place, uint64_t now_s);
bool affinity_find(const struct affinity *affinity, enum affinity_kind kind, uint64_t key, uint64_t now_s,
	struct affinity_place *ret);
/* Is it the backend of that place? */
bool affinity_is_backend(uint64_t kept, uint64_t backend);

/* The lengths that connection ids of QUIC servers have, a bit for each: a packet with the short header does not say it. */
#define AFFINITY_ID_MIN 4 /* shorter ones are met by chance, and not kept */
#define AFFINITY_ID_MAX 20
void affinity_note_length(struct affinity *affinity, size_t len);
uint32_t affinity_lengths(const struct affinity *affinity);
