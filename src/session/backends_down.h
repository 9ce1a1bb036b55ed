/* Ends sessions whose backend was found down by checks, where their service wants that (`on_down = "close"'). */
#pragma once
#include "loop.h"
#include <stdint.h>

struct context;

struct backends_down {
	struct timer again;
	uint32_t seen; /* backend_table_downs() */
};

/* From now on, if a service of the policy wants it. Embedded in the context. */
void backends_down_watch(struct context *context);
