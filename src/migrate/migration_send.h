/* The worker that retires: its live sessions go to a worker of the next generation, as soon as each can be moved. */
#pragma once
#include <stdbool.h>

struct migration_sender;
struct context;

/* `channel` leads to the new worker, which has the slot `to` of the limits; it is taken over. What cannot be moved, because the new
 * worker is gone or does not understand us, stays and is served to its end. 0 or -errno: nothing moves. */
int migration_send_begin(struct context *context, int channel, unsigned to);

/* Sessions were sent that the new worker has not taken yet: they count here. Accepts NULL. */
bool migration_send_is_under_way(const struct migration_sender *sender);
void migration_send_free(struct migration_sender *sender); /* accepts NULL */

/* A session can be moved that could not before. Accepts NULL. */
void migration_send_wake(struct migration_sender *sender);
