/* The connections of a worker that are not decided yet, by where they come from, so that the one to be shed when there are too many is
 * found at once: each operation takes the same time however many there are.
 *
 * Who is shed: of the source that has most of them, the one that has waited longest. So one source that keeps hundreds of connections
 * open loses its own. Where no source has more than CROWD_FEW, as when each of many has one, whoever has waited longest
 * of all: who is served says what it wants soon, and has gone on long before its turn comes. */
#pragma once
#include "shared_limits.h"
#include <stdint.h>

#define CROWD_FEW 8

struct crowd;
struct crowd_source;

/* Of a connection, which embeds it; zero: not among them. */
struct crowd_place {
	struct crowd_source *source;
	struct crowd_place *older, *newer;           /* of all */
	struct crowd_place *older_here, *newer_here; /* of its source */
	uint32_t counted;                            /* in the shared limits */
};

struct crowd *crowd_new(void);        /* NULL: no memory */
void crowd_free(struct crowd *crowd); /* nobody is in it; accepts NULL */

/* The newest. `source` as access_source() has it; 0: none, and all that have none count as one. */
void crowd_enter(struct crowd *crowd, struct crowd_place *place, uint64_t source);
void crowd_leave(struct crowd *crowd, struct crowd_place *place); /* harmless where it is not in */

/* Who is to be shed, or NULL: nobody is there but `spared`. */
struct crowd_place *crowd_victim(const struct crowd *crowd, const struct crowd_place *spared);

/* The same among those of the source of `spared`. */
struct crowd_place *crowd_victim_beside(const struct crowd_place *spared);
