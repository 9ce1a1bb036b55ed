/* The worker that takes over: live sessions come from workers of the generation before (migrant.h). */
#pragma once
#include <stdbool.h>

struct migration_receiver;
struct context;

/* `channel` leads to an old worker, which has the slot `from` of the limits; it is taken over. */
void migration_receive_begin(struct context *context, int channel, unsigned from);
/* Flows may yet come from one of them: its worker reads its sockets of datagrams until then. */
bool migration_receive_awaits_flows(const struct context *context);
void migration_receive_end_all(struct context *context);
