/* The master's part of transparent services: it makes the sockets that may speak from a client's address
 * (socket_pool.h). */
#pragma once
#include "policy.h"
#include <sys/socket.h>

/* An unbound, non-blocking socket of this type, SOCK_STREAM or SOCK_DGRAM, that may be bound to any address, or -errno. Without root, CAP_NET_ADMIN or
 * CAP_NET_RAW it may be bound to this machine's own ones alone, which is all that clients from here need. It counts as the workers' user's, as if they had made it: rules of a firewall may
 * ask for a socket's owner. */
int transparent_open(const struct policy *policy, sa_family_t family, int type);

/* Says so in the log where the policy needs what this process may not do. */
void transparent_check(const struct policy *policy);
