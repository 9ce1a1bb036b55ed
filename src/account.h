/* What a connection adds to the counters, from accept to the end. */
#pragma once
#include "connection.h"

struct listener;

void account_accepted(struct connection *connection, const struct listener *listener);

/* It comes from another worker, that has counted it: it is open here now. */
void account_arrived(struct connection *connection);

/* It goes to another worker. */
void account_left(struct connection *connection);

/* It was decided for this service, or falls back to it. */
void account_service(struct connection *connection, uint32_t service);

/* The service could not be had. */
void account_failed(struct connection *connection);

void account_end(struct connection *connection, enum connection_end end);
