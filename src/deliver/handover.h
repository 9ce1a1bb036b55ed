/* Passes a connection's socket to another process over a kept AF_UNIX stream (see include/usher/handover.h).
 * One channel a worker and receiver. What the receiver does not take at once waits in line, for as long as
 * the caller lets it; a channel that broke is opened again once before requests fail. */
#pragma once
#include "facts.h"
#include "loop.h"
#include "target.h"

struct handover;

/* NULL: no memory. */
struct handover *handover_new(struct loop *loop, const struct address *receiver, enum handover_format format);

/* Accepts NULL; requests must be gone. From a task or outside the loop: an event may still be queued. */
void handover_free(struct handover *handover);

struct handover_request {
	int fd;                    /* stays the caller's; may be closed once done with 0 */
	const struct facts *facts; /* read when the message is sent */
	/* Once, perhaps before handover_send() returns: 0 when the kernel has taken the message, or -errno
	 * (-ENOENT, -ECONNREFUSED: nobody listens; -EPIPE, -ECONNRESET: broken twice). It may send and cancel
	 * others. */
	void (*done)(struct handover_request *request, int error);

	struct handover *handover; /* NULL: not waiting */
	struct handover_request *next, *previous;
};

void handover_send(struct handover *handover, struct handover_request *request);
/* The receiver does not get it, and `done` is not called. Harmless when not waiting. */
void handover_cancel(struct handover_request *request);
