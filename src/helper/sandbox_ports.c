/* The ports of a policy. Refuses to look at addresses: Landlock knows none. Owns nothing. */
#include "sandbox_ports.h"
#include "checks.h"
#include "policy.h"

/* Port 0 is none. */
static void mark_range(uint8_t *ports, unsigned first, unsigned last)
{
	for (unsigned port = first ? first : 1; port <= last; port++)
		ports[port / 8] |= (uint8_t)(1u << port % 8);
}

static uint16_t backend_port(const struct backend *backend)
{
	return backend->port ? backend->port : address_port(&backend->address);
}

/* Where backends of a service listen. */
static void mark_backends(uint8_t *ports, const struct target *target)
{
	for (size_t i = 0; i < target->connect.n_backends; i++) {
		uint16_t port = backend_port(&target->connect.backends[i]);
		mark_range(ports, port, port);
	}
	for (size_t i = 0; i < target->connect.n_ports; i++)
		mark_range(ports, target->connect.ports[i].first, target->connect.ports[i].last);
}

void sandbox_ports_connect(uint8_t *ports, const struct policy *policy)
{
	for (size_t i = 0; i < policy->n_services; i++) {
		const struct target *target = &policy->services[i].target;
		if (target->delivery == DELIVERY_CONNECT)
			mark_backends(ports, target);
	}
}

void sandbox_ports_check(uint8_t *ports, const struct policy *policy)
{
	for (size_t i = 0; i < policy->n_services; i++) {
		const struct target *target = &policy->services[i].target;
		const struct check *check = target->delivery == DELIVERY_CONNECT ? target->connect.check : NULL;
		if (check && check->port)
			mark_range(ports, check->port, check->port);
		else if (check)
			mark_backends(ports, target);
	}
}
