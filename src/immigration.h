/* The worker that takes over: live connections come from workers of the generation before (migrant.h). */
#pragma once

struct immigration;
struct worker;

/* `channel` leads to an old worker; it is taken over. */
void immigration_begin(struct worker *worker, int channel);
void immigration_end_all(struct worker *worker);
