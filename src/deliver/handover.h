/* Passes a connection's socket to another process over a kept AF_UNIX stream, or by datagrams to where several processes
 * take them (see include/usher/handover.h).
 * One channel a worker and receiver. What the receiver does not take at once waits in line, for as long as
 * the caller lets it; a channel that broke is opened again once before requests fail.
 *
 * What the kernel has taken for a receiver is lost with it if it was not read. So the client's socket is kept until the receiver
 * acknowledges; a receiver that acknowledges gets again, on the next channel, what it had not acknowledged when its channel broke.
 *
 * No client is served twice: a receiver may use a socket only after its acknowledgement was written, and a connection is taken
 * back by shutting the channel down, after which none can be written. The kernel's lock on the socket decides which is first. A
 * datagram brings the end of a stream with it, on which the process that took it writes its receipt, in any order; it is taken
 * back by shutting that stream down. A datagram socket that is closed is not reported: the oldest datagram without a receipt
 * that is in no queue (SIOCOUTQ) at two looks 50 ms apart is sent again. */
#pragma once
#include "facts.h"
#include "list.h"
#include "loop.h"
#include "target.h"

/* How many may be sent and not acknowledged at a time; more wait. */
#define HANDOVER_KEPT_MAX 128

struct handover;
struct handover_channel;

/* NULL: no memory. */
struct handover *handover_new(struct loop *loop, const struct address *receiver, enum handover_format format);

/* How a channel is had where this process may not connect (-EACCES): `open` is called, and 0 from it means that
 * handover_opened() will follow, not from within. */
void handover_set_opener(struct handover *handover, int (*open)(void *context), void *context);
void handover_opened(struct handover *handover, int fd); /* connected, to be taken over; or -errno */

/* Accepts NULL; requests must be gone. From a task or outside the loop: an event may still be queued. */
void handover_free(struct handover *handover);

struct handover_request {
	int fd;           /* stays the caller's; may be closed once done with 0 */
	int early;        /* likewise, of a flow: in which the datagrams are that came before (usher/handover.h) */
	bool is_datagram; /* a flow: `fd' is a socket of UDP, and `early' goes with it */
	const struct facts *facts;                       /* read when the message is sent */
	void (*going)(struct handover_request *request); /* before each time that it goes out; NULL */
	/* Once, perhaps before handover_send() returns: 0 when the receiver has acknowledged the message, or when the
	 * kernel has taken it for one that does not acknowledge; or -errno (-ENOENT, -ECONNREFUSED: nobody listens;
	 * -EPROTOTYPE: the receiver's socket is one of datagrams, which is for connections alone; -EPIPE, -ECONNRESET: broken twice; -EPROTO: the receiver broke the format and may have the socket or not: it
	 * is for nobody else). It may send and cancel others. */
	void (*done)(struct handover_request *request, int error);

	unsigned n_sent; /* how often it went out; 0 to begin with */

	struct handover *handover;        /* NULL: not waiting */
	struct handover_channel *channel; /* on which it was sent; NULL: not sent yet */
	uint64_t number;                  /* on that channel */
	bool taken;                       /* the receiver of a datagram said so */
	struct list_item item;            /* of those that wait, or that the channel keeps */
};

/* NULL: there is none. Of a list that is not empty, request_in(). */
static inline struct handover_request *request_of(struct list_item *item)
{
	return list_of(item, struct handover_request, item);
}

static inline struct handover_request *request_in(struct list_item *item)
{
	return container_of(item, struct handover_request, item);
}

void handover_send(struct handover *handover, struct handover_request *request);

/* `done` is not called. True: the receiver does not have it, and if it still finds the message it will not use it.
 * False: it has acknowledged it just now, or may have it without having to say so. Harmless when not waiting: true. */
bool handover_cancel(struct handover_request *request);
