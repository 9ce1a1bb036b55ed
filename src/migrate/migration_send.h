/* The worker that retires: its live sessions go to workers of the next generation, as soon as each can be moved. */
#pragma once
#include <stdbool.h>

struct migration_sender;
struct context;

/* One of the new workers, which has the slot `to` of the limits, and a channel to it (-1: there is none, or no more); it is taken over. Sessions
 * that any may have go to the first of them. */
void migration_send_add(struct context *context, int channel, unsigned to);
/* All of them were added. What cannot be moved, because the new worker is gone or does not understand us, stays and is served to its end.
 * 0, or -errno: none of them is there, and nothing moves. */
int migration_send_begin(struct context *context);

/* Sessions were sent that the new worker has not taken yet: they count here. Accepts NULL. */
bool migration_send_is_under_way(const struct migration_sender *sender);
void migration_send_free(struct migration_sender *sender); /* accepts NULL */

/* A session can be moved that could not before. Accepts NULL. */
void migration_send_wake(struct migration_sender *sender);
