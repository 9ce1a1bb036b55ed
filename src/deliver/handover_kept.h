/* A handover's own state, and what is done with what its channels carried. For handover.c alone. */
#pragma once
#include "handover.h"

enum handover_state {
	HANDOVER_GOES,
	HANDOVER_BLOCKED, /* the channel is full, or enough is kept: an event will tell */
	HANDOVER_OPENING, /* the opener was asked, and has not answered */
};

struct handover {
	struct loop *loop;
	struct address receiver;
	enum handover_format format;
	struct handover_channel *channel;  /* for what is sent now; NULL: to be opened */
	struct handover_channel *channels; /* all, also those that are ending or closed */
	int (*opener)(void *context);      /* NULL: none */
	void *opener_context;
	struct timer retry; /* while it runs nothing goes out */
	struct timer look;
	struct task later;
	struct list waiting;
	size_t n_waiting, n_kept;
	enum handover_state state;
	bool reopened; /* since a message last went through: the next break is final */
	bool wary;     /* the last receiver acknowledged: the next one is told little until it does */
	bool busy;     /* in handover_run(): what is added or cancelled by a `done` only changes the line */
};

/* Something has changed: it is tried again. */
static inline void handover_unblock(struct handover *handover)
{
	if (handover->state == HANDOVER_BLOCKED)
		handover->state = HANDOVER_GOES;
}

/* Neither waits nor is kept any more; `done` is called, or not. */
void request_remove(struct handover_request *request);
void request_end(struct handover_request *request, int error);

/* A channel's burial: frees it after the loop's turn. */
void channel_bury(struct task *task);

/* The steps below return 0 to go on, or the error with which everything that waits must fail. */

/* After channel_receive(), with what it returned. */
int handover_attend(struct handover *handover, struct handover_channel *channel, int error);

/* Nothing new goes out on this channel: what was sent there may still be acknowledged. */
int handover_retire(struct handover *handover);

/* The receiver takes nothing more, or is gone. */
int handover_sending_broke(struct handover *handover, int error);

/* Takes back all that the receiver has not acknowledged yet on this channel. -EPROTO: it cannot be known what it has. */
int handover_cut_off(struct handover *handover, struct handover_channel *channel);
