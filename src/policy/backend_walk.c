/* Walks over the backends of a policy. Refuses to ask for a name: it takes the answers that are there. Owns nothing. */
#include "backend_walk.h"
#include "backend_table.h"
#include "hash.h"
#include "names.h"
#include "resolved.h"
#include <string.h>

static size_t addresses_of(const struct policy *policy, const struct resolved *resolved,
	const struct backend *backend, struct resolved_address ret[RESOLVED_ADDRESSES_MAX])
{
	if (backend->name == BACKEND_NO_NAME) {
		ret[0] = (struct resolved_address){ .address = backend->address, .weight = 1 };
		return 1;
	}
	/* Workers that an image before this one started may have names of another policy. */
	if (!resolved || backend->name >= resolved_count(resolved) ||
		strcmp(resolved_name(resolved, backend->name), policy->names[backend->name]) != 0)
		return 0;
	return resolved_read(resolved, backend->name, backend->port, ret);
}

struct walk {
	const struct policy *policy;
	const struct resolved *resolved;
	unsigned transports; /* of some listener */
	int (*visit)(void *context, const struct backend_at *at);
	void *context;
};

static int walk_backend(const struct walk *walk, struct backend_at *at)
{
	struct resolved_address known[RESOLVED_ADDRESSES_MAX];
	size_t n = addresses_of(walk->policy, walk->resolved, at->backend, known);
	bool is_known = false;
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		if (!target_takes(&at->service->target, at->backend, &known[i].address))
			continue;
		is_known = true;
		at->address = known[i].address;
		at->weight = (uint32_t)at->backend->weight * known[i].weight;
		at->backup = at->backend->backup || known[i].rank > 0;
		at->key = backend_key(at->service_hash, at->transport, &at->address);
		r = walk->visit(walk->context, at);
	}
	if (!is_known) {
		at->address = (struct address){ 0 };
		at->weight = at->backend->weight;
		at->backup = at->backend->backup;
		at->key = 0;
		r = walk->visit(walk->context, at);
	}
	return r;
}

static int walk_service(const struct walk *walk, const struct service *service)
{
	struct backend_at at = { .service = service, .service_hash = hash_name(service->name) };
	int r = 0;

	if (service->target.delivery != DELIVERY_CONNECT || service->target.connect.name_by != NAME_BY_FILE)
		return 0;
	for (int t = 0; t < TRANSPORT_COUNT; t++) {
		at.transport = (enum transport_kind)t;
		if (!(service->transports & walk->transports & 1U << t))
			continue;
		for (size_t i = 0; i < service->target.connect.n_backends && r == 0; i++) {
			at.backend = &service->target.connect.backends[i];
			r = walk_backend(walk, &at);
		}
	}
	return r;
}

int backend_walk(const struct policy *policy, const struct resolved *resolved,
	int (*visit)(void *context, const struct backend_at *at), void *context)
{
	struct walk walk = { .policy = policy, .resolved = resolved, .visit = visit, .context = context };
	int r = 0;

	for (int t = 0; t < TRANSPORT_COUNT; t++)
		walk.transports |= policy_has_transport(policy, (enum transport_kind)t) ? 1U << t : 0;
	for (size_t i = 0; i < policy->n_services && r == 0; i++)
		r = walk_service(&walk, &policy->services[i]);
	return r;
}

bool backend_walk_takes(const void *policy, uint32_t name, uint16_t port)
{
	const struct policy *of = policy;
	struct address address = { .len = sizeof(address.in), .in.sin_family = AF_INET };

	address_set_port(&address, port);
	for (size_t i = 0; i < of->n_services; i++) {
		const struct target *target = &of->services[i].target;
		for (size_t k = 0; target->delivery == DELIVERY_CONNECT && k < target->connect.n_backends; k++)
			if (target->connect.backends[k].name == name &&
				target_takes(target, &target->connect.backends[k], &address))
				return true;
	}
	return false;
}

static void is_covered(void *context, const uint32_t *numbers, size_t count)
{
	*(bool *)context = true;
}

bool backend_walk_allows(const void *policy, const char *name)
{
	const struct policy *of = policy;
	bool is_allowed = false;

	for (size_t i = 0; i < of->n_services && !is_allowed; i++) {
		const struct target *target = &of->services[i].target;
		if (target->delivery == DELIVERY_CONNECT && target->connect.name_by != NAME_BY_FILE)
			names_lookup(target->connect.allow_names, (const uint8_t *)name, strlen(name), is_covered,
				&is_allowed);
	}
	return is_allowed;
}

static uint64_t hash_number(uint64_t hash, uint32_t number)
{
	for (int i = 0; i < 4; i++, number >>= 8)
		hash = hash_byte(hash, (uint8_t)number);
	return hash;
}

uint32_t backend_said(const struct backend_at *at)
{
	const struct backend *backend = at->backend;
	uint64_t hash = at->service_hash;

	for (const char *c = backend->text; *c; c++)
		hash = hash_byte(hash, (uint8_t)*c);
	hash = hash_number(hash, backend->weight);
	hash = hash_number(hash, backend->max_connections);
	hash = hash_mix(hash_byte(hash, backend->backup), HASH_GOLDEN);
	return (uint32_t)(hash >> 32) | 1;
}
