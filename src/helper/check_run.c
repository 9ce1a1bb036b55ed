/* Runs a check. Refuses to try anything twice: how often a backend may fail is said by `fall'. Owns the socket, the state of TLS and what is sent. */
#include "check_run.h"
#include "check_result.h"
#include "fd.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- what is sent ---- */

/* PROXY protocol 2.1 and 2.2: of a connection that its sender makes for itself. */
static size_t header_write(unsigned version, uint8_t ret[CHECK_HEADER_MAX])
{
	static const uint8_t second[] = "\r\n\r\n\0\r\nQUIT\n\x20\x00\x00"; /* and the NUL: no bytes follow */
	static const char first[] = "PROXY UNKNOWN\r\n";

	if (version == 1)
		memcpy(ret, first, sizeof(first) - 1);
	else if (version == 2)
		memcpy(ret, second, sizeof(second));
	return version == 1 ? sizeof(first) - 1 : version == 2 ? sizeof(second) : 0;
}

static int out_make(struct check_run *run)
{
	const struct check *check = run->check;
	uint8_t header[CHECK_HEADER_MAX];
	char request[2048];
	const uint8_t *send = check->send;
	size_t len = check->send_len, before = header_write(run->send_proxy, header);

	if (check->path) {
		len = (size_t)snprintf(request, sizeof(request),
			"%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: usher\r\nAccept: */*\r\nConnection: close\r\n\r\n",
			check->method, check->path, run->host);
		send = (const uint8_t *)request;
	}
	run->out = malloc(before + len + 1);
	if (!run->out)
		return -ENOMEM;
	memcpy(run->out, header, before);
	if (len)
		memcpy(run->out + before, send, len);
	run->out_len = before + len;
	run->out_before = run->is_datagram ? 0 : before; /* a datagram has both */
	return 0;
}

/* ---- the end ---- */

static void run_fini(struct check_run *run)
{
	loop_timer_stop(run->loop, &run->timer);
	loop_cancel(run->loop, &run->ending);
	check_tls_free(run->tls);
	run->tls = NULL;
	run->watch.fd = fd_close(loop_unwatch(run->loop, &run->watch));
	free(run->out);
	run->out = NULL;
}

static void run_ended(struct task *task)
{
	struct check_run *run = container_of(task, struct check_run, ending);
	uint64_t took_us = clock_monotonic_us() - run->started_us;
	uint32_t word = run->word;

	run_fini(run);
	run->over(run, word, took_us);
}

/* At the end of the turn: events of this one may still be under way. */
static void run_end(struct check_run *run, uint32_t word)
{
	if (!run->ending.queued)
		run->word = word;
	loop_timer_stop(run->loop, &run->timer);
	loop_defer(run->loop, &run->ending);
}

/* What is missing here says nothing of the backend. */
static void run_fail(struct check_run *run, int error)
{
	switch (-error) {
	case EADDRNOTAVAIL:
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		run_end(run, check_word(CHECK_NONE, 0));
		break;
	default:
		run_end(run, check_word(CHECK_ERROR, (unsigned)-error));
	}
}

static void run_late(struct timer *timer)
{
	struct check_run *run = container_of(timer, struct check_run, timer);
	bool over;

	if (run->step == RUN_CONNECTING)
		run_end(run, check_word(CHECK_UNANSWERED, 0));
	else if (run->step == RUN_SHAKING)
		run_end(run, check_word(CHECK_TLS, 0));
	else
		run_end(run, check_answer_judge(run->check, run->in, run->in_len, false, run->findings, &over));
}

/* ---- its steps: each returns 0, -EAGAIN, or has ended it and says so (-ECANCELED) ---- */

static int step_connecting(struct check_run *run)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(int), peer_len = sizeof(peer);
	int error = 0;

	if (getsockopt(run->watch.fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0 &&
		getpeername(run->watch.fd, (struct sockaddr *)&peer, &peer_len) < 0) {
		if (errno == ENOTCONN)
			return -EAGAIN;
		error = errno;
	}
	if (error) {
		run_fail(run, -error);
		return -ECANCELED;
	}
	run->step = run->check->sni && !run->is_datagram ? RUN_SHAKING : RUN_SENDING;
	return 0;
}

/* What is sent up to `end`. */
static int send_until(struct check_run *run, size_t end)
{
	while (run->out_at < end) {
		const uint8_t *from = run->out + run->out_at;
		size_t len = end - run->out_at;
		ssize_t n =
			run->tls ? check_tls_send(run->tls, from, len) : send(run->watch.fd, from, len, MSG_NOSIGNAL);
		if (n < 0 && !run->tls)
			n = -errno;
		if (n == -EAGAIN || n == -EINTR)
			return -EAGAIN;
		if (n <= 0) {
			run_fail(run, n ? (int)n : -EPIPE);
			return -ECANCELED;
		}
		run->out_at += run->is_datagram ? end - run->out_at : (size_t)n;
	}
	return 0;
}

static int step_shaking(struct check_run *run)
{
	int r = send_until(run, run->tls ? 0 : run->out_before);

	if (r < 0)
		return r;
	if (!run->tls && !(run->tls = check_tls_new(run->tls_context, run->watch.fd, run->check->sni))) {
		run_fail(run, -ENOMEM);
		return -ECANCELED;
	}
	r = check_tls_shake(run->tls);
	if (r == -EAGAIN)
		return r;
	if (r < 0) {
		run_end(run, check_word(CHECK_TLS, 0));
		return -ECANCELED;
	}
	run->step = RUN_SENDING;
	return 0;
}

static int step_sending(struct check_run *run)
{
	int r = send_until(run, run->out_len);

	if (r < 0)
		return r;
	if (run->check->expect == EXPECT_CONNECTION) {
		run_end(run, check_word(CHECK_PASSED, 0));
		return -ECANCELED;
	}
	run->step = RUN_READING;
	return 0;
}

static int step_reading(struct check_run *run)
{
	uint8_t *to = run->in + run->in_len;
	size_t room = sizeof(run->in) - run->in_len;
	bool over;

	ssize_t n = run->tls ? check_tls_receive(run->tls, to, room) : recv(run->watch.fd, to, room, 0);
	if (n < 0 && !run->tls)
		n = -errno;
	if (n == -EAGAIN || n == -EINTR)
		return -EAGAIN;
	if (n < 0) {
		run_fail(run, (int)n);
		return -ECANCELED;
	}
	if (n == 0 && !run->is_datagram) {
		run_end(run, check_word(CHECK_CLOSED, 0));
		return -ECANCELED;
	}
	run->in_len += (size_t)n;
	uint32_t word = check_answer_judge(run->check, run->in, run->in_len, run->is_datagram, run->findings, &over);
	if (!over)
		return 0;
	run_end(run, word);
	return -ECANCELED;
}

static void run_go_on(struct check_run *run)
{
	static int (*const steps[])(struct check_run * run) = {
		[RUN_CONNECTING] = step_connecting,
		[RUN_SHAKING] = step_shaking,
		[RUN_SENDING] = step_sending,
		[RUN_READING] = step_reading,
	};

	while (!run->ending.queued && steps[run->step](run) == 0)
		;
}

static void run_ready(struct watch *watch, uint32_t events)
{
	run_go_on(container_of(watch, struct check_run, watch));
}

/* ---- the start ---- */

static int run_connect(struct check_run *run)
{
	const struct address *address = &run->address;
	int type = run->is_datagram ? SOCK_DGRAM : SOCK_STREAM;
	int fd = socket(address->sa.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	int error = connect(fd, &address->sa, address->len) < 0 ? -errno : 0;
	if (error == 0 || error == -EINPROGRESS)
		error = loop_watch(run->loop, &run->watch, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	if (error < 0)
		fd_close(fd);
	return error;
}

int check_run_begin(struct check_run *run)
{
	run->watch = (struct watch){ .fd = -1, .ready = run_ready };
	run->timer.fired = run_late;
	run->ending.run = run_ended;
	run->started_us = clock_monotonic_us();
	int error = out_make(run);
	if (error == 0)
		error = loop_timer(run->loop, &run->timer, run->started_us + run->check->timeout_us);
	if (error < 0) {
		free(run->out);
		return error;
	}
	error = run_connect(run);
	if (error < 0)
		run_fail(run, error);
	return 0;
}

void check_run_cancel(struct check_run *run)
{
	run_fini(run);
}
