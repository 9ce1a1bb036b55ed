/* One look at a stream's evidence: peeks, asks the decider, and where that needs it the identifiers. */
#pragma once
#include "identify.h"
#include <stdbool.h>
#include <stdint.h>

struct stream;

enum examined {
	EXAMINED_WAIT,    /* more may come */
	EXAMINED_SERVICE, /* that one, by that protocol */
	EXAMINED_UNKNOWN, /* every service says no */
	EXAMINED_SILENT,  /* the deadline is here and nothing is settled */
	EXAMINED_GONE,    /* the client has left before anything was settled */
	EXAMINED_RESET,
};

/* `last`: the deadline is here, and MORE counts as NO. What was learned on the way (sni, alpn, host) is kept with the session
 * unless it waits; `identified` is called with the stream where an identifier was asked and has answered. */
enum examined examine(struct stream *stream, bool last, identified_function *identified, uint32_t *ret_service,
	uint32_t *ret_protocol);
