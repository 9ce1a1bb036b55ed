/* A connection until it is decided: from accept to connection_decided(), connection_stay() or an early end. */
#pragma once
#include "proxied.h"
#include <stdbool.h>
#include <stdint.h>

/* How long a client is waited for that may itself be waiting for the server (findings->client_waits), from its first bytes on; less
 * with a shorter search_timeout. */
#define CLIENT_WAITS_US UINT64_C(1000000)

struct connection;

/* Its socket is watched; `by` says whether a header is to come first. */
void undecided_begin(struct connection *connection, enum proxied_by by);

/* The client has sent something, or left. */
void undecided_ready(struct connection *connection, bool readable);

/* The deadline of the phase. */
void undecided_out_of_time(struct connection *connection);

/* The identifiers have answered (identify.h). */
void undecided_identified(void *context, uint32_t protocol, bool more_could_help);

/* The client was shown a whole banner that others say as well: its answer decides. */
void undecided_bannered(struct connection *connection);

/* Lets go of identifier and banner. */
void undecided_end(struct connection *connection);
