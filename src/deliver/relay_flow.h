/* One direction of a relay, for relay.c. */
#pragma once
#include "relay.h"

/* What was seen at the side that it reads from, and at the one that it writes to. */
void flow_source_events(struct relay *relay, struct relay_flow *flow, uint32_t events);
void flow_sink_events(struct relay_flow *flow, uint32_t events);

/* Moves what can be moved. Past its share it comes back next turn: edges are not repeated. */
void flow_run(struct relay *relay, struct relay_flow *flow);

/* The sink takes no more, yet its own output may still be under way: that flow decides how all ends. */
void flow_discard(struct relay *relay, struct relay_flow *flow);

/* Gives buffer and pipe back, with what is in them. */
void flow_let_go(struct relay *relay, struct relay_flow *flow);

/* relay.c. The end is told from a task, so that whoever is on the stack finds the relay still there. */
void relay_finish(struct relay *relay, enum relay_end end);
