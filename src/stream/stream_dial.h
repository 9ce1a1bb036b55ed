#pragma once
#include <stdint.h>

struct dial;
struct stream;

/* A dial to the service's backends on behalf of this stream, for the server's side of its relay. When it is due, whom it tells and
 * whether the client talks first are the caller's to set. 0 or -ENOMEM. */
int stream_dial_init(struct dial *ret, struct stream *stream, uint32_t service);
