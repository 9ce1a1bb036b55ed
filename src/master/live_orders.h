/* What the operator says of clients while usher runs: who is banned, and for whom a service is open. */
#pragma once
#include "control.h"

struct live_list;
struct policy;

/* `policy`: in force. 0, or -errno with a sentence in `why`. */
int live_orders_give(struct live_list *list, const struct policy *policy, const struct control_live *order, char *why,
	size_t size);

/* All that holds now, a line of JSON each, but what is said of services that the policy does not have. */
void live_orders_write(const struct live_list *list, const struct policy *policy, FILE *to);
