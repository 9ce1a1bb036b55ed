/* The worker's side of a handover: one kept channel to a receiver, and a line of requests that wait for it.
 *
 * Requests leave in the order in which they came. A message is one sendmsg() with the socket beside it;
 * should the kernel take only part, the descriptor went with the first byte, so the rest goes before anything
 * else, or the channel is closed: a receiver drops a message that was cut off. Answers are not read: there
 * are none.
 *
 * Waits without a limit of its own: a caller that loses patience cancels. Retries a broken channel once,
 * never one that is refused. Owns the channel and nothing else: requests, and the sockets in them, are the
 * caller's. */
#include "handover.h"
#include "fd.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <usher/handover.h>

/* How soon a receiver whose backlog is full is asked again. No event would tell. */
#define RETRY_US 10000

struct handover {
	struct loop *loop;
	struct address receiver;
	enum handover_format format;
	struct watch channel;
	struct timer retry;
	struct task later;
	struct handover_request *first, *last;
	size_t n_waiting;
	bool blocked;  /* the channel is full: EPOLLOUT will tell */
	bool paused;   /* until the timer */
	bool reopened; /* since a message last went through: the next break is final */
	bool busy;     /* in handover_run(): what is added or cancelled by a `done` only changes the line */
	/* The first request's message. 0 .. sent -- the kernel has it, sent .. len -- to send before anything
	 * else; written anew for each attempt while `sent` is 0 */
	size_t sent, len;
	uint8_t message[USHER_MESSAGE_MAX];
};

static void put16(uint8_t *bytes, size_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

static void message_add(struct handover *h, enum usher_attribute type, const void *value, size_t len)
{
	if (len > USHER_ATTRIBUTE_MAX || h->len + 4 + len > sizeof(h->message)) {
		h->message[5] |= USHER_FLAG_INCOMPLETE;
		return;
	}
	put16(h->message + h->len, type);
	put16(h->message + h->len + 2, len);
	memcpy(h->message + h->len + 4, value, len);
	h->len += 4 + len;
}

static void message_add_text(struct handover *h, enum usher_attribute type, const char *text)
{
	if (text && *text)
		message_add(h, type, text, strlen(text));
}

static void message_add_address(struct handover *h, enum usher_attribute type, const struct address *address)
{
	char text[ADDRESS_TEXT_MAX];

	if (address && address->len)
		message_add_text(h, type, address_format(address, text));
}

/* What a receiver is likeliest to need comes first: that is never left out for want of room. */
static void message_write(struct handover *h, const struct facts *facts)
{
	uint8_t id[8];

	h->sent = 0;
	if (h->format == HANDOVER_TCPMUX) {
		static const uint32_t magic = USHER_TCPMUX_MAGIC;

		memcpy(h->message, &magic, sizeof(magic));
		h->len = sizeof(magic);
		return;
	}
	memcpy(h->message, USHER_MAGIC, 4);
	h->message[4] = USHER_VERSION;
	h->message[5] = 0;
	h->len = USHER_HEADER_SIZE;
	for (size_t i = 0; i < sizeof(id); i++)
		id[i] = (uint8_t)(facts->id >> (56 - 8 * i));
	if (facts->id)
		message_add(h, USHER_ATTRIBUTE_ID, id, sizeof(id));
	message_add_text(h, USHER_ATTRIBUTE_SERVICE, facts->service);
	message_add_text(h, USHER_ATTRIBUTE_PROTOCOL, facts->protocol);
	message_add_text(h, USHER_ATTRIBUTE_SNI, facts->sni);
	message_add_address(h, USHER_ATTRIBUTE_CLIENT, facts->client);
	message_add_address(h, USHER_ATTRIBUTE_LOCAL, facts->local);
	message_add_text(h, USHER_ATTRIBUTE_ALPN, facts->alpn);
	message_add_text(h, USHER_ATTRIBUTE_HOST, facts->host);
	put16(h->message + 6, h->len);
}

static void channel_close(struct handover *h)
{
	fd_close(loop_unwatch(h->loop, &h->channel));
	h->blocked = false;
	h->sent = 0;
}

static int channel_open(struct handover *h)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, &h->receiver.sa, h->receiver.len) < 0)
		error = -errno;
	if (!error)
		error = loop_watch(h->loop, &h->channel, fd, EPOLLOUT | EPOLLET);
	if (error < 0)
		fd_close(fd);
	return error;
}

/* 0 when the kernel has the whole message, or -errno. */
static int channel_send(struct handover *h, const struct handover_request *request)
{
	if (!h->sent)
		message_write(h, request->facts);
	while (h->sent < h->len) {
		struct iovec part = { .iov_base = h->message + h->sent, .iov_len = h->len - h->sent };
		union {
			char bytes[CMSG_SPACE(sizeof(int))];
			struct cmsghdr align;
		} control = { .bytes = { 0 } };
		struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };
		ssize_t n;

		if (!h->sent) {
			m.msg_control = &control;
			m.msg_controllen = sizeof(control);
			*CMSG_FIRSTHDR(&m) = (struct cmsghdr){
				.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS
			};
			memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &request->fd, sizeof(int));
		}
		n = sendmsg(h->channel.fd, &m, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			h->sent += (size_t)n;
	}
	h->sent = 0;
	return 0;
}

static void request_remove(struct handover_request *request)
{
	struct handover *h = request->handover;

	if (request->previous)
		request->previous->next = request->next;
	else
		h->first = request->next;
	if (request->next)
		request->next->previous = request->previous;
	else
		h->last = request->previous;
	request->next = request->previous = NULL;
	request->handover = NULL;
	h->n_waiting--;
	if (!h->first) {
		loop_timer_stop(h->loop, &h->retry);
		h->paused = false;
		h->reopened = false;
	}
}

static void request_end(struct handover_request *request, int error)
{
	request_remove(request);
	request->done(request, error);
}

/* The steps below return 0 to go on, or the error with which everything that waits must fail. */

static int handover_pause(struct handover *h)
{
	int error = loop_timer(h->loop, &h->retry, clock_monotonic_us() + RETRY_US);

	h->paused = error == 0;
	return error;
}

static int channel_broke(struct handover *h, int error)
{
	channel_close(h);
	if (h->reopened)
		return error;
	h->reopened = h->first != NULL;
	return 0;
}

static int handover_step(struct handover *h)
{
	int error;

	if (h->channel.fd < 0) {
		error = channel_open(h);
		return error == -EAGAIN ? handover_pause(h) : error;
	}
	error = channel_send(h, h->first);
	switch (error) {
	case 0:
		h->reopened = false;
		request_end(h->first, 0);
		return 0;
	case -EAGAIN:
		h->blocked = true;
		return 0;
	case -ETOOMANYREFS: /* too many descriptors under way, on whatever channels: no event of ours would
	                       tell */
		return handover_pause(h);
	case -EPIPE:
	case -ECONNRESET:
		return channel_broke(h, error);
	default:
		if (h->sent)
			channel_close(h); /* or the next message would be taken for the rest of this one */
		request_end(h->first, error);
		return 0;
	}
}

static void handover_fail(struct handover *h, int error)
{
	/* Only those that wait now: what a `done` adds gets its own attempt, in the next turn. */
	for (size_t n = h->n_waiting; n > 0 && h->first; n--)
		request_end(h->first, error);
}

static void handover_run(struct handover *h, int error)
{
	if (h->busy)
		return;
	h->busy = true;
	while (error == 0 && h->first && !h->blocked && !h->paused)
		error = handover_step(h);
	if (error < 0)
		handover_fail(h, error);
	h->busy = false;
	if (h->first && !h->blocked && !h->paused)
		loop_defer(h->loop, &h->later);
}

static void handover_later(struct task *task)
{
	handover_run((struct handover *)((char *)task - offsetof(struct handover, later)), 0);
}

static void handover_retry(struct timer *timer)
{
	struct handover *h = (struct handover *)((char *)timer - offsetof(struct handover, retry));

	h->paused = false;
	handover_run(h, 0);
}

/* The event may be about an earlier channel that was closed in this very turn: ask before believing. */
static bool channel_hung_up(const struct handover *h)
{
	struct pollfd p = { .fd = h->channel.fd };

	return poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR);
}

static void handover_ready(struct watch *watch, uint32_t events)
{
	struct handover *h = (struct handover *)((char *)watch - offsetof(struct handover, channel));
	int error = 0;

	if (events & (EPOLLHUP | EPOLLERR) && channel_hung_up(h))
		error = channel_broke(h, -EPIPE);
	h->blocked = false;
	handover_run(h, error);
}

struct handover *handover_new(struct loop *loop, const struct address *receiver, enum handover_format format)
{
	struct handover *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->loop = loop;
	h->receiver = *receiver;
	h->format = format;
	h->channel = (struct watch){ .fd = -1, .ready = handover_ready };
	h->retry.fired = handover_retry;
	h->later.run = handover_later;
	return h;
}

void handover_free(struct handover *h)
{
	if (!h)
		return;
	channel_close(h);
	loop_timer_stop(h->loop, &h->retry);
	loop_cancel(h->loop, &h->later);
	free(h);
}

void handover_send(struct handover *h, struct handover_request *request)
{
	request->handover = h;
	request->next = NULL;
	request->previous = h->last;
	if (h->last)
		h->last->next = request;
	else
		h->first = request;
	h->last = request;
	h->n_waiting++;
	handover_run(h, 0);
}

void handover_cancel(struct handover_request *request)
{
	struct handover *h = request->handover;
	bool begun;

	if (!h)
		return;
	begun = request == h->first && h->sent > 0;
	request_remove(request);
	if (!begun)
		return;
	/* The receiver may have the socket, but not yet the message: cut off, it will drop both. */
	channel_close(h);
	if (h->first)
		loop_defer(h->loop, &h->later);
}
