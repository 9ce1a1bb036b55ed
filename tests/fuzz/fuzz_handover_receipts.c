/* Processes of a receiver for datagrams that do whatever they like: read, write receipts for what they have in any order,
 * rubbish in their place, or nothing; and whatever becomes of the connections meanwhile.
 *
 * Input: two bytes a step, what to do and with what. Time is the test's own.
 *
 * Every request ends once. What has a receipt is never sent to another, nor taken back; what was taken back cannot have one.
 * No descriptor is left. */
#include "handover.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <usher/handover.h>

#define JOBS_MAX  200
#define TAKEN_MAX 256
#define READ_MAX  40

enum fate { OPEN, CANCELLED, DONE, FAILED, BROKEN, TAKEN_BACK, LEFT };

struct job {
	struct handover_request request;
	struct facts facts;
	enum fate fate;
	bool owned; /* by a process that has written a receipt for it */
};

struct taken {
	uint64_t id, number;
	int receipt; /* -1: closed */
};

static struct sockaddr_un address = { .sun_family = AF_UNIX };
static int receiver_fd, stranger_fd;
static struct loop loop;
static struct handover *handover;
static struct job jobs[JOBS_MAX];
static size_t n_jobs;
static struct taken taken[TAKEN_MAX];
static size_t n_taken;
static unsigned mischief; /* what a request that ends does to the others */
static uint64_t now_us;   /* 0: the real time */

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	if (!now_us || clock != CLOCK_MONOTONIC)
		return (int)syscall(SYS_clock_gettime, clock, ret);
	*ret = (struct timespec){ .tv_sec = (time_t)(now_us / 1000000), .tv_nsec = (long)(now_us % 1000000) * 1000 };
	return 0;
}

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void receiver_bind(void)
{
	receiver_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	(void)unlink(address.sun_path);
	require(receiver_fd >= 0 && bind(receiver_fd, (struct sockaddr *)&address, sizeof(address)) == 0);
}

static void directory_remove(void)
{
	(void)unlink(address.sun_path);
	*strrchr(address.sun_path, '/') = '\0';
	(void)rmdir(address.sun_path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char directory[] = "/tmp/usher-fuzz-XXXXXX";

	require(mkdtemp(directory) != NULL);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", directory);
	atexit(directory_remove);
	return 0;
}

/* ---- usher ------------------------------------------------------------------------------------------------------- */

static void job_send(void);
static void job_cancel(struct job *job);

static void job_done(struct handover_request *request, int error)
{
	struct job *job = container_of(request, struct job, request);

	require(job->fate == OPEN);
	job->fate = error == 0 ? DONE : error == -EPROTO ? BROKEN : FAILED;
	require(job->fate != FAILED || !job->owned);
	if (mischief & 1)
		job_cancel(&jobs[(job->facts.id * 7 + mischief) % n_jobs]);
	if (mischief & 2)
		job_send();
}

static void job_send(void)
{
	struct job *job = &jobs[n_jobs];

	if (n_jobs == JOBS_MAX)
		return;
	*job = (struct job){ .facts = { .id = ++n_jobs, .service = "s" },
		.request = { .facts = &job->facts, .done = job_done } };
	handover_send(handover, &job->request);
}

static void job_cancel(struct job *job)
{
	if (job->fate != OPEN)
		return;
	job->fate = CANCELLED; /* no `done` any more, though those of others may be called from within */
	bool mine = handover_cancel(&job->request);
	job->fate = mine ? TAKEN_BACK : LEFT;
	require(!mine || !job->owned);
}

static void turn_end(struct task *task)
{
	loop_stop(&loop);
}

static void turn(void)
{
	static struct task end = { .run = turn_end };

	loop.stopping = false;
	loop_defer(&loop, &end);
	require(loop_run(&loop) == 0);
}

/* ---- the receiver ------------------------------------------------------------------------------------------------ */

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
	if (t->receipt >= 0 && send(t->receipt, bytes, sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(bytes)) {
		struct job *job = &jobs[t->id - 1];

		require(!job->owned);
		job->owned = true;
		require(job->fate != TAKEN_BACK && job->fate != FAILED);
	}
	taken_close(t);
}

/* ---- a step ------------------------------------------------------------------------------------------------------ */

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

static int lowest_free_fd(void)
{
	int fd = dup(STDIN_FILENO);

	close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd_before = lowest_free_fd();
	struct address receiver = { .len = sizeof(address), .un = address };

	now_us = 1000000;
	n_jobs = n_taken = 0;
	mischief = 0;
	receiver_bind();
	stranger_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	require(stranger_fd >= 0 && loop_init(&loop) == 0);
	handover = handover_new(&loop, &receiver, HANDOVER_USHER);
	require(handover != NULL);
	for (size_t at = 0; at + 2 <= size; at += 2)
		step(data[at], data[at + 1], data + at + 2, size - at - 2);
	turn();
	mischief = 0;
	for (size_t i = 0; i < n_jobs; i++) {
		job_cancel(&jobs[i]);
		require(!jobs[i].owned || jobs[i].fate == DONE || jobs[i].fate == LEFT || jobs[i].fate == BROKEN);
	}
	handover_free(handover);
	loop_fini(&loop);
	for (size_t i = 0; i < n_taken; i++)
		taken_close(&taken[i]);
	close(receiver_fd);
	close(stranger_fd);
	now_us = 0;
	require(lowest_free_fd() == fd_before);
	return 0;
}
