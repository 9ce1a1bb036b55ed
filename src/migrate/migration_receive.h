/* The worker that takes over: live sessions come from workers of the generation before (migrant.h). */
#pragma once

struct migration_receiver;
struct context;

/* `channel` leads to an old worker, which has the slot `from` of the limits; it is taken over. */
void migration_receive_begin(struct context *context, int channel, unsigned from);
void migration_receive_end_all(struct context *context);
