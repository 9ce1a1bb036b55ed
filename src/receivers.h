/* The receivers that a policy hands connections to, as a worker has them; and what the master does where a worker may not
 * connect to one: it connects and passes the channel on. */
#pragma once
#include "address.h"
#include "handover.h"
#include "policy.h"
#include "spawner.h"

struct receivers; /* a worker's */

/* 0 or -errno. */
int receivers_new(struct receivers **ret, struct loop *loop, struct spawner *spawner, const struct policy *policy);
void receivers_free(struct receivers *receivers); /* as handover_free(); accepts NULL */

/* Of a service that hands over. */
struct handover *receivers_of(const struct receivers *receivers, uint32_t service);

/* In the master. A connected channel, or -errno. A symbolic link is not followed: who may put one there is not who may use
 * the master's rights. */
int receiver_connect(const struct address *receiver);
