/* The delivery of a stream by its service: connect, handover, exec, reject. How it went comes back by stream_delivered(),
 * stream_undelivered(), stream_refuse() or stream_end(), perhaps before delivery_begin() returns. */
#pragma once
#include <stdint.h>

struct session;
struct stream;

void delivery_begin(struct stream *stream);

/* How long it may take to reach a backend or a receiver, and what happens when that is over. */
uint64_t delivery_due_us(const struct session *session);
void delivery_connect_out_of_time(struct session *session);
void delivery_hand_over_out_of_time(struct session *session);

/* How long a client is kept waiting that was rejected, and what happens then. */
uint64_t delivery_tarpit_due_us(const struct session *session);
void delivery_tarpit_over(struct session *session);

/* Nothing more will come back. Harmless where nothing is under way. */
void delivery_cancel(struct stream *stream);
