/* What a worker tells of its sessions when the master asks: lines of JSON, written to a file in memory. */
#pragma once
#include "message.h"
#include "session.h"

/* Does what is asked and writes to `fd`, which stays the caller's. 0 or -errno, for the master. */
int session_report(struct context *context, const struct message_report *request, int fd);
