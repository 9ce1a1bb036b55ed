/* Asking a running usher. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

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

/* What all commands of the control socket know: CONTROL_LONG_OPTIONS among the long options, CONTROL_SHORT_OPTIONS, and this for each that
 * getopt_long() returns. False: it is another one. */
struct control_options {
	const char *socket, *file; /* NULL: not given */
	bool json;
};
#define CONTROL_SHORT_OPTIONS "s:c:"
/* clang-format off */
#define CONTROL_LONG_OPTIONS                                                                                         \
	{ "config", required_argument, NULL, 'c' },                                                                  \
	{ "json", no_argument, NULL, 'j' },                                                                          \
	{ "socket", required_argument, NULL, 's' }
/* clang-format on */
bool control_option(struct control_options *options, int option, const char *argument);

/* Asks, and shows the answer to `word' there. The exit status. */
int control_ask_at(const char *path, const char *word, const char *request, bool json, FILE *to);
int control_ask_and_show(const struct control_options *options, const char *word, const char *request);
