/* Processes of a receiver for datagrams that do whatever they like: read, write receipts for what they have in any order,
 * rubbish in their place, or nothing; and whatever becomes of the connections meanwhile.
 *
 * Input: two bytes a step, what to do and with what. Time is the test's own.
 *
 * Every request ends once. What has a receipt is never sent to another, nor taken back; what was taken back cannot have one.
 * No descriptor is left. */
#include "handover_jobs.h"
#include <string.h>
#include <unistd.h>
#include <usher/handover.h>

#define TAKEN_MAX 256
#define READ_MAX  40

struct taken {
	uint64_t id, number;
	int receipt; /* -1: closed */
};

static int receiver_fd, stranger_fd;
static struct taken taken[TAKEN_MAX];
static size_t n_taken;

static void receiver_bind(void)
{
	receiver_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	(void)unlink(address.sun_path);
	require(receiver_fd >= 0 && bind(receiver_fd, (struct sockaddr *)&address, sizeof(address)) == 0);
}

/* ---- the receiver ---- */

static uint64_t number_at(const uint8_t *bytes)
{
	uint64_t n = 0;

	for (int i = 0; i < 8; i++)
		n = n << 8 | bytes[i];
	return n;
}

static void datagram_read(void)
{
	uint8_t message[USHER_MESSAGE_MAX];
	struct iovec part = { .iov_base = message, .iov_len = sizeof(message) };
	union {
		char bytes[CMSG_SPACE(sizeof(int) * 2)];
		struct cmsghdr align;
	} control;
	struct msghdr m = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	struct taken *t = &taken[n_taken];
	int client;

	if (n_taken == TAKEN_MAX || recvmsg(receiver_fd, &m, MSG_CMSG_CLOEXEC) <= 1) /* one byte is a stranger's */
		return;
	require(memcmp(message + 8, "\0\1\0\10", 4) == 0 && memcmp(message + 20, "\0\11\0\10", 4) == 0);
	require(m.msg_controllen >= CMSG_SPACE(2 * sizeof(int)));
	*t = (struct taken){ .id = number_at(message + 12), .number = number_at(message + 24) };
	memcpy(&client, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(client));
	memcpy(&t->receipt, CMSG_DATA(CMSG_FIRSTHDR(&m)) + sizeof(client), sizeof(client));
	close(client);
	require(t->id > 0 && t->id <= n_jobs);
	n_taken++;
}

static void taken_close(struct taken *t)
{
	if (t->receipt >= 0)
		close(t->receipt);
	t->receipt = -1;
}

/* As it must be done. */
static void taken_receipt(struct taken *t)
{
	uint8_t bytes[USHER_ACKNOWLEDGEMENT_SIZE] = { 'U', 'S', 'H', 'R', 1, 3, 0, 16 };

	for (int i = 0; i < 8; i++)
		bytes[8 + i] = (uint8_t)(t->number >> (56 - 8 * i));
	if (t->receipt >= 0 && send(t->receipt, bytes, sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(bytes))
		job_own(t->id);
	taken_close(t);
}

/* ---- a step ---- */

static void step(unsigned what, unsigned with, const uint8_t *more, size_t n_more)
{
	struct taken *t = n_taken ? &taken[with % n_taken] : NULL;

	switch (what % 12) {
	case 0:
	case 1:
		for (unsigned i = 0; i <= with % READ_MAX; i++)
			job_send();
		break;
	case 2:
	case 3:
		for (unsigned i = 0; i <= with % READ_MAX; i++)
			datagram_read();
		break;
	case 4:
	case 5:
		if (t)
			taken_receipt(t);
		break;
	case 6:
		if (t)
			taken_close(t);
		break;
	case 7:
		if (t && t->receipt >= 0)
			(void)send(t->receipt, more, n_more < with ? n_more : with, MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	case 8:
		if (n_jobs)
			job_cancel(&jobs[with % n_jobs]);
		break;
	case 9:
		close(receiver_fd);
		receiver_bind();
		break;
	case 10:
		mischief = with;
		(void)sendto(stranger_fd, "x", 1, 0, (struct sockaddr *)&address, sizeof(address));
		break;
	default:
		now_us += with * 1000;
		turn();
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	jobs_begin();
	n_taken = 0;
	receiver_bind();
	stranger_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	require(stranger_fd >= 0);
	for (size_t at = 0; at + 2 <= size; at += 2)
		step(data[at], data[at + 1], data + at + 2, size - at - 2);
	jobs_settle();
	for (size_t i = 0; i < n_taken; i++)
		taken_close(&taken[i]);
	close(receiver_fd);
	close(stranger_fd);
	jobs_end();
	return 0;
}
