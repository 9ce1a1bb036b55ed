/* Asks for the SRV records of a name (RFC 2782), and for the addresses of those targets whose did not come along. */
#pragma once
#include "srv_answer.h"
#include <ares.h>
#include <stdbool.h>

struct srv;

/* `done` is called once for each srv_ask(), perhaps before that returns: ARES_SUCCESS with the answer, which stays the srv's and is there until the
 * next question; or why there is none. NULL: no memory. */
struct srv *srv_new(
	const char *name, void (*done)(void *context, int status, const struct srv_answer *answer), void *context);

/* One question at a time. */
void srv_ask(struct srv *srv, ares_channel channel);
