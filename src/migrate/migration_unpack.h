/* A session that comes from another worker: made of its message and its descriptors. */
#pragma once

struct context;
struct migrant_parts;
struct stream;

/* The descriptors by their places, -1: none; they are taken over. It counts here when this returns, and goes on, or ends where *ret_error
 * is not 0, by stream_arrived(). NULL: no memory, it is gone. */
struct stream *migration_unpack(struct context *context, const struct migrant_parts *parts, int *fds, int *ret_error);
