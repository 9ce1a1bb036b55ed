/* One channel to a receiver, as the kernel sees it.
 *
 * A message is one sendmsg() with the socket beside it; should the kernel take only part, the descriptor went with the
 * first byte, so the rest goes before anything else, or the channel is closed: a receiver drops a message that was cut
 * off. Refuses to guess: whether a receiver acknowledges is known once it has said so, or once it has read something
 * without having said so, which SIOCOUTQ shows.
 *
 * A receiver's socket for datagrams is shared by its processes, each of which writes a receipt for what it took on the
 * stream that came beside it. That stream ends when we say so: then no process can write one any more. Nothing tells that
 * the socket is gone but the next message, and what was in it, which the kernel then no longer counts as ours.
 *
 * Owns its descriptors; the requests in `kept` are the caller's. */
#include "handover_channel.h"
#include "fd.h"
#include "ipc.h"
#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define ANSWERS_AT_ONCE 512

/* Fewer on their way say nothing about how many a queue of datagrams holds. */
#define ROOM_MIN 4

static int channel_connect_type(const struct address *receiver, int type)
{
	int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, &receiver->sa, receiver->len) == 0)
		return fd;
	int error = -errno;
	fd_close(fd);
	return error;
}

int channel_connect(const struct address *receiver)
{
	int fd = channel_connect_type(receiver, SOCK_STREAM);

	return fd == -EPROTOTYPE ? channel_connect_type(receiver, SOCK_DGRAM) : fd;
}

static int channel_is_datagrams(int fd)
{
	int type;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return -errno;
	return type == SOCK_DGRAM;
}

/* Events for the datagrams' own descriptor are asked for when it is full: each reading of one would be an event. */
static int channel_open_receipts(struct handover_channel *channel)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	int error = loop_watch(channel->loop, &channel->receipts, ends[0], EPOLLIN | EPOLLET);
	if (error < 0) {
		fd_close(ends[0]);
		fd_close(ends[1]);
		return error;
	}
	channel->receipts_end = ends[1];
	channel->datagrams = channel->known = channel->answers.announced = true;
	return 0;
}

int channel_new(struct loop *loop, int fd, enum handover_format format, struct handover_channel **ret)
{
	struct handover_channel *channel = calloc(1, sizeof(*channel));
	bool speaks = format == HANDOVER_USHER;
	int datagrams = channel_is_datagrams(fd);
	uint32_t events = EPOLLET | (datagrams ? 0 : EPOLLOUT) | (speaks && !datagrams ? EPOLLIN : 0);

	if (!channel)
		return -ENOMEM;
	*channel = (struct handover_channel){ .loop = loop,
		.format = format,
		.opened_us = clock_monotonic_us(),
		.watch = { .fd = -1 },
		.receipts = { .fd = -1 },
		.receipts_end = -1,
		.known = !speaks,
		.answers = { .deaf = !speaks } };
	int error = datagrams < 0 ? datagrams : datagrams && !speaks ? -EPROTOTYPE : 0;
	if (error == 0 && datagrams)
		error = channel_open_receipts(channel);
	if (error == 0)
		error = loop_watch(loop, &channel->watch, fd, events);
	if (error < 0) {
		channel_close(channel);
		free(channel);
		return error;
	}
	*ret = channel;
	return 0;
}

void channel_close(struct handover_channel *channel)
{
	fd_close(loop_unwatch(channel->loop, &channel->watch));
	fd_close(loop_unwatch(channel->loop, &channel->receipts));
	fd_close(channel->receipts_end);
	channel->receipts_end = -1;
}

/* How much the receiver has not read yet, or -errno where the kernel does not tell. */
static int channel_unread(const struct handover_channel *channel)
{
	int unread;

	return ioctl(channel->watch.fd, SIOCOUTQ, &unread) < 0 ? -errno : unread;
}

/* Whole messages that leave the queue shorter than it was were read from it, or another was meanwhile. */
static bool channel_was_read(const struct handover_channel *channel)
{
	return channel->n_sent > 0 && channel_unread(channel) < channel->unread;
}

static ssize_t channel_send_part(struct handover_channel *channel, const struct handover_request *request)
{
	struct iovec part = { .iov_base = channel->message + channel->sent, .iov_len = channel->len - channel->sent };
	const int fds[2] = { request->fd, channel->datagrams ? channel->receipts_end : request->early };
	size_t size = channel->datagrams || request->is_datagram ? sizeof(fds) : sizeof(fds[0]);
	union {
		char bytes[CMSG_SPACE(sizeof(fds))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };

	if (!channel->sent) {
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(size);
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(size), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS
		};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), fds, size);
	}
	return sendmsg(channel->watch.fd, &m, MSG_NOSIGNAL);
}

/* Where a receipt will come, it is the sign that there is room again, and how many were on their way says how much there
 * is; else the queue is full of others' messages, and epoll tells. */
static void channel_is_full(struct handover_channel *channel)
{
	if (channel->n_kept >= ROOM_MIN)
		channel->room = channel->n_kept;
	else
		(void)loop_rewatch(channel->loop, &channel->watch, EPOLLOUT | EPOLLET | EPOLLONESHOT);
}

int channel_send(struct handover_channel *channel, const struct handover_request *request)
{
	int before = channel->unread;

	if (request->is_datagram && (channel->datagrams || channel->format != HANDOVER_USHER))
		return -EPROTOTYPE;
	if (!channel->sent)
		channel->len = handover_message_write(channel->message, channel->format, request->facts,
			channel->datagrams ? channel->n_sent + 1 : 0, request->is_datagram);
	while (channel->sent < channel->len) {
		ssize_t n = channel_send_part(channel, request);
		int error = n < 0 ? -errno : 0;

		if (error == -ECONNRESET)
			channel->reset = true; /* reported once: the next call does not say so again */
		if (error == -EAGAIN && channel->datagrams)
			channel_is_full(channel);
		if (error < 0 && error != -EINTR)
			return error;
		if (n > 0)
			channel->sent += (size_t)n;
	}
	channel->sent = 0;
	channel->n_sent++;
	if (!channel->known) {
		channel->unread = channel_unread(channel);
		if (channel->unread <= before) /* shorter by what was read, or the kernel does not tell */
			channel->unread = INT_MAX;
	}
	return 0;
}

static int channel_read_answers(struct handover_channel *channel)
{
	struct handover_answers *answers = &channel->answers;

	while (!answers->deaf) {
		uint8_t bytes[ANSWERS_AT_ONCE];
		bool unused;
		ssize_t n = ipc_receive_bytes(channel->watch.fd, bytes, sizeof(bytes), MSG_DONTWAIT, &unused);
		int error = n < 0 ? -errno : 0;

		if (error == -EAGAIN)
			return 0;
		if (error == -EINTR)
			continue;
		if (n == 0)
			return channel->reset ? -ECONNRESET : -EPIPE;
		if (error == 0)
			error = handover_answers_read(answers, bytes, (size_t)n, channel->n_sent);
		if (error < 0)
			return error;
	}
	return channel_hung_up(channel) ? -EPIPE : 0;
}

/* A receipt for what was not sent, or twice, is none. */
static int channel_mark(struct handover_channel *channel, uint64_t number)
{
	struct handover_request *request = request_of(channel->kept.first);

	if (channel->withdrawn && channel->withdrawn->number == number)
		request = channel->withdrawn;
	while (request && request->number != number)
		request = request_of(request->item.next);
	if (!request || request->taken)
		return -EPROTO;
	request->taken = true;
	channel->n_taken += request != channel->withdrawn;
	if (number > channel->newest_taken)
		channel->newest_taken = number;
	return 0;
}

/* One byte more of the receipt that is being read. */
static int channel_add_receipt(struct handover_channel *channel, uint8_t byte)
{
	struct handover_answers *answers = &channel->answers;
	uint64_t number;

	answers->bytes[answers->have++] = byte;
	if (answers->have < sizeof(answers->bytes))
		return 0;
	answers->have = 0;
	int error = handover_receipt_read(answers->bytes, &number);
	return error < 0 ? error : channel_mark(channel, number);
}

static int channel_read_receipts(struct handover_channel *channel)
{
	uint8_t bytes[ANSWERS_AT_ONCE];
	bool unused;
	ssize_t n;

	do {
		n = ipc_receive_bytes(channel->receipts.fd, bytes, sizeof(bytes), MSG_DONTWAIT, &unused);
		if (n < 0 && errno != EINTR)
			return errno == EAGAIN ? 0 : -errno;
		if (n == 0) /* we shut it */
			return -EPIPE;
		for (ssize_t i = 0; i < n; i++) {
			int error = channel_add_receipt(channel, bytes[i]);

			if (error < 0)
				return error;
		}
	} while (n < 0 || n == sizeof(bytes));
	return 0;
}

struct handover_request *channel_settled(const struct handover_channel *channel)
{
	struct handover_request *request = request_of(channel->kept.first);

	if (!request)
		return NULL;
	if (!channel->datagrams)
		return channel_is_silent(channel) || channel_is_taken(channel, request) ? request : NULL;
	if (channel->n_taken == 0)
		return NULL;
	while (!request->taken)
		request = request_in(request->item.next);
	return request;
}

bool channel_is_overdue(struct handover_channel *channel)
{
	uint64_t oldest = request_in(channel->kept.first)->number;
	bool seen = channel->oldest_seen == oldest;

	channel->oldest_seen = oldest;
	return seen && (channel->newest_taken > oldest || channel_unread(channel) == 0);
}

int channel_receive(struct handover_channel *channel)
{
	/* In this order: a receiver announces before it reads, and a dead one's queue is emptied after its end can be
	 * seen. */
	bool was_read = !channel->known && channel_was_read(channel);
	int error = -EPROTO;

	if (!channel->broken)
		error = channel->datagrams ? channel_read_receipts(channel) : channel_read_answers(channel);
	channel->broken = error == -EPROTO;

	if (error == -ECONNRESET)
		channel->reset = true;
	if (channel->answers.announced || channel->answers.deaf || error == -EPIPE || (error == 0 && was_read))
		channel->known = true;
	return error;
}

bool channel_hung_up(const struct handover_channel *channel)
{
	struct pollfd p = { .fd = channel->watch.fd };

	return poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR);
}

void channel_shut(struct handover_channel *channel)
{
	(void)shutdown(channel->datagrams ? channel->receipts.fd : channel->watch.fd, SHUT_RDWR);
}
