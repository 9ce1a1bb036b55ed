/* The master's part of a flow that the kernel is to forward: the socket through which a worker sends the flow's first datagrams once
 * more, as its client. */
#pragma once
#include "address.h"
#include <stdint.h>

/* A non-blocking UDP socket, bound to the client's address and port and connected to the listener's, with the mark; or -errno:
 * -EADDRINUSE, the client is on this machine; -EPERM, usher lacks CAP_NET_ADMIN. Both addresses are of one family, with ports. */
int forwarding_socket(const struct address *client, const struct address *local, uint32_t mark);
