/* The receivers that a policy hands connections to, as a worker has them. */
#pragma once
#include "address.h"
#include "handover.h"
#include "policy.h"
#include "requester.h"

struct receivers; /* a worker's */

/* 0 or -errno. */
int receivers_new(
	struct receivers **ret, struct loop *loop, struct requester *requester, const struct policy *policy);
void receivers_free(struct receivers *receivers); /* as handover_free(); accepts NULL */

/* Of a service that hands over. */
struct handover *receivers_of(const struct receivers *receivers, uint32_t service);
