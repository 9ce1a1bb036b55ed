/* TCPMUX's side of the conversation, RFC 1078: the client's first line is for us, and is answered with a line that begins with +
 * or -. The one protocol of which usher consumes bytes before it delivers. */
#pragma once
#include "policy.h"
#include <stdbool.h>
#include <sys/types.h>

/* Is it the protocol `number` that was decided? */
bool tcpmux_is_due(const struct policy *policy, uint32_t number);

/* Does any service ask for TCPMUX by name? Then a name that no service has is answered too. */
bool tcpmux_is_spoken(const struct policy *policy);

/* Takes the first line off the socket. 0 or -errno. */
int tcpmux_take_line(int fd);

/* "+" goes out before anything of the server's does. The socket's buffer is empty: it takes a line. */
void tcpmux_accept(int fd);

/* "-" and why; for the name HELP the names that there are. The line has been taken. */
void tcpmux_refuse(int fd, const char *why);
void tcpmux_help(int fd, const struct policy *policy);
