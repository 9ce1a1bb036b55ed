/* What a flow's evidence says. */
#pragma once
#include "evidence.h"
#include <stdbool.h>
#include <stdint.h>

struct context;
struct flow;

enum flow_look {
	FLOW_WAITS,   /* more may come */
	FLOW_SERVICE, /* that one, by that protocol */
	FLOW_UNKNOWN, /* every service says no */
};

/* Of a client that has no flow yet: its first datagram. Leaves the findings for flow_keep_names(). */
enum flow_look flow_look_at_first(struct context *context, size_t decider, const uint8_t *bytes, size_t len,
	uint32_t *ret_service, uint32_t *ret_protocol);

/* Of one that is undecided: all that is kept. `last`: MORE counts as NO. What it was decided by is kept with the session. */
enum flow_look flow_examine(struct flow *flow, bool last, uint32_t *ret_service, uint32_t *ret_protocol);
