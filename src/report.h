/* What a worker tells of its connections when the master asks: lines of JSON, written to a file in memory. */
#pragma once
#include "message.h"

struct connection;
struct worker;

/* Does what the message asks, writes to `fd`, and answers the master. */
void report_answer(struct worker *worker, const struct message *request, int fd);

/* Keeps the first bytes of a connection that is decided, where the policy wants them kept. */
void report_keep(struct connection *connection, const uint8_t *bytes, size_t len);

/* Those bytes, to go with the connection to another worker; NULL and 0: none. */
const uint8_t *report_kept(const struct connection *connection, uint32_t *ret_len);

/* It ends: what was kept of it goes to those that have ended, of which the last REPORT_RECENT are remembered. */
#define REPORT_RECENT 256
void report_ended(struct connection *connection);
void report_forget_all(struct worker *worker);
