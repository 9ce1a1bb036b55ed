/* What becomes of undecided sessions when there are too many: max_undecided, max_undecided_per_source. Who goes first is for undecided_registry.h
 * to say. */
#pragma once
#include <stdbool.h>

struct session;
struct context;

/* It waits to be decided; others may end for that. Also once a proxy has said who it is: until then it counts for nobody, since a
 * proxy brings everybody's. It may have ended itself when this returns. */
void shed_enter(struct session *session);
/* The same for one that comes from another worker, where nobody ends for it yet: shed_enter() follows. */
void shed_count(struct session *session);
void shed_leave(struct session *session); /* harmless where it does not wait */

/* It is decided, by a transport in which addresses can be forged, and nothing shows yet that its client has the address that it came from:
 * it stays as long as there is room. Until shed_leave(). */
void shed_enter_unproven(struct session *session);

/* One makes room for a flow, under the name of this limit: an unproven one, else an undecided one, which is decided at last or shed; of
 * the source with most of them the one that came first. False: there is none. No flow displaces what is no flow, because a flood of
 * forged addresses costs its sender nothing. */
bool shed_one_flow(struct context *context, const char *limit);

/* It was rejected, and is kept waiting as long as there is room. Until shed_leave(). */
void shed_enter_tarpit(struct session *session);

/* One of the tarpit makes room: of the source with most of them the one that came first. False: there is none. */
bool shed_one_of_tarpit(struct context *context, const char *limit);

/* One makes room for any other session: one of the tarpit, a flow, else one that is undecided. False: there is none. */
bool shed_one(struct context *context, const char *limit);
