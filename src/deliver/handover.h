/* Passes a connection's socket to another process over a kept AF_UNIX stream (formats: see include/usher/handover.h).
 * One channel a worker and receiver. What the receiver does not take at once waits in line, for as long as the caller lets
 * it; a channel that broke is opened again once before requests fail. */
#pragma once
#include "facts.h"
#include "loop.h"
#include "target.h"

struct handover;

struct handover *handover_new(struct loop *loop, const struct address *receiver, enum handover_format format); /* NULL: no memory */
void handover_free(struct handover *handover); /* accepts NULL; requests must be gone */

struct handover_request {
	int fd;                    /* stays the caller's; may be closed once done with 0 */
	const struct facts *facts; /* read when the message is sent */
	/* Once, perhaps before handover_send() returns: 0 when the kernel has taken the message, or -errno. */
	void (*done)(struct handover_request *request, int error);

	struct handover *handover; /* NULL: not waiting */
	struct handover_request *next, *previous;
};

void handover_send(struct handover *handover, struct handover_request *request);
void handover_cancel(struct handover_request *request); /* harmless when not waiting */
