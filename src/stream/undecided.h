/* A stream until it is decided: from accept to stream_decided(), stream_stay() or an early end. */
#pragma once
#include "proxied.h"
#include <stdbool.h>
#include <stdint.h>

struct session;
struct stream;

/* Its socket is watched; `by` says whether a header is to come first. */
void undecided_begin(struct stream *stream, enum proxied_by by);

/* The client has sent something, or left. */
void undecided_ready(struct stream *stream, bool readable);

/* The deadlines of its phases, counted from accept, and what happens when they are over. */
uint64_t undecided_header_due_us(const struct session *session);
void undecided_header_out_of_time(struct session *session);
uint64_t undecided_due_us(const struct session *session);
void undecided_out_of_time(struct session *session);

/* Lets go of identifier and banner. */
void undecided_end(struct stream *stream);
