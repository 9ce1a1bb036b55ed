/* The table of resolved names: written by the resolver process, read by workers, shared as one mapping. A worker never
 * waits for DNS: it reads the last good answer, which stays until there is a better one.
 *
 * A slot keeps two answers and a version that tells which one is in force, so that neither side waits for the other and a
 * resolver that dies while it writes leaves the last good answer. The names are not in the shared memory: each process has its own
 * copy, so that nobody who may write the table can give one name's answers to another. */
#pragma once
#include "address.h"
#include <stddef.h>

#define RESOLVED_ADDRESSES_MAX 64

struct resolved_address {
	struct address address;
	uint16_t weight; /* beside the others of its rank */
	uint8_t rank;    /* 0 first; a higher one is for when none of those below can be had */
};

#define RESOLVED_SRV                                                                                                 \
	"srv:" /* begins a name of which the SRV records are asked for: they have ports, and may have others than were expected */

struct resolved; /* one slot a name, in the order of the policy's names */

struct resolved_state {
	uint32_t version; /* of the answer: another number, another answer; 0: there was none yet */
	uint32_t ended;   /* questions that have ended, in an answer or not; wraps around */
	uint32_t age_ms;  /* of the answer: when the name was last found. Wraps around */
	bool failing;     /* the last question had no answer */
};

/* The master makes the mapping before it forks; resolved_read_only() then gives the write access up in a worker for good
 * (0 or -errno). It needs a descriptor of its own for that and closes it: call it before closing what is not known. */
int resolved_new(struct resolved **ret, const char *const *names, size_t n_names);
int resolved_read_only(struct resolved *resolved);

/* Who is forked from now on does not inherit the mapping, which can be written to: a worker of one policy is to have nothing of another's
 * table. Or does again, for the one that writes. 0 or -errno. */
int resolved_keep(struct resolved *resolved, bool keep);
void resolved_free(struct resolved *resolved); /* unmaps; accepts NULL */

/* A table that another image of the master made, by its descriptor, which is taken over where the result is 0: it can be read only.
 * -EPROTO: it is not of that size. */
int resolved_adopt(struct resolved **ret, int fd, const char *const *names, size_t n_names);
int resolved_fd(const struct resolved *resolved); /* stays the table's */
size_t resolved_size(size_t n_names);             /* of the mapping, in bytes */
size_t resolved_count(const struct resolved *resolved);
const char *resolved_name(const struct resolved *resolved, size_t name);

/* Answers of `from`, to those names that `to` has as well. 0 or -ENOMEM: then there are none. */
int resolved_inherit(struct resolved *to, const struct resolved *from);

/* The resolver's side. An empty answer is ignored: the last good one stays. */
void resolved_write(struct resolved *resolved, size_t name, const struct resolved_address *addresses, size_t count);
void resolved_withdraw(struct resolved *resolved, size_t name); /* it has no address, and that is the answer */
void resolved_end(struct resolved *resolved, size_t name, bool failing); /* behind each question */

/* The worker's side: how many addresses were copied into `ret` (with this port where the answer has none); 0: no answer yet, or it was
 * withdrawn. */
size_t resolved_read(const struct resolved *resolved, size_t name, uint16_t port,
	struct resolved_address ret[RESOLVED_ADDRESSES_MAX]);
void resolved_look(const struct resolved *resolved, size_t name, struct resolved_state *ret);

/* Names that are not the policy's: those that clients ask for. Also in memory of the table's. */
struct name_cache;
const struct name_cache *resolved_cache(const struct resolved *resolved);
struct name_cache *resolved_cache_write(struct resolved *resolved);
