/* Names of the deliveries, for people. */
#include "target.h"

const char *const delivery_names[] = {
	[DELIVERY_CONNECT] = "connect",
	[DELIVERY_HANDOVER] = "handover",
	[DELIVERY_EXEC] = "exec",
	[DELIVERY_REJECT] = "reject",
};
