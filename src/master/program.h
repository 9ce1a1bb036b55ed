/* Runs a service's program on a worker's request: in the master, which alone may. */
#pragma once
#include "message.h"
#include "target.h"

/* `service` is told to the program; NULL: it is no service's. `client` is the connection's socket for stdio = socket, else -1; it stays the caller's. On success `ret_fds` are the program's
 * output and input (pipes) or its terminal and -1 (pty), or both -1 (socket); they are the caller's. 0 and the pid, or
 * -errno.
 *
 * TCPMUX's +, where the request asks for it, is sent on the socket right before the program runs; `ret_greeted` is set
 * then, also where it fails after that. NULL: it is not sent. */
int program_start(const struct program *program, const char *service, const struct message_spawn *request, int client,
	int ret_fds[2], pid_t *ret_pid, bool *ret_greeted);

/* A server, which finds its clients itself: with /dev/null as its stdio. 0 and the pid, or -errno. */
int program_start_server(const struct program *program, const char *service, pid_t *ret_pid);
