/* A flow that goes to a receiver: as a socket of its own that is connected to the client, with the datagrams that came before. */
#pragma once
#include "session.h"

struct datagram_listener;
struct flow;

/* To the receiver of its service. What comes of it: flow_undelivered() or flow_end() is called. */
void flow_hand_over(struct flow *flow);

/* It is not to go over any more, or is over there: all that was for that is given back. Datagrams that its own socket has are kept
 * where `recovers'. */
void flow_handover_end(struct flow *flow, bool recovers);

/* The listener's socket has been read empty: what its clients had sent there before they had sockets of their own is kept. */
void flow_handover_drained(struct datagram_listener *listener);

/* The listener's socket is another worker's soon: flows that wait for it to be empty go there as they came. */
void flow_handover_held(struct datagram_listener *listener);

/* How often it was sent to a receiver. */
unsigned flow_handover_sent(const struct flow *flow);

uint64_t flow_handover_due_us(const struct session *session);
void flow_handover_out_of_time(struct session *session);
