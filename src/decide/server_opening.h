/* What a server says first, of the protocols in which it does so: for checks of servers. Told by the beginning alone: SMTP and FTP begin alike,
 * and what is one of them is taken for either. */
#pragma once
#include "evidence.h"

#define SERVER_OPENING_MAX 1024 /* bytes that are looked at; MORE is no answer beyond that */

struct server_opening {
	const char *name; /* that of the protocol's probe */
	enum verdict (*match)(const uint8_t *bytes, size_t len);
};

extern const struct server_opening server_openings[];
extern const size_t n_server_openings;

const struct server_opening *server_opening_find(
	const char *name); /* NULL: in this protocol the client speaks first */

/* The status of an HTTP/1 answer (RFC 9112 4): MORE, as long as it is not there. */
enum verdict http_status_read(const uint8_t *bytes, size_t len, unsigned *ret_status);
