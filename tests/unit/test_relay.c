/* A relay and its two directions: what moves when, what is kept back, how ends are passed on, and when it is over. The clock is the test's, and
 * so is what the kernel and the allocator rarely answer. */
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

static void relay_done(struct relay *which, enum relay_end end)
{
	assert_ptr_equal(which, &relay);
	assert_false(relay_is_running(which));
	ends_told++;
	told = end;
}

static int setup(void **state)
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

static void end_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Nothing is left running, taken or open. */
static void world_end(enum relay_end end)
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

static int teardown(void **state)
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

static void unix_pair(int *theirs, struct relay_side *side)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	*theirs = ends[0];
	side->kind = SIDE_SOCKET;
	assert_int_equal(loop_watch(&loop, &side->in, ends[1], RELAY_EVENTS), 0);
}

static void tcp_pair(int *theirs, struct relay_side *side)
{
	int ends[2];

	tcp_ends(ends);
	*theirs = ends[0];
	side->kind = SIDE_SOCKET;
	assert_int_equal(loop_watch(&loop, &side->in, ends[1], RELAY_EVENTS), 0);
}

/* Both ends are watched, and the first events have been seen. */
static void start(void)
{
	relay_start(&relay, 0, 0);
	turn(&loop);
	assert_true(relay_is_running(&relay));
}

static void start_sockets(void)
{
	unix_pair(&client, &relay.client);
	unix_pair(&server, &relay.server);
	start();
}

static void pipe_pair(int ends[2])
{
	assert_int_equal(__real_pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
}

static void start_program(void)
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

static void start_terminal(bool lines)
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

static void say(int fd, const char *text)
{
	assert_int_equal(__real_write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void await(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 60000), 1);
}

static void assert_hears(int fd, const char *text)
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

static void assert_hears_nothing(int fd)
{
	char byte;
	assert_int_equal(__real_recv(fd, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

static void assert_hears_end(int fd)
{
	char byte;

	await(fd);
	assert_int_equal(__real_read(fd, &byte, 1), 0);
}

static void assert_over(enum relay_end end)
{
	assert_int_equal(ends_told, 1);
	assert_int_equal(told, end);
}

/* An event that the kernel would not repeat. */
static void client_event(uint32_t events)
{
	relay.client.in.ready(&relay.client.in, events);
}

static void server_event(uint32_t events)
{
	relay.server.in.ready(&relay.server.in, events);
}

/* ---- bytes ------------------------------------------------------------------------------------------------------------- */

static void bytes_go_both_ways_and_are_counted(void **state)
{
	start_sockets();
	say(client, "question");
	turn(&loop);
	assert_hears(server, "question");
	say(server, "answer");
	say(client, "more");
	turn(&loop);
	assert_hears(server, "more");
	assert_hears(client, "answer");
	assert_int_equal(relay.up.bytes, 12);
	assert_int_equal(relay.down.bytes, 6);
	assert_true(relay_is_running(&relay));
	assert_int_equal(ends_told, 0);
}

static void ready_before(struct watch *watch, uint32_t events)
{
	assert_true(events & EPOLLIN);
}

static void bytes_that_came_before_the_start_are_delivered(void **state)
{
	unix_pair(&client, &relay.client);
	unix_pair(&server, &relay.server);
	relay.client.in.ready = relay.server.in.ready = ready_before;
	say(client, "early");
	say(server, "banner");
	turn(&loop); /* edges are not repeated */
	relay_start(&relay, EPOLLIN, EPOLLIN | EPOLLOUT);
	assert_hears(server, "early");
	assert_hears(client, "banner");
}

static void a_short_read_needs_no_second_one(void **state)
{
	start_sockets();
	recvs.calls = 0;
	say(client, "short");
	turn(&loop);
	assert_int_equal(recvs.calls, 1);
	say(server, "short");
	turn(&loop);
	assert_int_equal(recvs.calls, 2);
}

static void after_a_full_read_the_source_is_read_again(void **state)
{
	start_sockets();
	relay.up.discard = true;
	n_inline = 0;
	SCRIPT(&recvs, RELAY_BUFFER_SIZE, RELAY_BUFFER_SIZE - 1);
	client_event(EPOLLIN);
	assert_int_equal(recvs.calls, 2);
	assert_int_equal(
		n_inline, 1); /* it reads on without an event: urgent bytes must stay in the stream from now on */
	assert_int_equal(relay.up.streak, 2);
}

static void urgent_bytes_stay_in_the_stream(void **state)
{
	start_sockets();
	n_inline = 0;
	say(client, "ab");
	SCRIPT(&recvs, 1, 1, -EAGAIN);
	client_event(EPOLLIN | EPOLLPRI);
	assert_int_equal(recvs.calls, 3); /* a short read does not mean that it is empty */
	assert_int_equal(n_inline, 1);
	assert_true(relay.up.copy_only);
	assert_false(relay.up.readable);
	client_event(EPOLLIN | EPOLLPRI);
	assert_int_equal(n_inline, 1);
	assert_false(relay.down.urgent);
}

static void tcp_delays_no_byte_after_the_first(void **state)
{
	tcp_pair(&client, &relay.client);
	tcp_pair(&server, &relay.server);
	relay.server.prompt = true;
	start();
	for (int i = 0; i < 3; i++) {
		say(client, "up");
		turn_at_event(&loop);
		assert_hears(server, "up");
	}
	assert_int_equal(n_nodelay, 0);
	say(server, "down");
	turn_at_event(&loop);
	assert_hears(client, "down");
	assert_int_equal(n_nodelay, 0);
	for (int i = 0; i < 3; i++) {
		say(server, "down");
		turn_at_event(&loop);
		assert_hears(client, "down");
	}
	assert_int_equal(n_nodelay, 1);
}

static void a_direction_gives_way_after_a_mebibyte(void **state)
{
	start_sockets();
	relay.up.copy_only = relay.down.copy_only = true;
	endless = true;
	client_event(EPOLLIN);
	assert_int_equal(relay.up.bytes, 1 << 20);
	assert_true(relay.turn.queued);
	turn(&loop);
	assert_int_equal(relay.up.bytes, 2 << 20);
	server_event(EPOLLIN);
	assert_int_equal(relay.up.bytes, 3 << 20);
	assert_int_equal(relay.down.bytes, 1 << 20);
}

static void a_direction_gives_way_after_many_steps(void **state)
{
	start_sockets();
	relay.up.discard = relay.up.told = true;
	endless = true;
	client_event(EPOLLIN);
	assert_int_equal(recvs.calls, 1025);
	assert_true(relay.turn.queued);
	assert_int_equal(relay.up.bytes, 0);
	assert_int_equal(sends.calls, 0);
}

/* ---- kept back ---------------------------------------------------------------------------------------------------------- */

static void what_the_sink_does_not_take_is_kept_back(void **state)
{
	start_sockets();
	SCRIPT(&sends, 3, -EAGAIN, -EINTR, 2);
	say(client, "abcdefg");
	turn_after(&loop, SECOND_US);
	assert_int_equal(relay.up.bytes, 3);
	assert_int_equal(sends.calls, 1);
	assert_non_null(relay.up.pending);

	recvs.calls = 0;
	say(client, "hij");
	turn(&loop);
	assert_int_equal(recvs.calls, 0); /* not read before the rest is gone */
	server_event(EPOLLIN);            /* its own bytes do not say that it takes any */
	assert_int_equal(sends.calls, 1);
	recvs.calls = 0;

	server_event(EPOLLOUT);
	assert_int_equal(sends.calls, 2);
	assert_int_equal(relay.up.bytes, 3);
	assert_int_equal(relay.up.pending_at, 0);
	assert_int_equal(relay.up.pending_len, 4);
	clock_us += SECOND_US;
	loop.now_us = clock_us;
	server_event(EPOLLOUT); /* interrupted, then two, then all the rest and what came meanwhile */
	assert_hears(server, "abcdefghij");
	assert_int_equal(relay.up.bytes, 10);
	assert_int_equal(relay.moved_us, clock_us);
	assert_null(relay.up.pending);
	assert_int_equal(pool->n_spare_buffers, 1);
	assert_int_equal(recvs.calls, 1);
}

static void a_sink_that_takes_nothing_gets_all_later(void **state)
{
	start_sockets();
	SCRIPT(&sends, -EINTR, -EAGAIN);
	say(server, "abc");
	turn(&loop);
	assert_int_equal(sends.calls, 2);
	assert_int_equal(relay.down.bytes, 0);
	client_event(EPOLLOUT);
	assert_hears(client, "abc");
	assert_int_equal(relay.down.bytes, 3);
}

static void without_memory_for_it_the_relay_ends(void **state)
{
	start_sockets();
	SCRIPT(&sends, 1);
	SCRIPT(&mallocs, -1);
	say(client, "ab");
	turn(&loop);
	assert_over(RELAY_NO_MEMORY);
	turn(&loop);
	assert_over(RELAY_NO_MEMORY);
}

static void large_amounts_arrive_whole_at_a_slow_reader(void **state)
{
	static uint8_t sent[1 << 20], got[1 << 20];
	size_t n_sent = 0, n_got = 0;

	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i * 7 + i / 251);
	start_sockets();
	while (n_got < sizeof(got)) {
		ssize_t n = n_sent < sizeof(sent)
			? __real_send(client, sent + n_sent, sizeof(sent) - n_sent, MSG_DONTWAIT)
			: 0;
		n_sent += n > 0 ? (size_t)n : 0;
		turn(&loop);
		n = __real_recv(
			server, got + n_got, 50000 < sizeof(got) - n_got ? 50000 : sizeof(got) - n_got, MSG_DONTWAIT);
		n_got += n > 0 ? (size_t)n : 0;
	}
	turn(&loop);
	assert_memory_equal(sent, got, sizeof(sent));
	assert_int_equal(relay.up.bytes, sizeof(sent));
}

/* ---- the preface -------------------------------------------------------------------------------------------------------- */

static void a_preface_goes_first_and_is_not_the_clients(void **state)
{
	unix_pair(&client, &relay.client);
	unix_pair(&server, &relay.server);
	relay_preface(&relay, (const uint8_t *)"unwanted", 8);
	relay_preface(&relay, (const uint8_t *)"head ", 5);
	assert_int_equal(pool->n_spare_buffers, 0); /* the same buffer again */
	SCRIPT(&sends, 3, -EAGAIN);
	say(client, "body");
	relay_start(&relay, EPOLLIN, 0);
	assert_hears(server, "hea");
	assert_int_equal(relay.up.bytes, 0);
	assert_int_equal(relay.up.uncounted, 2);
	server_event(EPOLLOUT);
	assert_hears(server, "d body");
	assert_int_equal(relay.up.bytes, 4);
	assert_null(relay.preface);
	assert_int_equal(relay.preface_len, 0);
	say(client, "more");
	turn(&loop);
	assert_int_equal(relay.up.bytes, 8);
	assert_int_equal(relay.down.uncounted, 0);
}

static void a_preface_can_be_as_large_as_a_buffer(void **state)
{
	static uint8_t large[RELAY_BUFFER_SIZE];

	unix_pair(&client, &relay.client);
	unix_pair(&server, &relay.server);
	relay_preface(&relay, large, sizeof(large));
	assert_memory_equal(relay.preface, large, sizeof(large));
	relay_preface(&relay, NULL, 0);
	assert_null(relay.preface);
	assert_int_equal(pool->n_spare_buffers, 1);
	start();
	assert_null(relay.up.pending);
}

static void a_preface_without_memory_ends_the_relay(void **state)
{
	unix_pair(&client, &relay.client);
	unix_pair(&server, &relay.server);
	SCRIPT(&mallocs, -1);
	relay_preface(&relay, (const uint8_t *)"head", 4);
	relay_start(&relay, 0, 0);
	assert_int_equal(ends_told, 0); /* never from within */
	assert_false(relay_is_running(&relay));
	assert_int_equal(loop.timers.count, 0);
	turn(&loop);
	assert_over(RELAY_NO_MEMORY);
}

static void a_clock_without_memory_ends_the_relay(void **state)
{
	unix_pair(&client, &relay.client);
	unix_pair(&server, &relay.server);
	SCRIPT(&reallocs, -1);
	relay_start(&relay, 0, 0);
	turn(&loop);
	assert_over(RELAY_NO_MEMORY);
}

/* ---- ends --------------------------------------------------------------------------------------------------------------- */

static void each_end_is_passed_on_behind_its_bytes(void **state)
{
	start_sockets();
	say(client, "last");
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_true(send_flags & MSG_MORE); /* both can leave in one packet */
	assert_hears(server, "last");
	assert_hears_end(server);
	assert_int_equal(shutdowns.calls, 2); /* the test's and the relay's */
	turn_after(&loop, SECOND_US);
	say(server, "still here");
	turn(&loop);
	assert_false(send_flags & MSG_MORE);
	assert_true(send_flags & MSG_NOSIGNAL);
	assert_hears(client, "still here");
	assert_int_equal(ends_told, 0);
	clock_us += SECOND_US;
	shutdown(server, SHUT_WR);
	turn(&loop);
	assert_over(RELAY_FINISHED);
	assert_int_equal(relay.moved_us, clock_us);
	assert_hears_end(client);
	assert_int_equal(shutdowns.calls, 4);
	turn_after(&loop, 100 * SECOND_US);
	assert_over(RELAY_FINISHED);
}

static void the_server_may_end_first(void **state)
{
	start_sockets();
	shutdown(server, SHUT_WR);
	turn(&loop);
	assert_hears_end(client);
	say(client, "on and on");
	turn(&loop);
	assert_hears(server, "on and on");
	assert_true(relay_is_running(&relay));
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_over(RELAY_FINISHED);
}

static void an_end_waits_for_what_is_kept_back(void **state)
{
	start_sockets();
	SCRIPT(&sends, 1, -EAGAIN);
	say(client, "abc");
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_hears(server, "a");
	assert_hears_nothing(server);
	server_event(EPOLLOUT); /* still full */
	assert_hears_nothing(server);
	server_event(EPOLLOUT);
	assert_hears(server, "bc");
	assert_hears_end(server);
}

/* It will be closed at once, which tells it; but not where another process holds it as well. */
static void the_last_end_needs_no_half_close_of_a_sole_socket(void **state)
{
	start_sockets();
	relay.client.in.sole = true;
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_int_equal(shutdowns.calls, 2);
	shutdown(server, SHUT_WR);
	turn(&loop);
	assert_over(RELAY_FINISHED);
	assert_int_equal(shutdowns.calls, 3);
}

static void the_first_end_is_told_to_a_sole_socket(void **state)
{
	start_sockets();
	relay.client.in.sole = relay.server.in.sole = true;
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_hears_end(server);
	assert_true(relay_is_running(&relay));
}

static void a_sink_that_is_gone_at_the_end_was_reset(void **state)
{
	start_sockets();
	SCRIPT(&shutdowns, 0, -EPIPE);
	__real_shutdown(client, SHUT_WR);
	SCRIPT(&shutdowns, -EPIPE);
	turn(&loop);
	assert_over(RELAY_SERVER_RESET);
}

static void a_sink_that_is_not_connected_any_more_was_told(void **state)
{
	start_sockets();
	SCRIPT(&shutdowns, -ENOTCONN);
	__real_shutdown(client, SHUT_WR);
	turn(&loop);
	assert_true(relay_is_running(&relay));
	assert_true(relay.up.told);
}

/* ---- resets ------------------------------------------------------------------------------------------------------------- */

static void a_source_that_fails_was_reset(void **state)
{
	start_sockets();
	SCRIPT(&recvs, -EINTR, -ECONNRESET);
	client_event(EPOLLIN);
	assert_int_equal(recvs.calls, 2);
	assert_int_equal(ends_told, 0); /* from a task */
	assert_false(relay_is_running(&relay));
	server_event(EPOLLIN); /* nothing moves any more */
	assert_int_equal(recvs.calls, 2);
	turn(&loop);
	assert_over(RELAY_CLIENT_RESET);
}

static void a_server_that_fails_was_reset(void **state)
{
	start_sockets();
	SCRIPT(&recvs, -ECONNRESET);
	server_event(EPOLLIN);
	turn(&loop);
	assert_over(RELAY_SERVER_RESET);
}

static void a_source_that_is_empty_is_waited_for(void **state)
{
	start_sockets();
	SCRIPT(&recvs, -EAGAIN);
	client_event(EPOLLIN);
	server_event(EPOLLOUT);
	assert_int_equal(recvs.calls, 1);
	assert_true(relay_is_running(&relay));
}

static void a_sink_that_fails_was_reset(void **state)
{
	start_sockets();
	SCRIPT(&sends, -EPIPE);
	say(client, "a");
	turn(&loop);
	assert_over(RELAY_SERVER_RESET);
}

static void a_client_that_takes_no_bytes_was_reset(void **state)
{
	start_sockets();
	SCRIPT(&sends, 1, -EPIPE);
	say(server, "ab");
	turn(&loop);
	assert_true(relay_is_running(&relay));
	client_event(EPOLLOUT);
	turn(&loop);
	assert_over(RELAY_CLIENT_RESET);
}

/* A side that is not read shows its reset by an event alone. */
static void a_reset_is_seen_where_bytes_are_kept_back(void **state)
{
	start_sockets();
	SCRIPT(&sends, 1);
	say(client, "ab");
	turn(&loop);
	client_event(EPOLLERR);
	turn(&loop);
	assert_over(RELAY_CLIENT_RESET);
}

static void a_reset_is_seen_behind_the_end(void **state)
{
	start_sockets();
	shutdown(server, SHUT_WR);
	turn(&loop);
	server_event(EPOLLERR);
	turn(&loop);
	assert_over(RELAY_SERVER_RESET);
}

static void an_error_elsewhere_is_found_by_reading(void **state)
{
	start_sockets();
	say(client, "before");
	SCRIPT(&recvs, 6, -ECONNRESET);
	client_event(EPOLLERR | EPOLLRDHUP);
	assert_int_equal(recvs.calls, 2); /* the end was announced: a short read is not the last */
	assert_int_equal(relay.up.bytes, 6);
	assert_false(send_flags & MSG_MORE); /* what came before a reset leaves at once */
	turn(&loop);
	assert_over(RELAY_CLIENT_RESET);
}

static void only_the_first_reason_counts(void **state)
{
	start_sockets();
	relay_finish(&relay, RELAY_SERVER_RESET);
	relay_finish(&relay, RELAY_CLIENT_RESET);
	turn(&loop);
	assert_over(RELAY_SERVER_RESET);
}

static int error_of(int fd)
{
	char byte;

	await(fd);
	return __real_recv(fd, &byte, 1, 0) < 0 ? errno : 0;
}

static void resets_are_passed_on_and_ends_are_not_resets(void **state)
{
	static const struct {
		enum relay_end end;
		int error;
	} cases[] = { { RELAY_CLIENT_RESET, ECONNRESET }, { RELAY_SERVER_RESET, ECONNRESET }, { RELAY_FINISHED, 0 },
		{ RELAY_IDLE, 0 } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tcp_pair(&client, &relay.client);
		tcp_pair(&server, &relay.server);
		start();
		world_end(cases[i].end);
		assert_int_equal(error_of(client), cases[i].error);
		assert_int_equal(error_of(server), cases[i].error);
		end_close(&client);
		end_close(&server);
	}
	relay.client.in.fd = -1;
}

static void one_that_is_under_way_can_be_closed(void **state)
{
	start_sockets();
	SCRIPT(&sends, 1);
	say(client, "ab");
	turn(&loop);
	relay_finish(&relay, RELAY_IDLE);
	world_end(RELAY_FINISHED);
	turn(&loop);
	assert_int_equal(ends_told, 0);
	assert_int_equal(pool->n_spare_buffers, 1);
}

/* ---- time --------------------------------------------------------------------------------------------------------------- */

static void it_ends_when_nothing_has_moved_for_long(void **state)
{
	start_sockets();
	turn_after(&loop, 3 * SECOND_US);
	say(client, "a");
	turn(&loop);
	turn_after(&loop, IDLE_US - 1);
	assert_true(relay_is_running(&relay));
	turn_after(&loop, 1);
	assert_over(RELAY_IDLE);
}

static void it_is_idle_from_the_start_on(void **state)
{
	start_sockets();
	turn_after(&loop, IDLE_US - 1);
	assert_true(relay_is_running(&relay));
	assert_int_equal(ends_told, 0);
	turn_after(&loop, 1);
	assert_over(RELAY_IDLE);
	assert_int_equal(loop.timers.count, 0);
}

/* ---- bulk --------------------------------------------------------------------------------------------------------------- */

static uint8_t block[RELAY_BUFFER_SIZE], heard[RELAY_BUFFER_SIZE];

/* So many bytes from one end to the other. */
static void pass(int from, int to, size_t len)
{
	for (size_t i = 0; i < len; i++)
		block[i] = (uint8_t)(block[i] + i + len);
	assert_int_equal(__real_send(from, block, len, 0), (ssize_t)len);
	turn(&loop);
	size_t n = 0;
	for (ssize_t one; n < len && (one = __real_recv(to, heard + n, len - n, MSG_DONTWAIT)) > 0;)
		n += (size_t)one;
	assert_int_equal(n, len);
	assert_memory_equal(block, heard, len);
}

static void bulk_is_spliced_and_small_amounts_are_copied(void **state)
{
	start_sockets();
	n_inline = 0;
	pass(client, server, RELAY_BUFFER_SIZE / 2 - 1);
	pass(client, server, RELAY_BUFFER_SIZE / 2);
	pass(client, server, 100);
	pass(client, server, RELAY_BUFFER_SIZE / 2);
	pass(client, server, RELAY_BUFFER_SIZE / 2);
	assert_int_equal(splices.calls, 0);
	assert_null(relay.up.pipe);
	assert_int_equal(n_inline, 0);
	pass(client, server, 100);
	assert_non_null(relay.up.pipe);
	assert_null(relay.down.pipe);
	assert_int_equal(n_inline, 1);
	assert_int_equal(splices.calls, 3); /* in, out, nothing more */
	assert_int_equal(relay.up.bytes, 4 * (RELAY_BUFFER_SIZE / 2) - 1 + 200);

	pass(client, server, RELAY_BUFFER_SIZE / 4);
	assert_int_equal(relay.up.streak, 0);
	for (int i = 0; i < 8; i++) {
		assert_non_null(relay.up.pipe);
		pass(client, server, RELAY_BUFFER_SIZE / 4 - 1);
	}
	splices.calls = recvs.calls = 0;
	pass(client, server, 100);
	assert_null(relay.up.pipe);
	assert_int_equal(splices.calls, 0);
	assert_non_null(pool->spare_pipes);
	assert_int_equal(pool->n_pipes, 1);
	pass(client, server, RELAY_BUFFER_SIZE / 2); /* and all over again */
	pass(client, server, RELAY_BUFFER_SIZE / 2);
	pass(client, server, 100);
	assert_non_null(relay.up.pipe);
	assert_null(pool->spare_pipes);
	assert_int_equal(pool->n_pipes, 1);
}

static void bulk_up(void)
{
	start_sockets();
	pass(client, server, RELAY_BUFFER_SIZE / 2);
	pass(client, server, RELAY_BUFFER_SIZE / 2);
}

static void a_pipe_that_the_sink_does_not_empty_is_emptied_later(void **state)
{
	bulk_up();
	SCRIPT(&splices, 10, 1, -EAGAIN, -EINTR);
	say(client, "0123456789");
	turn_after(&loop, SECOND_US);
	assert_int_equal(relay.up.in_pipe, 9);
	assert_int_equal(relay.up.bytes, RELAY_BUFFER_SIZE + 1);
	splices.calls = 0;
	say(client, "abc");
	turn(&loop);
	assert_int_equal(splices.calls, 0); /* only into an empty pipe */
	clock_us += SECOND_US;
	loop.now_us = clock_us;
	server_event(EPOLLOUT);
	assert_hears(server, "0123456789abc");
	assert_int_equal(relay.up.bytes, RELAY_BUFFER_SIZE + 13);
	assert_int_equal(relay.moved_us, clock_us);
}

static void a_reset_is_seen_where_a_pipe_is_full(void **state)
{
	bulk_up();
	SCRIPT(&splices, 10, 4, -EAGAIN);
	say(client, "0123456789");
	turn(&loop);
	client_event(EPOLLERR);
	turn(&loop);
	assert_over(RELAY_CLIENT_RESET);
	world_end(RELAY_CLIENT_RESET);
	assert_null(pool->spare_pipes); /* with bytes in it nobody else has a use for it */
	assert_int_equal(pool->n_pipes, 0);
}

static void a_sink_that_fails_while_splicing_was_reset(void **state)
{
	bulk_up();
	SCRIPT(&splices, 10, -EPIPE);
	say(client, "0123456789");
	turn(&loop);
	assert_over(RELAY_SERVER_RESET);
}

static void a_sink_that_takes_no_byte_of_a_pipe_was_reset(void **state)
{
	bulk_up();
	SCRIPT(&splices, 10, 0);
	say(client, "0123456789");
	turn(&loop);
	assert_over(RELAY_SERVER_RESET);
}

static void a_source_that_fails_while_splicing_was_reset(void **state)
{
	bulk_up();
	SCRIPT(&splices, -EINTR, -ECONNRESET);
	client_event(EPOLLIN);
	turn(&loop);
	assert_int_equal(splices.calls, 2);
	assert_over(RELAY_CLIENT_RESET);
}

static void what_cannot_be_spliced_is_copied(void **state)
{
	bulk_up();
	SCRIPT(&splices, -EINVAL);
	pass(client, server, 100);
	assert_true(relay.up.copy_only);
	assert_null(relay.up.pipe);
	assert_non_null(pool->spare_pipes);
	for (int i = 0; i < 3; i++)
		pass(client, server, RELAY_BUFFER_SIZE / 2);
	assert_int_equal(splices.calls, 1);
}

static void an_end_while_splicing_is_passed_on(void **state)
{
	bulk_up();
	pass(client, server, 100);
	assert_non_null(relay.up.pipe);
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_hears_end(server);
	assert_null(relay.up.pipe);
	assert_non_null(pool->spare_pipes);
}

static void urgent_bytes_end_splicing(void **state)
{
	bulk_up();
	pass(client, server, 100);
	assert_non_null(relay.up.pipe);
	say(client, "x");
	client_event(EPOLLIN | EPOLLPRI);
	assert_null(relay.up.pipe);
	assert_hears(server, "x");
}

static void some_pairs_are_never_spliced(void **state)
{
	start_sockets();
	relay.client.is_unix = true;
	for (int i = 0; i < 4; i++)
		pass(client, server, RELAY_BUFFER_SIZE / 2);
	assert_int_equal(splices.calls, 0);
	for (int i = 0; i < 3; i++)
		pass(server, client, RELAY_BUFFER_SIZE / 2);
	assert_int_not_equal(splices.calls, 0);
}

/* What is read from a UNIX socket may be cut short where descriptors came along. */
static void a_unix_source_is_read_until_it_is_empty_where_it_was_cut(void **state)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec part = { .iov_base = (void *)(uintptr_t) "a", .iov_len = 1 };
	struct msghdr m = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};

	start_sockets();
	relay.client.is_unix = true;
	CMSG_FIRSTHDR(&m)->cmsg_len = CMSG_LEN(sizeof(int));
	CMSG_FIRSTHDR(&m)->cmsg_level = SOL_SOCKET;
	CMSG_FIRSTHDR(&m)->cmsg_type = SCM_RIGHTS;
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &server, sizeof(int));
	assert_int_equal(sendmsg(client, &m, 0), 1);
	say(client, "bc");
	turn(&loop);
	assert_hears(server, "abc");
}

static void where_there_are_no_more_pipes_bytes_are_copied(void **state)
{
	struct relay_pipe *taken[RELAY_PIPES_MAX];

	for (size_t i = 0; i < RELAY_PIPES_MAX; i++)
		assert_non_null(taken[i] = relay_pool_take_pipe(pool));
	assert_null(relay_pool_take_pipe(pool));
	start_sockets();
	for (int i = 0; i < 4; i++)
		pass(client, server, RELAY_BUFFER_SIZE / 2);
	assert_int_equal(splices.calls, 0);
	assert_null(relay.up.pipe);
	for (size_t i = 0; i < RELAY_PIPES_MAX; i++)
		relay_pool_give_pipe(pool, taken[i], true);
	assert_non_null(taken[0] = relay_pool_take_pipe(pool));
	relay_pool_give_pipe(pool, taken[0], true);
}

/* ---- programs ----------------------------------------------------------------------------------------------------------- */

static void a_program_gets_and_gives_bytes_by_its_pipes(void **state)
{
	start_program();
	say(client, "in");
	turn(&loop);
	assert_hears(server, "in");
	say(server_out, "out");
	turn(&loop);
	assert_hears(client, "out");
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_hears_end(server);
	assert_int_equal(relay.server.out.fd, -1);
	say(server_out, "last");
	end_close(&server_out);
	turn(&loop);
	assert_hears(client, "last");
	assert_hears_end(client);
	assert_over(RELAY_FINISHED);
	assert_int_equal(shutdowns.calls, 2); /* a pipe is closed */
	assert_int_equal(n_nodelay, 1);       /* the client's */
}

static void a_pipe_that_is_full_is_written_to_when_its_end_says_so(void **state)
{
	start_program();
	SCRIPT(&writes, -EAGAIN);
	say(client, "in");
	turn(&loop);
	assert_int_equal(writes.calls, 1);
	server_event(EPOLLOUT); /* of the pipe that is read */
	assert_int_equal(writes.calls, 1);
	relay.server.out.ready(&relay.server.out, EPOLLOUT);
	assert_hears(server, "in");
}

/* What it wrote before is still to be delivered, and what the client sends is dropped. */
static void a_program_that_reads_no_more_is_no_reset(void **state)
{
	start_program();
	end_close(&server);
	turn(&loop);
	assert_true(relay.up.discard);
	say(client, "for nobody");
	turn(&loop);
	assert_true(relay_is_running(&relay));
	assert_int_equal(relay.up.bytes, 0);
	say(server_out, "result");
	turn(&loop);
	assert_hears(client, "result");
	end_close(&server_out);
	turn(&loop);
	assert_hears_end(client);
	assert_true(relay.lingering);
	assert_int_equal(ends_told, 0);
	turn_after(&loop, LINGER_US / 2);
	say(client, "still");
	turn(&loop);
	turn_after(&loop, LINGER_US / 2 - 1);
	assert_int_equal(ends_told, 0);
	turn_after(&loop, 1);
	assert_over(RELAY_FINISHED);
}

static void a_client_that_ends_is_not_lingered_for(void **state)
{
	start_program();
	end_close(&server);
	end_close(&server_out);
	turn(&loop);
	assert_true(relay.lingering);
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_over(RELAY_FINISHED);
}

static void a_write_to_a_program_that_is_gone_is_no_reset(void **state)
{
	start_program();
	SCRIPT(&writes, -EPIPE);
	say(client, "a");
	turn(&loop);
	assert_true(relay_is_running(&relay));
	assert_true(relay.up.discard);
	assert_true(relay.up.told);
}

static void what_was_kept_back_for_a_program_that_is_gone_is_dropped(void **state)
{
	start_program();
	SCRIPT(&writes, 1);
	say(client, "ab");
	turn(&loop);
	assert_non_null(relay.up.pending);
	end_close(&server);
	turn(&loop);
	assert_null(relay.up.pending);
	assert_int_equal(pool->n_spare_buffers, 1);
	assert_true(relay_is_running(&relay));
}

static void output_of_a_program_that_cannot_be_read_has_ended(void **state)
{
	start_program();
	SCRIPT(&reads, -EIO);
	server_event(EPOLLIN);
	assert_hears_end(client);
	assert_false(relay.up.discard); /* it may still read */
	assert_true(relay_is_running(&relay));
}

static void pipes_are_never_spliced(void **state)
{
	start_program();
	for (int i = 0; i < 4; i++) {
		SCRIPT(&writes, RELAY_BUFFER_SIZE / 2);
		assert_int_equal(__real_send(client, block, RELAY_BUFFER_SIZE / 2, 0), RELAY_BUFFER_SIZE / 2);
		turn(&loop);
	}
	assert_int_equal(splices.calls, 0);
	assert_null(relay.up.pipe);
	assert_int_equal(relay.up.bytes, 2 * RELAY_BUFFER_SIZE);
}

static void an_error_at_a_pipe_that_waits_for_the_client_is_no_reset(void **state)
{
	start_program();
	SCRIPT(&sends, 1);
	say(server_out, "ab");
	turn(&loop);
	end_close(&server_out);
	turn(&loop);
	server_event(EPOLLERR);
	assert_true(relay_is_running(&relay));
	client_event(EPOLLOUT);
	assert_hears(client, "ab");
	assert_hears_end(client);
}

/* ---- terminals ---------------------------------------------------------------------------------------------------------- */

static void a_terminal_in_line_mode_hears_of_the_end_twice(void **state)
{
	start_terminal(true);
	say(client, "line\nmiddle");
	turn(&loop);
	assert_hears(server, "line\n");
	SCRIPT(&writes, 2);
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_int_equal(writes.calls, 1);
	assert_true(relay.up.told);
	assert_true(relay_is_running(&relay));
}

static void the_end_in_the_middle_of_a_line_is_heard(void **state)
{
	start_terminal(true);
	say(client, "middle");
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_hears(server, "middle");
	assert_hears_end(server);
	assert_int_equal(shutdowns.calls, 1);
}

static void a_raw_terminal_gets_no_byte_for_the_end(void **state)
{
	start_terminal(false);
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_int_equal(writes.calls, 0);
	assert_true(relay.up.told);
	assert_true(relay_is_running(&relay));
}

/* A terminal passes bytes on in its own time. */
static void turn_until_heard(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	for (int i = 0; i < 60000 && poll(&p, 1, 1) == 0; i++)
		turn(&loop);
}

static void a_terminal_that_everybody_has_left_has_ended(void **state)
{
	start_terminal(false);
	say(server, "bye");
	turn_until_heard(client);
	assert_hears(client, "bye");
	end_close(&server);
	turn_until_heard(client);
	assert_hears_end(client);
	assert_true(relay.up.discard);
	assert_true(relay.lingering);
	turn_after(&loop, LINGER_US);
	assert_over(RELAY_FINISHED);
}

static void urgent_bytes_are_the_business_of_sockets(void **state)
{
	start_terminal(false);
	n_inline = 0;
	server_event(EPOLLPRI);
	assert_false(relay.down.urgent);
	assert_int_equal(n_inline, 0);
}

/* ---- resumed ------------------------------------------------------------------------------------------------------------ */

static void wire(uint64_t moved_us)
{
	unix_pair(&client, &relay.client);
	unix_pair(&server, &relay.server);
	loop.now_us = clock_us;
	relay.moved_us = moved_us;
	relay.end = RELAY_IDLE; /* whatever it was */
}

static void one_from_another_worker_goes_on(void **state)
{
	wire(clock_us - SECOND_US);
	relay.up = (struct relay_flow){
		.pending = relay_pool_take_buffer(pool), .pending_at = 2, .pending_len = 5, .bytes = 100
	};
	memcpy(relay.up.pending, "xxabc", 5);
	say(server, "there");
	relay_resume(&relay);
	assert_true(relay.up.readable && relay.up.writable && relay.down.readable && relay.down.writable);
	assert_true(relay_is_running(&relay));
	assert_int_equal(n_inline, 2);
	assert_true(relay.turn.queued);
	turn(&loop);
	assert_hears(server, "abc");
	assert_hears(client, "there");
	assert_int_equal(relay.up.bytes, 103);
	turn_after(&loop, IDLE_US - 1);
	assert_int_equal(ends_told, 0);
	turn_after(&loop, 1);
	assert_over(RELAY_IDLE);
}

static void one_that_moved_long_ago_has_the_rest_of_its_time(void **state)
{
	wire(clock_us - SECOND_US);
	relay_resume(&relay);
	turn(&loop);
	turn_after(&loop, IDLE_US - SECOND_US - 1);
	assert_int_equal(ends_told, 0);
	turn_after(&loop, 1);
	assert_over(RELAY_IDLE);
}

static void one_that_lingers_does_so_for_a_while(void **state)
{
	wire(clock_us);
	relay.lingering = true;
	relay.up.discard = relay.up.told = relay.down.told = relay.down.ended = true;
	relay_resume(&relay);
	turn_after(&loop, LINGER_US - 1);
	assert_int_equal(ends_told, 0);
	turn_after(&loop, 1);
	assert_over(RELAY_FINISHED);
}

static void one_that_cannot_be_resumed_ends(void **state)
{
	wire(clock_us);
	SCRIPT(&reallocs, -1);
	relay_resume(&relay);
	assert_int_equal(ends_told, 0);
	turn(&loop);
	assert_over(RELAY_NO_MEMORY);
}

/* ---- the pool ----------------------------------------------------------------------------------------------------------- */

static void sixteen_buffers_are_kept(void **state)
{
	uint8_t *buffers[20];

	for (size_t i = 0; i < 20; i++) {
		assert_non_null(buffers[i] = relay_pool_take_buffer(pool));
		memset(buffers[i], (int)i, RELAY_BUFFER_SIZE);
	}
	for (size_t i = 0; i < 20; i++)
		relay_pool_give_buffer(pool, buffers[i]);
	relay_pool_give_buffer(pool, NULL);
	assert_int_equal(pool->n_spare_buffers, 16);
	mallocs.calls = 0;
	for (size_t i = 0; i < 16; i++)
		assert_non_null(buffers[i] = relay_pool_take_buffer(pool));
	assert_int_equal(mallocs.calls, 0);
	assert_int_equal(pool->n_spare_buffers, 0);
	for (size_t i = 0; i < 16; i++)
		relay_pool_give_buffer(pool, buffers[i]);
}

/* What the kernel gives to who asks for so much. */
static int largest_pipe(void)
{
	int ends[2];

	pipe_pair(ends);
	fcntl(ends[0], F_SETPIPE_SZ, RELAY_PIPE_SIZE);
	int size = fcntl(ends[0], F_GETPIPE_SZ);
	close(ends[0]);
	close(ends[1]);
	return size;
}

static void a_pipe_is_as_large_as_the_kernel_allows(void **state)
{
	int largest = largest_pipe();
	struct relay_pipe *pipe = relay_pool_take_pipe(pool);

	assert_non_null(pipe);
	assert_false(pipe->is_foreign);
	assert_int_equal(fcntl(pipe->in, F_GETPIPE_SZ), largest);
	assert_int_equal(fcntl(pipe->in, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	assert_int_equal(fcntl(pipe->out, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(__real_write(pipe->out, "x", 1), 1);
	assert_hears(pipe->in, "x");
	relay_pool_give_pipe(pool, pipe, true);
	assert_ptr_equal(relay_pool_take_pipe(pool), pipe);
	relay_pool_give_pipe(pool, pipe, false);
	assert_int_equal(pool->n_pipes, 0);
	relay_pool_give_pipe(pool, NULL, true);
}

static void a_pipe_of_another_worker_is_for_one_direction_alone(void **state)
{
	int ends[2];

	pipe_pair(ends);
	struct relay_pipe *pipe = relay_pool_adopt_pipe(pool, ends[0], ends[1]);
	assert_non_null(pipe);
	assert_int_equal(pipe->in, ends[0]);
	assert_int_equal(pipe->out, ends[1]);
	assert_int_equal(pool->n_pipes, 1);
	relay_pool_give_pipe(pool, pipe, true);
	assert_null(pool->spare_pipes);
	assert_int_equal(pool->n_pipes, 0);
}

static void a_pipe_that_cannot_be_had_leaves_nothing_behind(void **state)
{
	SCRIPT(&pipes, -EMFILE);
	assert_null(relay_pool_take_pipe(pool));
	SCRIPT(&mallocs, -1);
	assert_null(relay_pool_take_pipe(pool));
	assert_int_equal(pool->n_pipes, 0);
}

static void a_pool_without_memory_is_none(void **state)
{
	SCRIPT(&mallocs, -1);
	assert_null(relay_pool_new());
	relay_pool_free(NULL);
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(bytes_go_both_ways_and_are_counted),
		UNIT(bytes_that_came_before_the_start_are_delivered),
		UNIT(a_short_read_needs_no_second_one),
		UNIT(after_a_full_read_the_source_is_read_again),
		UNIT(urgent_bytes_stay_in_the_stream),
		UNIT(tcp_delays_no_byte_after_the_first),
		UNIT(a_direction_gives_way_after_a_mebibyte),
		UNIT(a_direction_gives_way_after_many_steps),
		UNIT(what_the_sink_does_not_take_is_kept_back),
		UNIT(a_sink_that_takes_nothing_gets_all_later),
		UNIT(without_memory_for_it_the_relay_ends),
		UNIT(large_amounts_arrive_whole_at_a_slow_reader),
		UNIT(a_preface_goes_first_and_is_not_the_clients),
		UNIT(a_preface_can_be_as_large_as_a_buffer),
		UNIT(a_preface_without_memory_ends_the_relay),
		UNIT(a_clock_without_memory_ends_the_relay),
		UNIT(each_end_is_passed_on_behind_its_bytes),
		UNIT(the_server_may_end_first),
		UNIT(an_end_waits_for_what_is_kept_back),
		UNIT(the_last_end_needs_no_half_close_of_a_sole_socket),
		UNIT(the_first_end_is_told_to_a_sole_socket),
		UNIT(a_sink_that_is_gone_at_the_end_was_reset),
		UNIT(a_sink_that_is_not_connected_any_more_was_told),
		UNIT(a_source_that_fails_was_reset),
		UNIT(a_server_that_fails_was_reset),
		UNIT(a_source_that_is_empty_is_waited_for),
		UNIT(a_sink_that_fails_was_reset),
		UNIT(a_client_that_takes_no_bytes_was_reset),
		UNIT(a_reset_is_seen_where_bytes_are_kept_back),
		UNIT(a_reset_is_seen_behind_the_end),
		UNIT(an_error_elsewhere_is_found_by_reading),
		UNIT(only_the_first_reason_counts),
		UNIT(resets_are_passed_on_and_ends_are_not_resets),
		UNIT(one_that_is_under_way_can_be_closed),
		UNIT(it_ends_when_nothing_has_moved_for_long),
		UNIT(it_is_idle_from_the_start_on),
		UNIT(bulk_is_spliced_and_small_amounts_are_copied),
		UNIT(a_pipe_that_the_sink_does_not_empty_is_emptied_later),
		UNIT(a_reset_is_seen_where_a_pipe_is_full),
		UNIT(a_sink_that_fails_while_splicing_was_reset),
		UNIT(a_sink_that_takes_no_byte_of_a_pipe_was_reset),
		UNIT(a_source_that_fails_while_splicing_was_reset),
		UNIT(what_cannot_be_spliced_is_copied),
		UNIT(an_end_while_splicing_is_passed_on),
		UNIT(urgent_bytes_end_splicing),
		UNIT(some_pairs_are_never_spliced),
		UNIT(a_unix_source_is_read_until_it_is_empty_where_it_was_cut),
		UNIT(where_there_are_no_more_pipes_bytes_are_copied),
		UNIT(a_program_gets_and_gives_bytes_by_its_pipes),
		UNIT(a_pipe_that_is_full_is_written_to_when_its_end_says_so),
		UNIT(a_program_that_reads_no_more_is_no_reset),
		UNIT(a_client_that_ends_is_not_lingered_for),
		UNIT(a_write_to_a_program_that_is_gone_is_no_reset),
		UNIT(what_was_kept_back_for_a_program_that_is_gone_is_dropped),
		UNIT(output_of_a_program_that_cannot_be_read_has_ended),
		UNIT(pipes_are_never_spliced),
		UNIT(an_error_at_a_pipe_that_waits_for_the_client_is_no_reset),
		UNIT(a_terminal_in_line_mode_hears_of_the_end_twice),
		UNIT(the_end_in_the_middle_of_a_line_is_heard),
		UNIT(a_raw_terminal_gets_no_byte_for_the_end),
		UNIT(a_terminal_that_everybody_has_left_has_ended),
		UNIT(urgent_bytes_are_the_business_of_sockets),
		UNIT(one_from_another_worker_goes_on),
		UNIT(one_that_moved_long_ago_has_the_rest_of_its_time),
		UNIT(one_that_lingers_does_so_for_a_while),
		UNIT(one_that_cannot_be_resumed_ends),
		UNIT(sixteen_buffers_are_kept),
		UNIT(a_pipe_is_as_large_as_the_kernel_allows),
		UNIT(a_pipe_of_another_worker_is_for_one_direction_alone),
		UNIT(a_pipe_that_cannot_be_had_leaves_nothing_behind),
		UNIT(a_pool_without_memory_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
