/* A session that comes from another worker: made of its message and its descriptors. */
#pragma once

struct context;
struct migrant_parts;

/* The descriptors by their places, -1: none; they are taken over. What cannot go on ends. */
void migration_unpack(struct context *context, const struct migrant_parts *parts, int *fds);
