/* One direction of a relay, for relay.c. */
#pragma once
#include "relay.h"

/* What was seen at the side that it reads from, and at the one that it writes to. */
void flow_source_events(struct relay *relay, struct relay_flow *flow, uint32_t events);
void flow_sink_events(struct relay_flow *flow, uint32_t events);

/* Urgent bytes belong to the stream like all others (RFC 6093). A read stops before one, so that the event that it comes with is seen
 * before it is read; a flow that reads on without an event must have said so before. splice() never gets past one. Two that came before the
 * first was seen are beyond that: TCP itself forgets the first. */
void flow_keep_urgent(struct relay *relay, struct relay_flow *flow);

/* Moves what can be moved. Past its share it comes back next turn: edges are not repeated. */
void flow_run(struct relay *relay, struct relay_flow *flow);

/* The sink takes no more, yet its own output may still be under way: that flow decides how all ends. */
void flow_discard(struct relay *relay, struct relay_flow *flow);

/* Gives buffer and pipe back, with what is in them. */
void flow_let_go(struct relay *relay, struct relay_flow *flow);

/* relay.c. The end is told from a task, so that whoever is on the stack finds the relay still there. */
void relay_finish(struct relay *relay, enum relay_end end);
