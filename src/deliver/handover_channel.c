/* One channel to a receiver, as the kernel sees it.
 *
 * A message is one sendmsg() with the socket beside it; should the kernel take only part, the descriptor went with the
 * first byte, so the rest goes before anything else, or the channel is closed: a receiver drops a message that was cut
 * off. Refuses to guess: whether a receiver acknowledges is known once it has said so, or once it has read something
 * without having said so, which SIOCOUTQ shows. Owns its descriptor; the requests in `kept` are the caller's. */
#include "handover_channel.h"
#include "fd.h"
#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define ANSWERS_AT_ONCE 512

int channel_connect(const struct address *receiver)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, &receiver->sa, receiver->len) == 0)
		return fd;
	int error = -errno;
	fd_close(fd);
	return error;
}

int channel_new(struct loop *loop, int fd, enum handover_format format, struct handover_channel **ret)
{
	struct handover_channel *channel = calloc(1, sizeof(*channel));
	bool speaks = format == HANDOVER_USHER;

	if (!channel)
		return -ENOMEM;
	int error = loop_watch(loop, &channel->watch, fd, EPOLLOUT | EPOLLET | (speaks ? EPOLLIN : 0));
	if (error < 0) {
		free(channel);
		return error;
	}
	channel->loop = loop;
	channel->format = format;
	channel->opened_us = clock_monotonic_us();
	channel->known = channel->answers.deaf = !speaks;
	*ret = channel;
	return 0;
}

void channel_close(struct handover_channel *channel)
{
	fd_close(loop_unwatch(channel->loop, &channel->watch));
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

static ssize_t channel_send_part(struct handover_channel *channel, int fd)
{
	struct iovec part = { .iov_base = channel->message + channel->sent, .iov_len = channel->len - channel->sent };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };

	if (!channel->sent) {
		m.msg_control = &control;
		m.msg_controllen = sizeof(control);
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS
		};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof(int));
	}
	return sendmsg(channel->watch.fd, &m, MSG_NOSIGNAL);
}

int channel_send(struct handover_channel *channel, const struct handover_request *request)
{
	int before = channel->unread;

	if (!channel->sent)
		channel->len = handover_message_write(channel->message, channel->format, request->facts);
	while (channel->sent < channel->len) {
		ssize_t n = channel_send_part(channel, request->fd);
		int error = n < 0 ? -errno : 0;

		if (error == -ECONNRESET)
			channel->reset = true; /* reported once: the next call does not say so again */
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
		ssize_t n = recv(channel->watch.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
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

int channel_receive(struct handover_channel *channel)
{
	/* In this order: a receiver announces before it reads, and a dead one's queue is emptied after its end can be
	 * seen. */
	bool was_read = !channel->known && channel_was_read(channel);
	int error = channel_read_answers(channel);

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
	(void)shutdown(channel->watch.fd, SHUT_RDWR);
}
