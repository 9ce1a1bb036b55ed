/* How fast the relay of a stream may go. */
#pragma once

struct context;
struct service;
struct stream;

/* As the service says; NULL: as fast as it can. Before relay_start() or relay_resume(). 0 or -ENOMEM. */
int stream_pace(struct stream *stream, const struct service *service);

/* What a worker's streams shared, once there are none. */
void stream_paces_free(struct context *context);
