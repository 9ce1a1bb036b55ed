/* The worker that retires: its live connections go to a worker of the next generation, as soon as each can be moved. */
#pragma once

struct connection;
struct emigration;
struct worker;

/* `channel` leads to the new worker; it is taken over. What cannot be moved, because the new worker is gone or does not understand
 * us, stays and is served to its end. 0 or -errno: nothing moves. */
int emigration_begin(struct worker *worker, int channel);
void emigration_free(struct emigration *emigration); /* accepts NULL */

/* A connection can be moved that could not before. Accepts NULL. */
void emigration_wake(struct emigration *emigration);
