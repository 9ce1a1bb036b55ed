/* The delivery of a connection by its service: connect, handover, exec, reject. How it went comes back by connection_delivered(),
 * connection_undelivered(), connection_refuse() or connection_end(), perhaps before delivery_begin() returns. */
#pragma once

struct connection;
struct message;

void delivery_begin(struct connection *connection);

/* The deadline of the phase. */
void delivery_out_of_time(struct connection *connection);

/* Nothing more will come back. Harmless where nothing is under way. */
void delivery_cancel(struct connection *connection);

/* What the master is told of a connection that it is to run a program for. */
void delivery_describe(const struct connection *connection, struct message *message);
