/* Names of the deliveries, for people; what of an answer a target takes. */
#include "target.h"

const char *const delivery_names[] = {
	[DELIVERY_CONNECT] = "connect",
	[DELIVERY_HANDOVER] = "handover",
	[DELIVERY_EXEC] = "exec",
	[DELIVERY_REJECT] = "reject",
};

bool target_takes(const struct target *target, const struct backend *backend, const struct address *address)
{
	uint16_t port = address_port(address);

	if (backend->name == BACKEND_NO_NAME || backend->port)
		return true;
	for (size_t i = 0; i < target->connect.n_ports; i++)
		if (port >= target->connect.ports[i].first && port <= target->connect.ports[i].last)
			return true;
	return false;
}
