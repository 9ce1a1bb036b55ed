/* A connection that comes from another worker: what its message says, put into it. */
#pragma once
#include <stdint.h>

struct connection;
struct migrant_parts;
struct policy;

/* How long it may be idle here: by the service of its name, if there is one. */
uint64_t arrival_idle_us(const struct policy *policy, const struct migrant_parts *parts);

/* The descriptors by their places, taken over; the client's is watched from then on. The relay of one that relays is equipped. 0, or
 * -errno: it must end. */
int arrival_unpack(struct connection *connection, const struct migrant_parts *parts, int *fds);
