/* Limits that hold over all workers of all generations: connections at a time in all, of a service, of one source of a
 * service, and how often a source may come. One anonymous shared mapping, made by the master before the first fork.
 *
 * Nothing in it is ever locked, so a worker may die anywhere. Each worker counts in a slot of its own, which only it writes
 * and everyone reads: a limit is held against the sum over all slots. When a worker has died the master wipes its slot.
 * Rates are one word a source, the same for all (see shared_limits.c); time heals them.
 *
 * Fixed size: LIMITS_ENTRIES services and sources with open connections a worker; past that a source that is not known yet is refused
 * ("sources"). LIMITS_RATES sources whose rate is not yet used up again; past that those are forgotten that have used least of it. */
#pragma once
#include "access.h"
#include "address.h"
#include <stdbool.h>
#include <stdint.h>

#define LIMITS_SLOTS_MAX 256
#define LIMITS_ENTRIES   32768
#define LIMITS_RATES     65536

struct limits;

/* What a connection holds, and gives back. */
struct limits_ticket {
	uint32_t service, source; /* LIMITS_NONE: nothing */
};

#define LIMITS_NONE UINT32_MAX

/* Where a client comes from, as access_source() has it; 0: it has no source. Flows over UDP count apart: whoever sends datagrams under the
 * address of another client uses up nothing that this one's connections count for. */
struct limits_source {
	uint64_t number;
	bool is_of_flows;
};

/* 0 or -errno. Address space for LIMITS_SLOTS_MAX slots; memory only for what is used. `fd` as shared_memory_map() has it. */
int limits_new(struct limits **ret, int *fd);
size_t limits_size(void);
void limits_free(struct limits *limits); /* accepts NULL */

/* As a worker that has the slot sees them: it can write there and to rates, and nothing else. One that is no slot's can write
 * nothing. 0 or -errno. */
int limits_view(int fd, unsigned slot, struct limits **ret);

/* The master's, before a worker gets the slot. */
void limits_begin(struct limits *limits, unsigned slot);

/* A service counts under the hash of its name (hash_name()), because the next policy may number it otherwise.
 *
 * NULL: it may go on, and counts until limits_leave(). Else the name of the limit: "max_connections", "per_source", "rate" or
 * "sources", and nothing was counted. `access` NULL: nothing is counted. Services that run programs have their
 * connections counted by the master, and only their rate here.
 *
 * Two that come at the same moment for the last place may both be refused; one too many never gets in. */
const char *limits_enter(struct limits *limits, unsigned slot, const struct access *access, uint64_t service,
	struct limits_source source, uint64_t now_us, struct limits_ticket *ret);

/* For a connection that comes from another worker, where it was let in: counts the same, refuses nothing, and its source's rate is not
 * charged again. */
void limits_enter_again(struct limits *limits, unsigned slot, const struct access *access, uint64_t service,
	struct limits_source source, struct limits_ticket *ret);

/* Once; clears the ticket. One that was never filled must be LIMITS_NONE twice. */
void limits_leave(struct limits *limits, unsigned slot, struct limits_ticket *ticket);

/* The same for connections in all; `most` 0: no limit, but counted. Workers that accept at the same moment may overshoot
 * by one each. */
const char *limits_enter_all(struct limits *limits, unsigned slot, uint32_t most);
void limits_leave_all(struct limits *limits, unsigned slot);

/* The same for connections that came in on one listener, named by hash_name() of its text. NULL and a place to give
 * back, or the name of the limit: "max_connections", or "sources". */
const char *limits_enter_listener(
	struct limits *limits, unsigned slot, uint64_t listener, uint32_t most, uint32_t *ret_place);
/* Once; the place becomes LIMITS_NONE, for which it does nothing. */
void limits_leave_listener(struct limits *limits, unsigned slot, uint32_t *place);

/* Connections that are not decided yet, in all and, where there is a source, of that. Refuses nothing: who sees too many sheds some. Where
 * no more sources can be counted this one is not. */
void limits_enter_undecided(struct limits *limits, unsigned slot, struct limits_source source, uint32_t *ret_place);
void limits_leave_undecided(struct limits *limits, unsigned slot, uint32_t *place); /* once */

/* Are there more than `most` over all workers? `most` 0: no limit. Never where this worker has no more than its share. */
bool limits_over_undecided(const struct limits *limits, unsigned slot, uint32_t most);
bool limits_over_undecided_here(const struct limits *limits, unsigned slot, uint32_t place, uint32_t most);

/* The master's, when the worker that had the slot has ended, before another gets it. */
void limits_forget(struct limits *limits, unsigned slot);

/* How many there are: sums over the slots, for status and tests. */
uint64_t limits_live_all(const struct limits *limits);
uint64_t limits_undecided(const struct limits *limits);
uint64_t limits_live(const struct limits *limits, uint64_t service, struct limits_source source /* none: of any */);
