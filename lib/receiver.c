/* libusher-handover: takes connections from usher over any number of channels, one at a call.
 *
 * Never waits but in usher_wait(), never loses track of a descriptor that the kernel put into this process,
 * and lets no channel keep the others waiting: epoll, level-triggered and asked for one event at a time,
 * moves a channel that was served to the end of its line. A channel on which anything malformed comes is
 * closed; the others do not notice.
 *
 * Acknowledges before the program sees a connection: what could not be acknowledged is usher's again, and is closed here
 * with its channel.
 *
 * A receiver owns its channels, each channel the descriptor of the message that it is in the middle of; what
 * usher_accept() returned is the caller's. */
#include "message.h"
#include "socket.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define DESCRIPTORS_MAX                                                                                              \
	16 /* taken off one recvmsg, to be closed where it is not one: what has no room the kernel closes */

struct channel {
	struct channel *next, **link;
	int fd;
	int client, early;       /* that came with the message being read; -1: none yet */
	bool announced;          /* usher heard that we acknowledge */
	uint64_t n_acknowledged; /* or rather to be: counted before it is said */
	/* 0 .. have -- of a message that is not whole yet */
	size_t have;
	uint8_t message[USHER_MESSAGE_MAX];
};

struct usher_receiver {
	int epoll_fd;
	struct path_socket socket;
	bool stopping;
	bool listening; /* the listening socket is still watched */
	struct channel *channels;
	size_t n_channels;
	uint64_t refused;
};

static void channel_close(struct usher_receiver *receiver, struct channel *channel)
{
	*channel->link = channel->next;
	if (channel->next)
		channel->next->link = channel->link;
	receiver->n_channels--;
	/* A process that was forked may have it still: closed alone it would go on to be watched. */
	(void)epoll_ctl(receiver->epoll_fd, EPOLL_CTL_DEL, channel->fd, NULL);
	if (channel->client >= 0)
		close(channel->client);
	if (channel->early >= 0)
		close(channel->early);
	close(channel->fd);
	free(channel);
}

static int receiver_watch(struct usher_receiver *receiver, int fd, struct channel *channel)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = channel };

	return epoll_ctl(receiver->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int usher_listen(const char *path, mode_t mode, struct usher_receiver **ret)
{
	struct usher_receiver *receiver = calloc(1, sizeof(*receiver));

	if (!receiver)
		return -ENOMEM;
	int error = path_socket_listen(&receiver->socket, path, SOCK_STREAM, mode);
	if (error < 0)
		goto out;
	receiver->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	error = receiver->epoll_fd < 0 ? -errno : receiver_watch(receiver, receiver->socket.fd, NULL);
	if (error < 0) {
		path_socket_close(&receiver->socket);
		if (receiver->epoll_fd >= 0)
			close(receiver->epoll_fd);
		goto out;
	}
	receiver->listening = true;
	*ret = receiver;
	return 0;
out:
	free(receiver);
	return error;
}

int usher_receiver_fd(const struct usher_receiver *receiver)
{
	return receiver->epoll_fd;
}

uint64_t usher_refused(const struct usher_receiver *receiver)
{
	return receiver->refused;
}

int usher_wait(struct usher_receiver *receiver, int timeout_ms)
{
	struct pollfd p = { .fd = receiver->epoll_fd, .events = POLLIN };

	/* After usher_stop() the last channel may be gone already: usher_accept() has an answer at once. */
	if (receiver->stopping && !receiver->listening && !receiver->channels)
		return 0;
	int n = poll(&p, 1, timeout_ms);
	if (n < 0)
		return -errno;
	return n == 0 ? -ETIMEDOUT : 0;
}

/* Before anything is read. It fails where usher is gone already: what it left there is nobody else's then. */
static void channel_announce(struct channel *channel)
{
	static const uint8_t hello[USHER_HEADER_SIZE] = { 'U', 'S', 'H', 'R', USHER_VERSION, USHER_ANSWER_HELLO, 0,
		USHER_HEADER_SIZE };

	channel->announced = send(channel->fd, hello, sizeof(hello), MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(hello);
}

/* 0: the connection that was just read is ours. -EPIPE: usher has taken it back. -EBADMSG: whoever asked for
 * acknowledgements does not read them. */
static int channel_acknowledge(struct channel *channel)
{
	uint8_t bytes[USHER_ACKNOWLEDGEMENT_SIZE] = { 'U', 'S', 'H', 'R', USHER_VERSION, USHER_ANSWER_ACKNOWLEDGEMENT,
		0, USHER_ACKNOWLEDGEMENT_SIZE };

	if (!channel->announced || channel->have < USHER_HEADER_SIZE ||
		!(channel->message[5] & USHER_FLAG_ACKNOWLEDGE))
		return 0;
	channel->n_acknowledged++;
	for (size_t i = 0; i < 8; i++)
		bytes[USHER_HEADER_SIZE + i] = (uint8_t)(channel->n_acknowledged >> (56 - 8 * i));
	ssize_t n = send(channel->fd, bytes, sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n == sizeof(bytes))
		return 0;
	return n < 0 && errno != EAGAIN ? -EPIPE : -EBADMSG;
}

/* Takes one channel off the listening socket. 0 also where it went away again. */
static int channel_open(struct usher_receiver *receiver)
{
	int fd = accept4(receiver->socket.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		/* Its queue is empty and nobody can connect any more, but it would poll readable for ever. */
		if (receiver->stopping && (errno == EAGAIN || errno == EINVAL)) {
			(void)epoll_ctl(receiver->epoll_fd, EPOLL_CTL_DEL, receiver->socket.fd, NULL);
			receiver->listening = false;
			return 0;
		}
		return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ? 0 : -errno;
	}
	if (receiver->n_channels >= USHER_CHANNELS_MAX) {
		receiver->refused++;
		close(fd);
		return 0;
	}
	struct channel *channel = calloc(1, sizeof(*channel));
	int error = channel ? receiver_watch(receiver, fd, channel) : -ENOMEM;
	if (error < 0) {
		free(channel);
		close(fd);
		return error;
	}
	channel->fd = fd;
	channel->client = channel->early = -1;
	channel_announce(channel);
	channel->next = receiver->channels;
	channel->link = &receiver->channels;
	if (channel->next)
		channel->next->link = &channel->next;
	receiver->channels = channel;
	receiver->n_channels++;
	if (receiver->stopping)
		(void)shutdown(fd, SHUT_RD);
	return 0;
}

/* Gives the descriptors of `m` to the channel. -EBADMSG where there are more than two a message; then the others are
 * closed. */
static int channel_keep(struct channel *channel, struct msghdr *m)
{
	bool bad = m->msg_flags & MSG_CTRUNC;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t len = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; at + sizeof(int) <= len; at += sizeof(int)) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + at, sizeof(fd));
			if (channel->client < 0) {
				channel->client = fd;
			} else if (channel->early < 0) {
				channel->early = fd;
			} else {
				close(fd);
				bad = true;
			}
		}
	}
	return bad ? -EBADMSG : 0;
}

/* The kernel drops a descriptor that the table has no room for, and a client with it: look first. */
static int table_has_room(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (copy < 0)
		return -errno;
	close(copy);
	return 0;
}

/* Reads up to the end of the current message. How many bytes came, 0 at the end of the channel, or -errno. */
static ssize_t channel_receive(struct channel *channel)
{
	/* At a message's start its length is unknown, but the kernel stops behind bytes that have a
	 * descriptor. */
	int want = channel->have ? message_length(channel->message, channel->have) : USHER_MESSAGE_MAX;
	struct iovec part = { .iov_base = channel->message + channel->have };
	union {
		char bytes[CMSG_SPACE(sizeof(int) * DESCRIPTORS_MAX)];
		struct cmsghdr align;
	} control;
	struct msghdr m = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};

	if (want < 0)
		return want;
	part.iov_len = (size_t)want - channel->have;
	int error = table_has_room(channel->fd);
	if (error < 0)
		return error;
	ssize_t n = recvmsg(channel->fd, &m, MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	error = channel_keep(channel, &m);
	return error < 0 ? error : n;
}

/* 0 and a connection; -EAGAIN: not all there yet; -EMFILE and the like: try again; anything else is the
 * channel's end. */
static int channel_read(struct channel *channel, struct usher_connection *ret)
{
	ssize_t n = channel_receive(channel);

	if (n == 0 || n == -ECONNRESET) /* it did not read all that we said */
		return channel->have || channel->client >= 0 ? -EBADMSG : -EPIPE;
	if (n < 0)
		return (int)n;
	channel->have += (size_t)n;
	int length = message_length(channel->message, channel->have);
	if (length < 0)
		return length;
	if ((size_t)length > channel->have)
		return -EAGAIN;
	if ((size_t)length < channel->have || channel->client < 0)
		return -EBADMSG;
	int error = message_read(channel->message, channel->have, ret);
	if (error == 0 && (channel->early >= 0) != ((ret->flags & USHER_FLAG_DATAGRAMS) != 0))
		error = -EBADMSG;
	if (error == 0)
		error = channel_acknowledge(channel);
	if (error < 0)
		return error;
	ret->fd = channel->client;
	ret->early = channel->early;
	channel->client = channel->early = -1;
	channel->have = 0;
	return 0;
}

static bool passes(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOMEM;
}

int usher_accept4(struct usher_receiver *receiver, struct usher_connection *ret, int flags)
{
	struct usher_connection c;
	int nonblocking = flags == SOCK_NONBLOCK;

	if (flags & ~SOCK_NONBLOCK)
		return -EINVAL;
	for (;;) {
		struct epoll_event event;
		int error = 0;

		if (receiver->stopping && !receiver->listening && !receiver->channels)
			return -ESHUTDOWN;
		int n = epoll_wait(receiver->epoll_fd, &event, 1, 0);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EAGAIN;
		if (n < 0)
			continue;
		struct channel *channel = event.data.ptr;
		error = channel ? channel_read(channel, &c) : channel_open(receiver);
		if (passes(error) || (!channel && error < 0))
			return error;
		if (!channel || error == -EAGAIN || error == -EINTR)
			continue;
		if (error < 0) {
			receiver->refused += error == -EBADMSG;
			channel_close(receiver, channel);
			continue;
		}
		(void)ioctl(c.fd, FIONBIO, &nonblocking);
		*ret = c;
		return 0;
	}
}

int usher_accept(struct usher_receiver *receiver, struct usher_connection *ret)
{
	return usher_accept4(receiver, ret, 0);
}

ssize_t usher_early(struct usher_connection *c, void *buffer, size_t size, uint8_t *ret_tos)
{
	uint8_t head[4] = { 0 };
	struct iovec parts[2] = { { head, sizeof(head) }, { buffer, size } };
	struct msghdr m = { .msg_iov = parts, .msg_iovlen = 2 };
	ssize_t n;

	if (c->early < 0)
		return -ENODATA;
	do
		n = recvmsg(c->early, &m, MSG_DONTWAIT | MSG_TRUNC);
	while (n < 0 && errno == EINTR);
	if (n >= (ssize_t)sizeof(head)) {
		if (ret_tos)
			*ret_tos = head[0];
		return n - (ssize_t)sizeof(head);
	}
	close(c->early);
	c->early = -1;
	return -ENODATA;
}

void usher_stop(struct usher_receiver *receiver)
{
	receiver->stopping = true;
	(void)shutdown(receiver->socket.fd, SHUT_RD); /* connect() is refused, what is queued may still be accepted */
	for (struct channel *c = receiver->channels; c; c = c->next)
		(void)shutdown(c->fd, SHUT_RD);
}

void usher_close(struct usher_receiver *receiver)
{
	if (!receiver)
		return;
	for (struct channel *next, *channel = receiver->channels; channel; channel = next) {
		next = channel->next;
		channel_close(receiver, channel);
	}
	path_socket_close(&receiver->socket);
	close(receiver->epoll_fd);
	free(receiver);
}
