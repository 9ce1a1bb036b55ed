/* A receiver of the test's own, byte by byte: it may announce itself, say nothing or rubbish, die. */
#pragma once
#include "handover_world.h"

struct raw {
	int listener, channel;
};

static inline void raw_listen(struct world *w, struct raw *r)
{
	struct sockaddr_un address = place_address(w->place.path);

	(void)unlink(w->place.path);
	r->channel = -1;
	r->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(r->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(r->listener, 10), 0);
}

static inline void raw_accept(struct world *w, struct raw *r)
{
	for (int i = 0; i < 1000; i++) {
		r->channel = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (r->channel >= 0)
			return;
		run_ms(w, 1);
	}
	fail();
}

/* It listens, these are sent, and their channel comes. */
static inline void raw_meet(struct world *w, struct raw *r, struct job *jobs, size_t n)
{
	raw_listen(w, r);
	jobs_send(w, jobs, n, 1);
	raw_accept(w, r);
}

static inline void raw_say(struct raw *r, const void *bytes, size_t len)
{
	assert_int_equal(send(r->channel, bytes, len, MSG_NOSIGNAL), len);
}

static inline void raw_hello(struct raw *r)
{
	raw_say(r, "USHR\1\1\0\10", 8);
}

/* What send() said. */
static inline ssize_t raw_acknowledge_now(struct raw *r, uint8_t n)
{
	const uint8_t bytes[] = { 'U', 'S', 'H', 'R', 1, 2, 0, 16, 0, 0, 0, 0, 0, 0, 0, n };

	return send(r->channel, bytes, sizeof(bytes), MSG_NOSIGNAL);
}

static inline void raw_acknowledge(struct raw *r, uint8_t n)
{
	assert_int_equal(raw_acknowledge_now(r, n), 16);
}

/* The id of the next message, or 0: none there. */
static inline uint64_t raw_read(struct raw *r)
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
	ssize_t n = recvmsg(r->channel, &m, MSG_CMSG_CLOEXEC);
	uint64_t id;
	int fd;

	if (n <= 0)
		return 0;
	assert_true(n >= 20);
	assert_memory_equal(message, "USHR\1\2", 6);
	assert_memory_equal(message + 8, "\0\1\0\10", 4);
	assert_memory_not_equal(message + 20, "\0\11", 2); /* a number is a datagram's */
	id = number_at(message + 12);
	assert_non_null(CMSG_FIRSTHDR(&m));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	close(fd);
	return id;
}

static inline void assert_comes(struct world *w, struct raw *r, uint64_t id)
{
	uint64_t got = 0;

	for (int i = 0; i < 2000 && !(got = raw_read(r)); i++)
		run_ms(w, 1);
	assert_int_equal(got, id);
}

static inline void raw_hang_up(struct raw *r)
{
	close(r->channel);
	r->channel = -1;
}

static inline void raw_close(struct raw *r)
{
	close(r->listener);
	if (r->channel >= 0)
		close(r->channel);
}

static inline void await_all(struct world *w, struct job *jobs, size_t n, int error)
{
	for (size_t i = 0; i < n; i++) {
		job_await(w, &jobs[i]);
		assert_done(&jobs[i], error);
	}
}

static inline void assert_all_wait(struct job *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_waits(&jobs[i]);
}
