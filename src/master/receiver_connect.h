/* What the master does where a worker may not connect to a receiver of handovers: it connects and passes the channel on. */
#pragma once
#include "address.h"

/* A connected channel, or -errno. A symbolic link is not followed: who may put one there is not who may use
 * the master's rights. */
int receiver_connect(const struct address *receiver);
