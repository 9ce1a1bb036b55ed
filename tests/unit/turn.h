/* An event loop whose clock is the test's. Descriptors, timers and tasks are real; a turn never sleeps, and time passes only where the
 * test says so. Link with --wrap=clock_monotonic_us. Included once a program. */
#pragma once
#include "fds_open.h"
#include "loop.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h> /* needs what is above */

#define SECOND_US 1000000ULL

static uint64_t clock_us = 1000 * SECOND_US;

uint64_t __wrap_clock_monotonic_us(void);
uint64_t __wrap_clock_monotonic_us(void)
{
	return clock_us;
}

struct turn {
	struct task end;
	struct loop *loop;
};

static inline void turn_end(struct task *task)
{
	loop_stop(container_of(task, struct turn, end)->loop);
}

/* The events that are there, the timers that are due, the tasks that are queued. A queued task keeps the loop from sleeping. */
static inline void turn(struct loop *loop)
{
	struct turn one = { .end.run = turn_end, .loop = loop };

	loop->stopping = false;
	loop_defer(loop, &one.end);
	assert_int_equal(loop_run(loop), 0);
}

static inline void turn_after(struct loop *loop, uint64_t us)
{
	clock_us += us;
	turn(loop);
}

/* For what the kernel does in its own time, as TCP. */
static inline void turn_at_event(struct loop *loop)
{
	struct pollfd events = { .fd = loop->epoll_fd, .events = POLLIN };

	assert_int_equal(poll(&events, 1, 60000), 1);
	turn(loop);
}

/* Two ends of a connection over the loopback interface; the second one is non-blocking. */
static inline void tcp_ends(int ends[2])
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(ends[0], (struct sockaddr *)&address, sizeof(address)), 0);
	ends[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(ends[1] >= 0);
	close(listener);
}

/* What the next calls of a function answer: so many bytes or -errno, then as the kernel does. */
#define SCRIPT_MAX 16
struct script {
	ssize_t steps[SCRIPT_MAX];
	size_t at, n;
	unsigned calls; /* all of them */
};

#define SCRIPT(script, ...)                                                                                          \
	script_set(script, (const ssize_t[]){ __VA_ARGS__ },                                                         \
		sizeof((const ssize_t[]){ __VA_ARGS__ }) / sizeof(ssize_t))
static inline void script_set(struct script *script, const ssize_t *steps, size_t n)
{
	assert_true(n <= SCRIPT_MAX);
	*script = (struct script){ .n = n };
	memcpy(script->steps, steps, n * sizeof(*steps));
}

/* True: there is an answer, errno is set where it is an error. */
static inline bool script_answers(struct script *script, ssize_t *ret)
{
	script->calls++;
	if (script->at == script->n)
		return false;
	*ret = script->steps[script->at++];
	if (*ret < 0) {
		errno = (int)-*ret;
		*ret = -1;
	}
	return true;
}
