/* A handover's own state, and what is done with what its channels carried. For handover.c alone. */
#pragma once
#include "handover.h"

struct handover {
	struct loop *loop;
	struct address receiver;
	enum handover_format format;
	struct handover_channel *channel;  /* for what is sent now; NULL: to be opened */
	struct handover_channel *channels; /* all, also those that are ending or closed */
	int (*opener)(void *context);      /* NULL: none */
	void *opener_context;
	struct timer retry, look;
	struct task later;
	struct list waiting;
	size_t n_waiting, n_kept;
	bool blocked;  /* the channel is full, or enough is kept: an event will tell */
	bool paused;   /* until the timer */
	bool reopened; /* since a message last went through: the next break is final */
	bool wary;     /* the last receiver acknowledged: the next one is told little until it does */
	bool opening;  /* the opener was asked */
	bool looking;  /* the timer runs, for datagrams */
	bool busy;     /* in handover_run(): what is added or cancelled by a `done` only changes the line */
};

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
