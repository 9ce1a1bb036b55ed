/* A session that comes from another worker: made of its message and its descriptors. */
#pragma once

struct context;
struct migrant_parts;
struct migration_state;
struct session;

/* What does not add up, or finds no memory, is refused: NULL, and it is gone. Else it counts here when this returns, and
 * transport->migration->go_on() is due with *ret_error. Descriptors that are taken over become -1 in `state`. */
struct session *migration_unpack(
	struct context *context, const struct migrant_parts *parts, struct migration_state *state, int *ret_error);
