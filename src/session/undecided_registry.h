/* The sessions of a worker that are not decided yet, by where they come from, so that the one to be shed when there are too many is
 * found at once: each operation takes the same time however many there are.
 *
 * Who is shed: of the source that has most of them, the one that has waited longest. So one source that keeps hundreds of sessions
 * open loses its own. Where no source has more than UNDECIDED_FEW, as when each of many has one, whoever has waited longest
 * of all: who is served says what it wants soon, and has gone on long before its turn comes. */
#pragma once
#include "list.h"
#include "shared_limits.h"
#include <stdint.h>

#define UNDECIDED_FEW 8

struct undecided_registry;
struct undecided_source;

/* Of a session, which embeds it; zero: not among them. */
struct undecided_place {
	struct undecided_source *source;
	struct list_item of_all, of_source; /* the oldest first */
	uint32_t counted;                   /* in the shared limits */
};

struct undecided_registry *undecided_registry_new(void);           /* NULL: no memory */
void undecided_registry_free(struct undecided_registry *registry); /* nobody is in it; accepts NULL */

/* The newest. `source` as access_source() has it; 0: none, and all that have none count as one. */
void undecided_registry_enter(struct undecided_registry *registry, struct undecided_place *place, uint64_t source);
void undecided_registry_leave(
	struct undecided_registry *registry, struct undecided_place *place); /* harmless where it is not in */

/* Who is to be shed, or NULL: nobody is there but `spared`. */
struct undecided_place *undecided_registry_victim(
	const struct undecided_registry *registry, const struct undecided_place *spared);

/* The same among those of the source of `spared`. */
struct undecided_place *undecided_registry_victim_beside(const struct undecided_place *spared);
