/* One direction of a relay: reads, writes or splices, keeps back what the sink does not take, passes EOF on. Knows the relay only as the
 * two sides, the pool and the clock; how all ends is told to relay_finish(). Buffers and pipes are the pool's. */
#include "relay_flow.h"
#include "fd.h"
#include "ipc.h"
#include "relay_pool.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

/* What one direction may move before others get their turn. */
#define TURN_BYTES (1 << 20)

/* Copying turns to splicing after so many large reads in a row, and back after so many small ones. Large is less than full: a
 * relay that keeps up with its source finds one packet at a time, which is 64 KiB at most and rarely all of it. */
#define LARGE_READS_TO_SPLICE 2
#define LARGE_READ            (RELAY_BUFFER_SIZE / 2)
#define SMALL_READS_TO_COPY   8
#define SMALL_READ            (RELAY_BUFFER_SIZE / 4)

#define SPLICE_MOST (1 << 20)

/* The answer of one step. */
enum step { STEP_MOVED, STEP_WAIT, STEP_OVER };

static bool flow_is_up(const struct relay *relay, const struct relay_flow *flow)
{
	return flow == &relay->up;
}

static struct relay_side *flow_source(struct relay *relay, struct relay_flow *flow)
{
	return flow_is_up(relay, flow) ? &relay->client : &relay->server;
}

static struct relay_side *flow_sink(struct relay *relay, struct relay_flow *flow)
{
	return flow_is_up(relay, flow) ? &relay->server : &relay->client;
}

static int side_out(const struct relay_side *side)
{
	return side->kind == SIDE_PIPES ? side->out.fd : side->in.fd;
}

static void flow_moved(struct relay *relay, struct relay_flow *flow, size_t n)
{
	uint32_t uncounted = n < flow->uncounted ? (uint32_t)n : flow->uncounted;

	flow->uncounted -= uncounted;
	flow->bytes += n - uncounted;
	relay->moved_us = relay->loop->now_us;
	if (relay->answered && !flow_is_up(relay, flow)) {
		relay->answered(relay);
		relay->answered = NULL;
	}
}

static void flow_leave_pipe(struct relay *relay, struct relay_flow *flow)
{
	relay_pool_give_pipe(relay->pool, flow->pipe, flow->in_pipe == 0);
	flow->pipe = NULL;
	flow->streak = 0;
}

void flow_keep_urgent(struct relay *relay, struct relay_flow *flow)
{
	if (!flow->keeps_urgent && flow_source(relay, flow)->kind == SIDE_SOCKET)
		fd_set_option(flow_source(relay, flow)->in.fd, SOL_SOCKET, SO_OOBINLINE, 1);
	flow->keeps_urgent = true;
}

static enum step flow_over(struct relay *relay, enum relay_end end)
{
	relay_finish(relay, end);
	return STEP_OVER;
}

void flow_let_go(struct relay *relay, struct relay_flow *flow)
{
	relay_pool_give_buffer(relay->pool, flow->pending);
	flow->pending = NULL;
	flow_leave_pipe(relay, flow);
	flow->in_pipe = 0;
}

void flow_discard(struct relay *relay, struct relay_flow *flow)
{
	flow_let_go(relay, flow);
	flow->discard = true;
	flow->told = true;
}

/* A program that is gone is no reset: what it wrote before is still to be delivered. */
static enum step sink_failed(struct relay *relay, struct relay_flow *flow)
{
	struct relay_side *sink = flow_sink(relay, flow);
	if (sink->kind != SIDE_SOCKET) {
		flow_discard(relay, flow);
		return STEP_MOVED;
	}
	return flow_over(relay, flow_is_up(relay, flow) ? RELAY_SERVER_RESET : RELAY_CLIENT_RESET);
}

/* A terminal has no half-close. In line mode its end-of-file character does the same: once at the start of a line, twice in
 * the middle of one. A program in raw mode learns of the end when the terminal is hung up. */
static void terminal_end_input(int fd)
{
	struct termios mode;
	if (tcgetattr(fd, &mode) < 0 || !(mode.c_lflag & ICANON))
		return;
	const uint8_t twice[2] = { mode.c_cc[VEOF], mode.c_cc[VEOF] };
	ssize_t n = write(fd, twice, sizeof(twice));
	(void)n; /* a terminal whose input is full has a program that does not read: the idle timeout is for it */
}

/* The sink has nothing more to say either, and will be closed at once: that tells it, unless somebody else holds it too. */
static bool close_will_tell(struct relay *relay, struct relay_flow *flow)
{
	const struct relay_flow *other = flow_is_up(relay, flow) ? &relay->down : &relay->up;
	return other->ended && other->told && flow_sink(relay, flow)->in.sole;
}

/* All that came before EOF is delivered: now tell the sink. */
static enum step flow_tell_end(struct relay *relay, struct relay_flow *flow)
{
	struct relay_side *sink = flow_sink(relay, flow);

	flow_leave_pipe(relay, flow);
	flow->told = true;
	if (sink->kind == SIDE_PIPES)
		fd_close(loop_unwatch(relay->loop, &sink->out));
	else if (sink->kind == SIDE_TERMINAL)
		terminal_end_input(sink->in.fd);
	else if (!close_will_tell(relay, flow) && shutdown(sink->in.fd, SHUT_WR) < 0 && errno != ENOTCONN)
		return sink_failed(relay, flow);
	relay->moved_us = relay->loop->now_us;
	return STEP_WAIT;
}

/* The first bytes leave at once in any case, since nothing is under way before them: TCP_NODELAY is for those that follow, and
 * most connections have none. */
static ssize_t side_write(struct relay_side *side, const uint8_t *bytes, size_t len, bool more)
{
	if (side->written && !side->prompt && side->kind == SIDE_SOCKET) {
		fd_set_option(side->in.fd, IPPROTO_TCP, TCP_NODELAY, 1);
		side->prompt = true;
	}
	side->written = true;
	if (side->kind != SIDE_SOCKET)
		return write(side_out(side), bytes, len);
	return send(side->in.fd, bytes, len, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
}

static enum step flow_write_pending(struct relay *relay, struct relay_flow *flow)
{
	size_t left = flow->pending_len - flow->pending_at;
	ssize_t n = side_write(flow_sink(relay, flow), flow->pending + flow->pending_at, left, false);
	if (n < 0 && errno == EINTR)
		return STEP_MOVED;
	if (n < 0 && errno == EAGAIN) {
		flow->writable = false;
		return STEP_WAIT;
	}
	if (n < 0)
		return sink_failed(relay, flow);
	flow_moved(relay, flow, (size_t)n);
	flow->pending_at += (uint32_t)n;
	if (flow->pending_at == flow->pending_len) {
		relay_pool_give_buffer(relay->pool, flow->pending);
		flow->pending = NULL;
	}
	return STEP_MOVED;
}

/* What the sink did not take is kept back; nothing more is read until it is gone. */
static enum step flow_keep_back(struct relay *relay, struct relay_flow *flow, const uint8_t *bytes, size_t len)
{
	flow->writable = false;
	flow->pending = relay_pool_take_buffer(relay->pool);
	if (!flow->pending)
		return flow_over(relay, RELAY_NO_MEMORY);
	memcpy(flow->pending, bytes, len);
	flow->pending_at = 0;
	flow->pending_len = (uint32_t)len;
	return STEP_WAIT;
}

static enum step source_failed(struct relay *relay, struct relay_flow *flow, int error)
{
	struct relay_side *source = flow_source(relay, flow);
	if (error == EINTR)
		return STEP_MOVED;
	if (error == EAGAIN) {
		flow->readable = false;
		return STEP_WAIT;
	}
	if (source->kind == SIDE_SOCKET)
		return flow_over(relay, flow_is_up(relay, flow) ? RELAY_CLIENT_RESET : RELAY_SERVER_RESET);
	/* A terminal says EIO when the last program has left it. */
	flow->ended = true;
	if (source->kind == SIDE_TERMINAL)
		flow_discard(relay, &relay->up);
	return STEP_MOVED;
}

/* `ret_cut`: there may be more, whatever came. */
static ssize_t side_read(const struct relay_side *source, uint8_t *bytes, size_t size, bool *ret_cut)
{
	*ret_cut = source->kind != SIDE_SOCKET;
	if (source->kind != SIDE_SOCKET)
		return read(source->in.fd, bytes, size);
	return source->is_unix ? ipc_receive_bytes(source->in.fd, bytes, size, 0, ret_cut)
			       : recv(source->in.fd, bytes, size, 0);
}

/* A short read means that the source is empty, and saves the call that would say so: a stream socket gives all it has, up to the
 * next urgent byte. Where its end was announced that call tells of it. */
static bool read_emptied(const struct relay_flow *flow, size_t n, size_t size)
{
	return n < size && !flow->urgent && !flow->hung_up;
}

/* NULL: it goes as fast as it can. */
static struct pace *flow_pace(struct relay *relay, const struct relay_flow *flow)
{
	if (!relay->paces)
		return NULL;
	return flow_is_up(relay, flow) ? &relay->paces->up : &relay->paces->down;
}

static void flow_came(struct relay *relay, const struct relay_flow *flow, size_t n)
{
	struct pace *pace = flow_pace(relay, flow);
	if (pace)
		pace_moved(pace, n);
}

static enum step flow_copy(struct relay *relay, struct relay_flow *flow, size_t size)
{
	struct relay_side *source = flow_source(relay, flow);
	uint8_t *shared = relay->pool->shared;

	bool cut;
	ssize_t got = side_read(source, shared, size, &cut);
	if (got < 0)
		return source_failed(relay, flow, errno);
	if (got == 0) {
		flow->ended = true;
		return STEP_MOVED;
	}
	flow_came(relay, flow, (size_t)got);
	if (!cut && read_emptied(flow, (size_t)got, size))
		flow->readable = false;
	else if ((size_t)got == size)
		flow_keep_urgent(relay, flow);
	flow->streak = got >= LARGE_READ ? flow->streak + 1 : 0;
	if (flow->discard)
		return STEP_MOVED;

	ssize_t put;
	/* EOF comes next, and can leave in the same packet. */
	bool last = flow->hung_up && !flow->broken && (size_t)got < size;
	do
		put = side_write(flow_sink(relay, flow), shared, (size_t)got, last);
	while (put < 0 && errno == EINTR);
	if (put < 0 && errno != EAGAIN)
		return sink_failed(relay, flow);
	if (put < 0)
		put = 0;
	else
		flow_moved(relay, flow, (size_t)put);
	return put < got ? flow_keep_back(relay, flow, shared + put, (size_t)(got - put)) : STEP_MOVED;
}

static enum step flow_empty_pipe(struct relay *relay, struct relay_flow *flow)
{
	ssize_t n = splice(flow->pipe->in, NULL, side_out(flow_sink(relay, flow)), NULL, flow->in_pipe,
		SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	if (n < 0 && errno == EINTR)
		return STEP_MOVED;
	if (n < 0 && errno == EAGAIN) {
		flow->writable = false;
		return STEP_WAIT;
	}
	if (n <= 0)
		return sink_failed(relay, flow);
	flow_moved(relay, flow, (size_t)n);
	flow->in_pipe -= (uint32_t)n;
	return STEP_MOVED;
}

/* Only into an empty pipe, so that EAGAIN can mean nothing but an empty source. */
static enum step flow_fill_pipe(struct relay *relay, struct relay_flow *flow, size_t size)
{
	ssize_t n = splice(flow_source(relay, flow)->in.fd, NULL, flow->pipe->out, NULL, size,
		SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	/* It cannot be spliced. Or it has ended, or says so before an urgent byte that comes last: a read tells. */
	if (n == 0 || (n < 0 && errno == EINVAL)) {
		flow->copy_only = true;
		flow_leave_pipe(relay, flow);
		return STEP_MOVED;
	}
	if (n < 0)
		return source_failed(relay, flow, errno);
	flow_came(relay, flow, (size_t)n);
	flow->in_pipe = (uint32_t)n;
	flow->streak = n < SMALL_READ ? flow->streak + 1 : 0;
	return STEP_MOVED;
}

/* Large reads in a row: bulk, which the kernel moves cheaper than we do. Small ones: copying is cheaper again. */
static void flow_choose_way(struct relay *relay, struct relay_flow *flow)
{
	if (flow->pipe) {
		if (flow->in_pipe == 0 && (flow->streak >= SMALL_READS_TO_COPY || flow->urgent))
			flow_leave_pipe(relay, flow);
	} else if (flow->streak >= LARGE_READS_TO_SPLICE && !flow_source(relay, flow)->is_unix && !flow->copy_only &&
		!flow->discard) {
		flow->streak = 0;
		if (flow_source(relay, flow)->kind == SIDE_SOCKET && flow_sink(relay, flow)->kind == SIDE_SOCKET) {
			flow_keep_urgent(relay, flow);
			flow->pipe = relay_pool_take_pipe(relay->pool);
		}
	}
}

/* What is kept back goes first, then what is new; EOF is passed on when nothing is left before it. */
static enum step flow_step(struct relay *relay, struct relay_flow *flow)
{
	if (flow->pending)
		return flow->writable ? flow_write_pending(relay, flow) : STEP_WAIT;
	if (flow->in_pipe)
		return flow->writable ? flow_empty_pipe(relay, flow) : STEP_WAIT;
	if (flow->ended)
		return flow->told ? STEP_WAIT : flow_tell_end(relay, flow);
	if (!flow->readable || !(flow->writable || flow->discard))
		return STEP_WAIT;
	flow_choose_way(relay, flow);
	size_t size = flow->pipe ? SPLICE_MOST : RELAY_BUFFER_SIZE;
	struct pace *pace = flow_pace(relay, flow);
	if (pace && !flow->discard)
		size = pace_room(pace, size);
	if (size == 0)
		return STEP_WAIT;
	return flow->pipe ? flow_fill_pipe(relay, flow, size) : flow_copy(relay, flow, size);
}

void flow_run(struct relay *relay, struct relay_flow *flow)
{
	uint64_t until = flow->bytes + TURN_BYTES;

	for (unsigned steps = 0; flow_step(relay, flow) == STEP_MOVED; steps++) {
		if (flow->bytes >= until || steps >= TURN_BYTES / 1024) {
			loop_defer(relay->loop, &relay->turn);
			break;
		}
	}
	if (relay->paces)
		pace_rest(flow_pace(relay, flow));
}

void flow_source_events(struct relay *relay, struct relay_flow *flow, uint32_t events)
{
	if (events & EPOLLPRI && flow_source(relay, flow)->kind == SIDE_SOCKET) {
		flow_keep_urgent(relay, flow);
		flow->urgent = flow->copy_only = true;
	}
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		flow->readable = true;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		flow->hung_up = true;
	if (events & EPOLLERR)
		flow->broken = true;
}

void flow_sink_events(struct relay_flow *flow, uint32_t events)
{
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		flow->writable = true;
}
