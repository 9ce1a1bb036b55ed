/* What went out on a handover's channels and is not acknowledged, and what becomes of it when a channel ends.
 *
 * What a receiver had not acknowledged when its channel broke goes back to the head of the line: it cannot have used it, because
 * it must acknowledge first. What is taken back is cut off in the same way: with the channel shut down no acknowledgement can come
 * any more, so the receiver drops it. Sends nothing and opens no channel (handover.c). Owns nothing. */
#include "handover_kept.h"
#include "handover_channel.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

void request_remove(struct handover_request *request)
{
	struct handover *h = request->handover;

	if (request->channel) {
		list_remove(&request->channel->kept, &request->item);
		request->channel->n_taken -= request->taken;
		request->channel->n_kept--;
		h->n_kept--;
	} else {
		list_remove(&h->waiting, &request->item);
		h->n_waiting--;
	}
	request->handover = NULL;
	request->channel = NULL;
	if (!h->waiting.first) {
		loop_timer_stop(h->loop, &h->retry);
		h->reopened = h->reopened && h->n_kept > 0;
	}
}

void request_end(struct handover_request *request, int error)
{
	request_remove(request);
	request->done(request, error);
}

void channel_bury(struct task *task)
{
	struct handover_channel *channel = container_of(task, struct handover_channel, burial);
	struct handover_channel **link = &channel->handover->channels;

	while (*link != channel)
		link = &(*link)->next;
	*link = channel->next;
	free(channel);
}

static void handover_drop(struct handover *h, struct handover_channel *channel)
{
	channel_close(channel);
	loop_defer(h->loop, &channel->burial);
	if (channel != h->channel)
		return;
	h->channel = NULL;
	handover_unblock(h);
}

/* Back to the head of the line, in their order. */
static void handover_take_back(struct handover *h, struct handover_channel *channel)
{
	struct handover_request *request;

	while ((request = request_of(channel->kept.last))) {
		list_remove(&channel->kept, &request->item);
		request->channel = NULL;
		request->taken = false;
		channel->n_kept--;
		h->n_kept--;
		list_prepend(&h->waiting, &request->item);
		h->n_waiting++;
	}
}

/* Ends what the receiver has: what it has acknowledged, or everything where it does not acknowledge. */
static void handover_settle(struct handover *h, struct handover_channel *channel)
{
	struct handover_request *request;

	if (channel->known && channel == h->channel)
		h->wary = channel->answers.announced;
	while ((request = channel_settled(channel))) {
		h->reopened = false;
		request_end(request, 0);
	}
}

static int handover_lost(struct handover *h, int error)
{
	if (h->reopened)
		return error;
	h->reopened = h->waiting.first != NULL;
	return 0;
}

/* Whoever breaks the format may have used what it did not acknowledge. */
static void handover_disown(struct handover *h, struct handover_channel *channel)
{
	while (channel->kept.first)
		request_end(request_of(channel->kept.first), -EPROTO);
	handover_drop(h, channel);
}

int handover_attend(struct handover *h, struct handover_channel *channel, int error)
{
	bool current = channel == h->channel;

	handover_settle(h, channel);
	if (channel->watch.fd < 0)
		return 0; /* a `done` took something back, and the channel with it */
	if (error == -EPROTO) {
		handover_disown(h, channel);
		return 0;
	}
	if (error < 0 && (channel->answers.announced || channel_hung_up(channel))) {
		handover_take_back(h, channel);
		handover_drop(h, channel);
		return current ? handover_lost(h, error) : 0;
	}
	if (channel->ending && !channel->kept.first)
		handover_drop(h, channel);
	return 0;
}

int handover_retire(struct handover *h)
{
	struct handover_channel *channel = h->channel;
	int error = handover_attend(h, channel, channel_receive(channel));

	if (h->channel != channel)
		return error;
	channel->known = channel->ending = true;
	(void)shutdown(channel->watch.fd, SHUT_WR);
	h->channel = NULL;
	handover_unblock(h);
	(void)handover_attend(h, channel, 0);
	return 0;
}

int handover_cut_off(struct handover *h, struct handover_channel *channel)
{
	channel_shut(channel);
	int error = channel_receive(channel);
	handover_settle(h, channel);
	if (channel->watch.fd < 0)
		return 0;
	if (error == -EPROTO) {
		handover_disown(h, channel);
	} else {
		handover_take_back(h, channel);
		handover_drop(h, channel);
	}
	return error;
}

int handover_sending_broke(struct handover *h, int error)
{
	struct handover_channel *channel = h->channel;

	if (channel->datagrams) {
		(void)handover_cut_off(h, channel);
		return handover_lost(h, error);
	}
	int gone = handover_attend(h, channel, channel_receive(channel));
	if (h->channel != channel)
		return gone;
	gone = handover_retire(h);
	return gone < 0 ? gone : handover_lost(h, error);
}
