/* The table of resolved names: written by the resolver process, read by workers, shared as one mapping. A worker never
 * waits for DNS: it reads the last good answer, which stays until there is a better one.
 *
 * A slot keeps two answers and a version that tells which one is in force, so that neither side waits for the other and a
 * resolver that dies while it writes leaves the last good answer. */
#pragma once
#include "address.h"
#include <stddef.h>

#define RESOLVED_ADDRESSES_MAX 8

struct resolved; /* one slot a name, in the order of the policy's names */

/* The master makes the mapping before it forks; resolved_read_only() then gives the write access up in a worker for good
 * (0 or -errno). It needs a descriptor of its own for that and closes it: call it before closing what is not known. */
int resolved_new(struct resolved **ret, size_t n_names);
int resolved_read_only(struct resolved *resolved);
void resolved_free(struct resolved *resolved); /* unmaps; accepts NULL */

/* The resolver's side. An empty answer is ignored: the last good one stays. */
void resolved_write(struct resolved *resolved, size_t name, const struct address *addresses, size_t count);

/* The worker's side: how many addresses were copied into `ret` (their port as given); 0: no answer yet. */
size_t resolved_read(
	const struct resolved *resolved, size_t name, uint16_t port, struct address ret[RESOLVED_ADDRESSES_MAX]);
