/* A relay between two ends that are the test's. So are the clock, and what the kernel and the allocator rarely answer. Included once a
 * program. */
#pragma once
#include "relay.h"
#include "relay_flow.h"
#include "relay_pool.h"
#include "turn.h"
#include <netinet/tcp.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>

#define IDLE_US   (10 * SECOND_US)
#define LINGER_US (2 * SECOND_US)

/* ---- between the relay and the kernel ------------------------------------------------------------------------------------------ */

static struct script sends, recvs, splices, reads, writes, shutdowns, pipes, mallocs, reallocs;
static int send_flags;
static unsigned n_nodelay, n_inline; /* calls that set these options */
static bool endless;                 /* every socket's source is full, every sink takes all */

ssize_t __real_send(int fd, const void *bytes, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t len, int flags)
{
	ssize_t n;

	send_flags = flags;
	if (endless) {
		sends.calls++;
		return (ssize_t)len;
	}
	if (script_answers(&sends, &n))
		return n <= 0 ? n : __real_send(fd, bytes, (size_t)n, flags);
	return __real_send(fd, bytes, len, flags);
}

ssize_t __real_recv(int fd, void *bytes, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *bytes, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *bytes, size_t size, int flags)
{
	ssize_t n;

	if (endless) {
		recvs.calls++;
		return (ssize_t)size;
	}
	return script_answers(&recvs, &n) ? n : __real_recv(fd, bytes, size, flags);
}

ssize_t __real_splice(int in, off_t *in_at, int out, off_t *out_at, size_t len, unsigned flags);
ssize_t __wrap_splice(int in, off_t *in_at, int out, off_t *out_at, size_t len, unsigned flags);
ssize_t __wrap_splice(int in, off_t *in_at, int out, off_t *out_at, size_t len, unsigned flags)
{
	ssize_t n;

	if (script_answers(&splices, &n)) {
		if (n == 0)
			errno = EINTR; /* whatever it was before: this is no error */
		return n <= 0 ? n : __real_splice(in, in_at, out, out_at, (size_t)n, flags);
	}
	return __real_splice(in, in_at, out, out_at, len, flags);
}

ssize_t __real_read(int fd, void *bytes, size_t size);
ssize_t __wrap_read(int fd, void *bytes, size_t size);
ssize_t __wrap_read(int fd, void *bytes, size_t size)
{
	ssize_t n;
	return script_answers(&reads, &n) ? n : __real_read(fd, bytes, size);
}

ssize_t __real_write(int fd, const void *bytes, size_t len);
ssize_t __wrap_write(int fd, const void *bytes, size_t len);
ssize_t __wrap_write(int fd, const void *bytes, size_t len)
{
	ssize_t n;
	return script_answers(&writes, &n) ? n : __real_write(fd, bytes, len);
}

int __real_shutdown(int fd, int how);
int __wrap_shutdown(int fd, int how);
int __wrap_shutdown(int fd, int how)
{
	ssize_t r;
	return script_answers(&shutdowns, &r) ? (int)r : __real_shutdown(fd, how);
}

int __real_pipe2(int ends[2], int flags);
int __wrap_pipe2(int ends[2], int flags);
int __wrap_pipe2(int ends[2], int flags)
{
	ssize_t r;
	return script_answers(&pipes, &r) ? (int)r : __real_pipe2(ends, flags);
}

int __real_setsockopt(int fd, int level, int option, const void *value, socklen_t len);
int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t len);
int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
	if (level == IPPROTO_TCP && option == TCP_NODELAY)
		n_nodelay++;
	if (level == SOL_SOCKET && option == SO_OOBINLINE)
		n_inline++;
	assert_int_equal(*(const int *)value, 1);
	return __real_setsockopt(fd, level, option, value, len);
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
	ssize_t r;
	return script_answers(&mallocs, &r) ? NULL : __real_malloc(size);
}

void *__real_reallocarray(void *old, size_t n, size_t size);
void *__wrap_reallocarray(void *old, size_t n, size_t size);
void *__wrap_reallocarray(void *old, size_t n, size_t size)
{
	ssize_t r;
	return script_answers(&reallocs, &r) ? NULL : __real_reallocarray(old, n, size);
}

/* ---- the world ------------------------------------------------------------------------------------------------------------ */

static struct loop loop;
static struct relay_pool *pool;
static struct relay relay;
static int client, server,
	server_out; /* the other ends; server_out: a program's standard output, where it has pipes */
static int ends_told;
static enum relay_end told;
static int fds_before;

static inline void relay_done(struct relay *which, enum relay_end end)
{
	assert_ptr_equal(which, &relay);
	assert_false(relay_is_running(which));
	ends_told++;
	told = end;
}

static inline int setup(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	fds_before = fds_open();
	sends = recvs = splices = reads = writes = shutdowns = pipes = mallocs = reallocs = (struct script){ 0 };
	n_nodelay = n_inline = 0;
	endless = false;
	ends_told = 0;
	client = server = server_out = -1;
	assert_int_equal(loop_init(&loop), 0);
	pool = relay_pool_new();
	assert_non_null(pool);
	relay = (struct relay){ .loop = &loop, .pool = pool, .idle_us = IDLE_US, .done = relay_done };
	relay.client.in.fd = relay.client.out.fd = relay.server.in.fd = relay.server.out.fd = -1;
	return 0;
}

static inline void end_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Nothing is left running, taken or open. */
static inline void world_end(enum relay_end end)
{
	relay_close(&relay, end);
	assert_int_equal(loop.timers.count, 0);
	assert_null(loop.first_task);
	assert_null(relay.up.pending);
	assert_null(relay.down.pending);
	assert_null(relay.up.pipe);
	assert_null(relay.down.pipe);
	assert_int_equal(relay.up.in_pipe, 0);
}

static inline int teardown(void **state)
{
	if (relay.client.in.fd >= 0)
		world_end(RELAY_FINISHED);
	end_close(&client);
	end_close(&server);
	end_close(&server_out);
	relay_pool_free(pool);
	loop_fini(&loop);
	assert_int_equal(fds_open(), fds_before);
	return 0;
}

static inline void unix_pair(int *theirs, struct relay_side *side)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	*theirs = ends[0];
	side->kind = SIDE_SOCKET;
	assert_int_equal(loop_watch(&loop, &side->in, ends[1], RELAY_EVENTS), 0);
}

static inline void tcp_pair(int *theirs, struct relay_side *side)
{
	int ends[2];

	tcp_ends(ends);
	*theirs = ends[0];
	side->kind = SIDE_SOCKET;
	assert_int_equal(loop_watch(&loop, &side->in, ends[1], RELAY_EVENTS), 0);
}

/* Both ends are watched, and the first events have been seen. */
static inline void start(void)
{
	relay_start(&relay, 0, 0);
	turn(&loop);
	assert_true(relay_is_running(&relay));
}

static inline void start_sockets(void)
{
	unix_pair(&client, &relay.client);
	unix_pair(&server, &relay.server);
	start();
}

static inline void pipe_pair(int ends[2])
{
	assert_int_equal(__real_pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
}

static inline void start_program(void)
{
	int in[2], out[2];

	unix_pair(&client, &relay.client);
	pipe_pair(in);
	pipe_pair(out);
	server = in[0];
	server_out = out[1];
	relay.server.kind = SIDE_PIPES;
	assert_int_equal(loop_watch(&loop, &relay.server.in, out[0], RELAY_EVENTS), 0);
	assert_int_equal(loop_watch(&loop, &relay.server.out, in[1], EPOLLOUT | EPOLLET), 0);
	start();
}

static inline void start_terminal(bool lines)
{
	struct termios mode;
	int ours;

	unix_pair(&client, &relay.client);
	assert_int_equal(openpty(&ours, &server, NULL, NULL, NULL), 0);
	assert_int_equal(tcgetattr(server, &mode), 0);
	cfmakeraw(&mode);
	if (lines)
		mode.c_lflag |= ICANON;
	mode.c_cc[VEOF] = 4;
	assert_int_equal(tcsetattr(server, TCSANOW, &mode), 0);
	fcntl(ours, F_SETFL, O_NONBLOCK);
	fcntl(ours, F_SETFD, FD_CLOEXEC);
	fcntl(server, F_SETFL, O_NONBLOCK);
	relay.server.kind = SIDE_TERMINAL;
	assert_int_equal(loop_watch(&loop, &relay.server.in, ours, RELAY_EVENTS), 0);
	start();
}

static inline void say(int fd, const char *text)
{
	assert_int_equal(__real_write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static inline void await(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 60000), 1);
}

static inline void assert_hears(int fd, const char *text)
{
	char buffer[256] = "";
	size_t len = 0;

	while (len < strlen(text)) {
		await(fd);
		ssize_t n = __real_read(fd, buffer + len, sizeof(buffer) - 1 - len);
		assert_true(n > 0);
		len += (size_t)n;
	}
	assert_string_equal(buffer, text);
}

static inline void assert_hears_nothing(int fd)
{
	char byte;
	assert_int_equal(__real_recv(fd, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

static inline void assert_hears_end(int fd)
{
	char byte;

	await(fd);
	assert_int_equal(__real_read(fd, &byte, 1), 0);
}

static inline void assert_over(enum relay_end end)
{
	assert_int_equal(ends_told, 1);
	assert_int_equal(told, end);
}

/* An event that the kernel would not repeat. */
static inline void client_event(uint32_t events)
{
	relay.client.in.ready(&relay.client.in, events);
}

static inline void server_event(uint32_t events)
{
	relay.server.in.ready(&relay.server.in, events);
}
