/* A receiver that does whatever it likes on usher's channels, and whatever becomes of the connections meanwhile.
 *
 * Input: two bytes a step, what to do and with what. Time is the test's own.
 *
 * Every request ends once. What a receiver has acknowledged in order is never sent to another, nor taken back; what was
 * taken back cannot be acknowledged. No descriptor is left. */
#include "handover_jobs.h"
#include <string.h>
#include <unistd.h>
#include <usher/handover.h>

#define CHANNELS_MAX 4
#define READ_MAX     512

struct channel {
	int fd;
	bool announced, tainted; /* tainted: it said what it must not */
	size_t n_read, n_acknowledged;
	uint64_t ids[READ_MAX];
};

static int listener;
static struct channel channels[CHANNELS_MAX];

static void listener_open(void)
{
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	(void)unlink(address.sun_path);
	require(listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
		listen(listener, 2) == 0);
}

/* ---- the receiver ---- */

static void channel_close(struct channel *channel)
{
	if (channel->fd >= 0)
		close(channel->fd);
	*channel = (struct channel){ .fd = -1 };
}

static void channel_accept(struct channel *channel)
{
	channel_close(channel);
	channel->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void channel_read(struct channel *channel)
{
	uint8_t message[USHER_MESSAGE_MAX];
	struct iovec part = { .iov_base = message, .iov_len = sizeof(message) };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr m = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	uint64_t id = 0;
	int fd;

	if (channel->n_read == READ_MAX || recvmsg(channel->fd, &m, MSG_CMSG_CLOEXEC) <= 0)
		return;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	close(fd);
	for (int i = 12; i < 20; i++)
		id = id << 8 | message[i];
	require(id > 0 && id <= n_jobs);
	channel->ids[channel->n_read++] = id;
}

/* As it must be done. */
static void channel_acknowledge(struct channel *channel, size_t how_many)
{
	size_t n = channel->n_acknowledged + 1 + how_many;
	uint8_t bytes[USHER_ACKNOWLEDGEMENT_SIZE] = { 'U', 'S', 'H', 'R', 1, 2, 0, 16 };

	if (!channel->announced || channel->tainted || channel->n_acknowledged == channel->n_read)
		return;
	if (n > channel->n_read)
		n = channel->n_read;
	bytes[14] = (uint8_t)(n >> 8);
	bytes[15] = (uint8_t)n;
	if (send(channel->fd, bytes, sizeof(bytes), MSG_NOSIGNAL) != sizeof(bytes))
		return;
	for (; channel->n_acknowledged < n; channel->n_acknowledged++)
		job_own(channel->ids[channel->n_acknowledged]);
}

static void channel_say(struct channel *channel, const void *bytes, size_t len)
{
	(void)send(channel->fd, bytes, len, MSG_NOSIGNAL);
	channel->tainted = true;
}

static void channel_announce(struct channel *channel)
{
	bool first = !channel->announced && !channel->tainted;
	ssize_t n = send(channel->fd, "USHR\1\1\0\10", 8, MSG_NOSIGNAL);

	channel->announced = first && n == 8;
	channel->tainted = !first;
}

/* ---- a step ---- */

static void step(unsigned what, unsigned with, const uint8_t *more, size_t n_more)
{
	struct channel *channel = &channels[with % CHANNELS_MAX];
	unsigned amount = with / CHANNELS_MAX;

	switch (what % 16) {
	case 0:
	case 1:
		for (unsigned i = 0; i <= amount; i++)
			job_send();
		break;
	case 2:
		channel_accept(channel);
		break;
	case 3:
		channel_accept(channel);
		channel_announce(channel);
		break;
	case 4:
		channel_announce(channel);
		break;
	case 5:
	case 6:
		for (unsigned i = 0; i <= amount; i++)
			channel_read(channel);
		break;
	case 7:
	case 8:
		channel_acknowledge(channel, amount);
		break;
	case 9:
		channel_say(channel, more, n_more < amount ? n_more : amount);
		break;
	case 10:
		channel_close(channel);
		break;
	case 11:
		(void)shutdown(channel->fd, amount % 3);
		break;
	case 12:
		if (n_jobs)
			job_cancel(&jobs[with % n_jobs]);
		break;
	case 13:
		close(listener);
		listener_open();
		break;
	case 14:
		mischief = with;
		break;
	default:
		now_us += with * 10000;
		turn();
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	jobs_begin();
	listener_open();
	for (size_t i = 0; i < CHANNELS_MAX; i++)
		channels[i] = (struct channel){ .fd = -1 };
	for (size_t at = 0; at + 2 <= size; at += 2)
		step(data[at], data[at + 1], data + at + 2, size - at - 2);
	jobs_settle();
	for (size_t i = 0; i < CHANNELS_MAX; i++)
		channel_close(&channels[i]);
	close(listener);
	jobs_end();
	return 0;
}
