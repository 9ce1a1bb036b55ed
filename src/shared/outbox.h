/* Messages that a channel does not take at once. The peer's queue may be full, and the kernel may have no memory, or allow no more
 * descriptors under way (ENOBUFS, ENOMEM, ETOOMANYREFS): then the message is kept, with copies of its descriptors, and sent
 * later, in order. */
#pragma once
#include "loop.h"
#include "message.h"

struct letter;

struct outbox {
	struct loop *loop;
	int channel;                  /* -1: closed */
	struct letter *first, **last; /* that wait */
	struct timer retry;           /* where no event tells that the kernel takes more */
	void (*emptied)(struct outbox *outbox);
};

/* The channel stays the caller's. `emptied` (NULL: nothing) is called when all that waited was sent without an event of the
 * channel's. */
void outbox_init(struct outbox *outbox, struct loop *loop, int channel, void (*emptied)(struct outbox *outbox));

/* 0: sent, or it will be. -errno: it never will be (-EPIPE: the peer is gone, -ENOMEM and -EMFILE: it could not be
 * kept). The descriptors stay the caller's. */
int outbox_send(struct outbox *outbox, const struct message *message, const int *fds, size_t n_fds);

/* The channel has room again. */
void outbox_flush(struct outbox *outbox);

/* The request of this number is not sent any more, if it waits. */
void outbox_withdraw(struct outbox *outbox, uint64_t number);

/* Messages wait. */
bool outbox_waits(const struct outbox *outbox);

/* What waits is dropped, and nothing is taken any more. */
void outbox_close(struct outbox *outbox);
