/* Has the master start the servers of services with `start`. One request is open for a service at a time, however many clients wait for it. */
#pragma once
#include "context.h"

/* 0: it is being started, or has been asked for. -errno: it cannot be had, as the master has said a moment ago. */
int starter_ask(struct context *context, uint32_t service);

void starters_free(struct context *context);
