/* Every backend of a policy as it is now: each address of each backend of each service that connects, by each transport that the service's
 * clients come by. */
#pragma once
#include "policy.h"

struct resolved;

struct backend_at {
	const struct service *service;
	const struct backend *backend;
	enum transport_kind transport;
	struct address address; /* len 0: its name has none yet */
	uint32_t weight;        /* of this address, as the file or SRV has it */
	bool backup;            /* likewise */
	uint64_t service_hash;  /* of the service's name, for the table of backends */
	uint64_t key;           /* in that table; 0 without an address */
};

/* Calls `visit` for each until that returns something else than 0, and returns that. `resolved` (NULL: none) may be a table of other names
 * than the policy's. */
int backend_walk(const struct policy *policy, const struct resolved *resolved,
	int (*visit)(void *context, const struct backend_at *at), void *context);

/* Does any service take an SRV record of this name with this port? `policy` is a struct policy. */
bool backend_walk_takes(const void *policy, uint32_t name, uint16_t port);

/* Does any service connect to this name, which a client asks for? */
bool backend_walk_allows(const void *policy, const char *name);

/* A digest of what the file says of it: another one, and it is said otherwise. Never 0. */
uint32_t backend_said(const struct backend_at *at);
