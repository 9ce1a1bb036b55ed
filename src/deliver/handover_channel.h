/* One channel to a receiver: an AF_UNIX stream on which messages go out and, in the format `usher`, answers come back; or
 * datagrams to a socket that the receiver's processes share, with a stream beside for their receipts. */
#pragma once
#include "handover.h"
#include "handover_message.h"
#include "loop.h"

struct handover_channel {
	struct loop *loop;
	struct handover *handover;
	struct handover_channel *next;      /* among its handover's */
	struct watch watch;                 /* fd -1: closed */
	bool datagrams;                     /* what follows is for them alone */
	struct watch receipts;              /* our end of the stream */
	int receipts_end;                   /* the other: every message takes a copy along */
	struct handover_request *withdrawn; /* not in `kept` any more, but a receipt for it still counts */
	size_t n_kept, room;                /* room: so many fill the receiver's queue; 0: not known */
	size_t n_taken;                     /* of `kept`: there is a receipt, and `done` was not called yet */
	uint64_t newest_taken, oldest_seen;
	struct task burial; /* frees it after the loop's turn */
	enum handover_format format;
	uint64_t opened_us;
	struct list kept; /* sent, in this order, and not acknowledged */
	uint64_t n_sent;  /* whole messages */
	struct handover_answers answers;
	bool known;  /* whether the receiver acknowledges: it announced it, or it began to read without */
	bool ending; /* no new messages, only acknowledgements */
	bool broken; /* the receiver said what it must not: what it said behind that is not known */
	bool reset;  /* its other end was closed over something unread */
	int unread;  /* what the kernel last called unread, in its own measure */
	/* The message that is going out. 0 .. sent -- the kernel has it, sent .. len -- to send before anything else;
	 * written anew for each attempt while `sent` is 0 */
	size_t sent, len;
	uint8_t message[USHER_MESSAGE_MAX];
};

/* A connected descriptor, non-blocking, or -errno: -EAGAIN: the receiver's queue is full. */
int channel_connect(const struct address *receiver);

/* Takes `fd` over when it returns 0; `ready` (of `receipts` too) and `run` are the caller's, for its loop. -EPROTOTYPE:
 * the receiver takes datagrams, which are not for `format`. */
int channel_new(struct loop *loop, int fd, enum handover_format format, struct handover_channel **ret);
void channel_close(struct handover_channel *channel); /* the memory stays the caller's to free */

/* 0 when the kernel has the whole message, or -errno. */
int channel_send(struct handover_channel *channel, const struct handover_request *request);

/* Reads what the receiver has answered, and learns whether it acknowledges. 0; -EPIPE, -ECONNRESET: no more will come;
 * -EPROTO: it announced, and then said what it must not. */
int channel_receive(struct handover_channel *channel);

static inline bool channel_is_silent(const struct handover_channel *channel)
{
	return channel->known && !channel->answers.announced;
}

/* The receiver has the request that was sent on this channel, and has said so. */
static inline bool channel_is_taken(const struct handover_channel *channel, const struct handover_request *request)
{
	return channel->datagrams ? request->taken : request->number <= channel->answers.n_acknowledged;
}

/* The next one of `kept` that is the receiver's, or NULL. */
struct handover_request *channel_settled(const struct handover_channel *channel);

/* To be asked from time to time, of datagrams: the oldest one was there the last time, and was read since by somebody who
 * died or hangs, or thrown away with the receiver's socket. */
bool channel_is_overdue(struct handover_channel *channel);

/* Nobody has the other end any more. */
bool channel_hung_up(const struct handover_channel *channel);

/* From now on the receiver cannot acknowledge. What it has acknowledged until now can still be received. */
void channel_shut(struct handover_channel *channel);
