/* Connections of usher to itself, which `usher check` cannot see: by the name of a host, or through links that came later. */
#pragma once
#include <stdbool.h>

struct dial;

/* For `is_ours` of a dial whose `context` is a stream. Did this socket, which is connected, get to one of the policy's own listeners?
 * Asks the kernel only where the backend has a port that a listener has, or is a UNIX socket beside a listener that is one. */
bool self_connection_reached(const struct dial *dial, int fd);
