/* What the operator wants of backends while usher runs: orders over the control socket, in the table that workers obey. */
#pragma once
#include "control.h"

struct backend_table;
struct generation;

/* For every address of the service's that is meant: by the address, or of a name by what the file says. How many these are, or -errno with a
 * sentence in `why`. */
int backend_orders_give(struct backend_table *table, const struct generation *serving,
	const struct control_backend *order, char *why, size_t size);

/* This policy is in force: orders stay for backends of which it says the same as the one under which they were given. */
void backend_orders_keep(struct backend_table *table, const struct policy *policy);
