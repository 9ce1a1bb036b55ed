/* The worker's side of a handover: a line of requests that wait for their receiver, and the channel on which they go out, in
 * the order in which they came. What becomes of them then is handover_kept.c's.
 *
 * A receiver is unknown until it has announced that it acknowledges, or has read without. What is sent to an unknown one
 * is kept too, but cannot be taken back: it may be one that does not ask.
 *
 * Waits without a limit of its own: a caller that loses patience cancels. Retries a broken channel once, never one that
 * is refused. Owns its channels and nothing else: requests, and the sockets in them, are the caller's. */
#include "handover.h"
#include "fd.h"
#include "handover_channel.h"
#include "handover_kept.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

/* How soon a receiver whose backlog is full is asked again. No event would tell. */
#define RETRY_US 10000

/* How often it is looked whether an unknown receiver has read: events tell only while little is unread. */
#define LOOK_US 50000

/* How long a receiver is expected to announce itself before it is tried with one message, where the last one did. */
#define ANNOUNCEMENT_US 500000

/* ---- channels ---- */

static void handover_ready(struct watch *watch, uint32_t events);
static void handover_receipts_ready(struct watch *watch, uint32_t events);

/* Takes over `fd`. */
static int handover_use(struct handover *h, int fd)
{
	struct handover_channel *channel;
	int error = channel_new(h->loop, fd, h->format, &channel);
	if (error < 0) {
		fd_close(fd);
		return error;
	}
	channel->handover = h;
	channel->watch.ready = handover_ready;
	channel->receipts.ready = handover_receipts_ready;
	channel->burial.run = channel_bury;
	channel->next = h->channels;
	h->channels = h->channel = channel;
	if (channel->known)
		return 0;
	return loop_timer(h->loop, &h->look, channel->opened_us + LOOK_US);
}

static int handover_open(struct handover *h)
{
	int fd = channel_connect(&h->receiver);

	if (fd == -EACCES && h->opener) {
		int error = h->opener(h->opener_context);
		if (error == 0)
			h->state = HANDOVER_OPENING;
		return error;
	}
	return fd < 0 ? fd : handover_use(h, fd);
}

/* ---- sending ---- */

static int handover_pause(struct handover *h)
{
	return loop_timer(h->loop, &h->retry, clock_monotonic_us() + RETRY_US);
}

static bool handover_may_send(const struct handover *h)
{
	const struct handover_channel *channel = h->channel;

	if (channel_is_silent(channel) || channel->sent)
		return true;
	if (h->n_kept >= HANDOVER_KEPT_MAX || (channel->room && channel->n_kept >= channel->room))
		return false;
	if (channel->known || !h->wary)
		return true;
	return channel->n_sent == 0 && clock_monotonic_us() >= channel->opened_us + ANNOUNCEMENT_US;
}

static void handover_look_later(struct handover *h)
{
	loop_timer(h->loop, &h->look, clock_monotonic_us() + LOOK_US);
}

/* The first in line has gone out. */
static void handover_sent(struct handover *h)
{
	struct handover_request *request = request_in(h->waiting.first);
	struct handover_channel *channel = h->channel;

	request->n_sent++;
	if (channel_is_silent(channel)) {
		h->reopened = false;
		request_end(request, 0);
		return;
	}
	list_remove(&h->waiting, &request->item);
	h->n_waiting--;
	list_append(&channel->kept, &request->item);
	channel->n_kept++;
	h->n_kept++;
	request->channel = channel;
	request->number = channel->n_sent;
	if (channel->datagrams && !timer_is_running(&h->look))
		handover_look_later(h);
}

static int handover_step(struct handover *h)
{
	int error;

	if (!h->channel) {
		error = handover_open(h);
		return error == -EAGAIN ? handover_pause(h) : error;
	}
	if (!handover_may_send(h)) {
		h->state = HANDOVER_BLOCKED;
		return 0;
	}
	struct handover_request *first = request_in(h->waiting.first);
	if (first->going && !h->channel->sent)
		first->going(first);
	error = channel_send(h->channel, request_in(h->waiting.first));
	switch (error) {
	case 0:
		handover_sent(h);
		return 0;
	case -EAGAIN:
		h->state = HANDOVER_BLOCKED;
		return 0;
	case -ETOOMANYREFS: /* too many descriptors under way, on whatever channels: no event of ours would tell */
		return handover_pause(h);
	case -EPIPE:
	case -ECONNRESET:
	case -ECONNREFUSED: /* of a datagram */
		return handover_sending_broke(h, error);
	default:
		if (h->channel->sent)
			(void)handover_retire(h); /* or the next message would be taken for the rest of this one */
		request_end(request_in(h->waiting.first), error);
		return 0;
	}
}

static void handover_fail(struct handover *h, int error)
{
	/* Only those that wait now: what a `done` adds gets its own attempt, in the next turn. */
	for (size_t n = h->n_waiting; n > 0 && h->waiting.first; n--)
		request_end(request_in(h->waiting.first), error);
}

static bool handover_goes(const struct handover *h)
{
	return h->waiting.first && h->state == HANDOVER_GOES && !timer_is_running(&h->retry);
}

static void handover_run(struct handover *h, int error)
{
	if (h->busy)
		return;
	h->busy = true;
	while (error == 0 && handover_goes(h))
		error = handover_step(h);
	if (error < 0)
		handover_fail(h, error);
	h->busy = false;
	if (handover_goes(h))
		loop_defer(h->loop, &h->later);
}

static void handover_later(struct task *task)
{
	handover_run(container_of(task, struct handover, later), 0);
}

static void handover_retry(struct timer *timer)
{
	struct handover *h = container_of(timer, struct handover, retry);

	handover_run(h, 0);
}

/* Hears the receiver, and goes on with what that makes possible. */
static void handover_hear(struct handover *h, struct handover_channel *channel)
{
	h->busy = true;
	int error = handover_attend(h, channel, channel_receive(channel));
	h->busy = false;
	handover_unblock(h);
	handover_run(h, error);
}

/* What was lost with a process of the receiver's, or with its socket, is sent again. */
static void handover_look_for_receipts(struct handover *h, struct handover_channel *channel)
{
	if (!channel->kept.first)
		return;
	if (!channel_is_overdue(channel)) {
		handover_look_later(h);
		return;
	}
	h->busy = true;
	(void)handover_cut_off(h, channel);
	h->busy = false;
	handover_unblock(h);
	handover_run(h, 0);
}

static void handover_look(struct timer *timer)
{
	struct handover *h = container_of(timer, struct handover, look);
	struct handover_channel *channel = h->channel;

	if (channel && channel->datagrams)
		handover_look_for_receipts(h, channel);
	if (!channel || channel->known)
		return;
	handover_hear(h, channel);
	if (h->channel == channel && !channel->known)
		loop_timer(h->loop, &h->look, clock_monotonic_us() + LOOK_US);
}

static void handover_ready(struct watch *watch, uint32_t events)
{
	struct handover_channel *channel = container_of(watch, struct handover_channel, watch);
	struct handover *h = channel->handover;

	if (channel->known && events == EPOLLOUT) {
		handover_unblock(h);
		handover_run(h, 0);
	} else {
		handover_hear(h, channel);
	}
}

static void handover_receipts_ready(struct watch *watch, uint32_t events)
{
	struct handover_channel *channel = container_of(watch, struct handover_channel, receipts);

	handover_hear(channel->handover, channel);
}

/* ---- for the caller ---- */

struct handover *handover_new(struct loop *loop, const struct address *receiver, enum handover_format format)
{
	struct handover *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->loop = loop;
	h->receiver = *receiver;
	h->format = format;
	h->retry.fired = handover_retry;
	h->look.fired = handover_look;
	h->later.run = handover_later;
	return h;
}

void handover_set_opener(struct handover *h, int (*open)(void *context), void *context)
{
	h->opener = open;
	h->opener_context = context;
}

void handover_opened(struct handover *h, int fd)
{
	int error = fd < 0 ? fd : handover_use(h, fd);

	h->state = HANDOVER_GOES;
	if (error == -EAGAIN)
		error = handover_pause(h);
	handover_run(h, error);
}

void handover_free(struct handover *h)
{
	if (!h)
		return;
	loop_timer_stop(h->loop, &h->retry);
	loop_timer_stop(h->loop, &h->look);
	loop_cancel(h->loop, &h->later);
	for (struct handover_channel *channel; (channel = h->channels); free(channel)) {
		h->channels = channel->next;
		channel_close(channel);
		loop_cancel(h->loop, &channel->burial);
	}
	free(h);
}

void handover_send(struct handover *h, struct handover_request *request)
{
	request->handover = h;
	request->channel = NULL;
	list_append(&h->waiting, &request->item);
	h->n_waiting++;
	handover_run(h, 0);
}

static bool handover_withdraw(struct handover *h, struct handover_request *request)
{
	struct handover_channel *channel = request->channel;
	bool was_busy = h->busy;

	h->busy = true;
	request_remove(request);
	channel->withdrawn = request;
	int error = channel_receive(channel);
	if (error == 0 && channel->answers.announced && !channel_is_taken(channel, request))
		error = handover_cut_off(h, channel);
	else
		(void)handover_attend(h, channel, error);
	channel->withdrawn = NULL;
	h->busy = was_busy;
	if (error == -EPROTO || channel_is_taken(channel, request))
		return false;
	return channel->answers.announced || error == -ECONNRESET;
}

bool handover_cancel(struct handover_request *request)
{
	struct handover *h = request->handover;
	bool mine = true;

	if (!h)
		return true;
	if (request->channel) {
		mine = handover_withdraw(h, request);
		handover_unblock(h);
	} else {
		bool begun = &request->item == h->waiting.first && h->channel && h->channel->sent;
		request_remove(request);
		/* The receiver may have the socket, but not yet the message: cut off, it will drop both. */
		if (begun)
			(void)handover_retire(h);
	}
	if (handover_goes(h))
		loop_defer(h->loop, &h->later);
	return mine;
}
