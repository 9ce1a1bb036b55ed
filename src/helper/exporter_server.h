/* The exporter's HTTP server: libmicrohttpd, and the bounds that its clients have. */
#pragma once
#include "exporter_answers.h"

struct exporter_server;

/* On a socket that listens, which stays the caller's. NULL: it cannot be had. */
struct exporter_server *exporter_server_new(int socket, const struct exporter_source *source);

int exporter_server_fd(
	const struct exporter_server *server); /* readable: exporter_server_run() has something to do */

/* Does what there is to do, and closes those whose time is over. For how long there is nothing else: milliseconds, at most `most_ms`. */
int exporter_server_run(struct exporter_server *server, int most_ms);
