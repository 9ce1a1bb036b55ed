/* A log server: syslog over UDP or TCP (RFC 5424, 5426, and 6587 3.4.1). In the logger process only, which may wait. */
#pragma once
#include "address.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct log_remote {
	struct address to;
	enum transport_kind transport;
	int fd; /* -1: none, or none any more */
	pid_t pid;
	uint64_t again_us; /* not connected to again before that */
	int error;         /* why it is not connected */
	char host[256];
};

/* `to' as address_parse_remote() takes it. No connection is made yet: usher serves whether the server is there or not. `pid` is the one that
 * the lines have. */
void log_remote_init(struct log_remote *remote, const char *to, pid_t pid);

/* One line without '\n', of printable ASCII. `priority` is with the facility. Waits for a server that does not read, at most LOG_REMOTE_WAIT_S. False,
 * and errno: it was not sent. */
#define LOG_REMOTE_WAIT_S 5
bool log_remote_send(struct log_remote *remote, int priority, const char *text, size_t len);
