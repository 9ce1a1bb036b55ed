/* Asking a running usher. */
#pragma once
#include <stddef.h>

#define DEFAULT_CONTROL "/run/usher/control.sock"

/* The socket's path: `socket` itself, else that of the configuration in `file`, else the usual one; either may be NULL. 0, or
 * -errno after a message. */
int control_path(const char *socket, const char *file, char *ret, size_t size);

/* The whole answer to one request, to be freed; NULL after a message. */
char *control_ask(const char *path, const char *request);

/* Without a message. 0 and the answer, or -errno. */
int control_ask_once(const char *path, const char *request, char **ret);

/* A connection to the control socket, or -errno; no message. */
int control_connect(const char *path);
/* The line of a request, onto such a connection. 0 or -errno: -EPIPE where the other side has closed, and no signal. */
int control_send(int fd, const char *request);
const char *control_error(int error); /* for people */
