/* The rules with which the kernel forwards flows of services that say `through = "kernel"', in a table of usher's own. */
#pragma once
#include "policy.h"
#include <stdio.h>

/* As nft(8) reads it: the whole table, one declaration of a set, a timeout or a chain in a line of its own, one tabulator before it. The
 * policy has such a service. */
void forwarding_write(const struct policy *policy, FILE *to);

bool service_is_forwarded(const struct service *service);

/* The backend that the kernel can forward flows of this family to; NULL: none. */
const struct backend *forwarding_backend(const struct service *service, sa_family_t family);
