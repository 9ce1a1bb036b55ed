/* One channel to a receiver: an AF_UNIX stream on which messages go out and, in the format `usher`, answers come back. */
#pragma once
#include "handover.h"
#include "handover_line.h"
#include "handover_message.h"
#include "loop.h"

struct handover_channel {
	struct loop *loop;
	struct handover *handover;
	struct handover_channel *next; /* among its handover's */
	struct watch watch;            /* fd -1: closed */
	struct task burial;            /* frees it after the loop's turn */
	enum handover_format format;
	uint64_t opened_us;
	struct handover_line kept; /* sent, in this order, and not acknowledged */
	uint64_t n_sent;           /* whole messages */
	struct handover_answers answers;
	bool known;  /* whether the receiver acknowledges: it announced it, or it began to read without */
	bool ending; /* no new messages, only acknowledgements */
	bool reset;  /* its other end was closed over something unread */
	int unread;  /* what the kernel last called unread, in its own measure */
	/* The message that is going out. 0 .. sent -- the kernel has it, sent .. len -- to send before anything else;
	 * written anew for each attempt while `sent` is 0 */
	size_t sent, len;
	uint8_t message[USHER_MESSAGE_MAX];
};

/* A connected descriptor, non-blocking, or -errno: -EAGAIN: the receiver's queue is full. */
int channel_connect(const struct address *receiver);

/* Takes `fd` over when it returns 0; `ready` and `buried` are the caller's, for its loop. */
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

/* Nobody has the other end any more. */
bool channel_hung_up(const struct handover_channel *channel);

/* From now on the receiver cannot acknowledge. What it has acknowledged until now can still be received. */
void channel_shut(struct handover_channel *channel);
