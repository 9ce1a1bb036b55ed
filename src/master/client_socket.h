/* The master's part of handing over flows: a socket of UDP that is connected to one client of a listener. */
#pragma once
#include "message.h"
#include "policy.h"

/* Is this a UDP listener of the policy, and the local address one of its own? */
bool client_socket_is_for(const struct policy *policy, const struct message_want_client *want);

/* A blocking socket at the local address and port, connected to the client, of family AF_INET6 (IPv4 addresses are mapped). Or -errno:
 * -EADDRNOTAVAIL: the listener is at all addresses, and this machine would speak to the client from another one. */
int client_socket_open(const struct policy *policy, const struct message_want_client *want);
