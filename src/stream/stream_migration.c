/* How a stream moves to another worker (transport_migration.h): undecided or relayed. Refuses descriptors that are not what they are said to be.
 * While it moves its descriptors are in both workers; the old one closes its own in stream_leave(). */
#include "fd.h"
#include "relay_pool.h"
#include "stream.h"
#include "stream_pace.h"
#include "stream_state.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* ---- going ---- */

static bool migration_is_movable(const struct session *session)
{
	const struct stream *stream = container_of(session, struct stream, session);

	return session->phase == PHASE_RELAYING ? relay_is_running(&stream->relay)
						: !stream->banner && !stream->starttls;
}

static void flow_pack(const struct relay_flow *flow, struct stream_state_flow *to, const uint8_t **ret_pending)
{
	*to = (struct stream_state_flow){
		.bytes = flow->bytes,
		.uncounted = flow->uncounted,
		.pending_len = flow->pending ? flow->pending_len - flow->pending_at : 0,
		.in_pipe = flow->in_pipe,
		.ended = flow->ended,
		.told = flow->told,
		.discard = flow->discard,
		.copy_only = flow->copy_only,
	};
	*ret_pending = flow->pending ? flow->pending + flow->pending_at : NULL;
}

static void flow_pack_pipe(const struct relay_flow *flow, int by_place[STREAM_FDS], enum stream_fd out)
{
	if (flow->in_pipe == 0)
		return;
	by_place[out] = flow->pipe->in;
	by_place[out + 1] = flow->pipe->out;
}

static void relay_pack(
	const struct relay *relay, struct stream_state *head, struct stream_state_parts *parts, int *by_place)
{
	head->moved_us = relay->moved_us;
	head->lingering = relay->lingering;
	head->server_kind = relay->server.kind;
	flow_pack(&relay->up, &head->up, &parts->up);
	flow_pack(&relay->down, &head->down, &parts->down);
	if (relay->paces) {
		head->up.paced_ns = relay->paces->up.full_ns;
		head->down.paced_ns = relay->paces->down.full_ns;
	}
	by_place[STREAM_FD_SERVER] = relay->server.in.fd;
	by_place[STREAM_FD_INPUT] = relay->server.out.fd;
	flow_pack_pipe(&relay->up, by_place, STREAM_FD_UP_OUT);
	flow_pack_pipe(&relay->down, by_place, STREAM_FD_DOWN_OUT);
}

static int migration_pack(struct session *session, struct migration_state *state)
{
	const struct stream *stream = stream_of(session);
	struct stream_state head = { .was_silent = stream->was_silent };
	struct stream_state_parts parts = { .head = &head };
	int by_place[STREAM_FDS];

	for (size_t i = 0; i < STREAM_FDS; i++)
		by_place[i] = -1;
	by_place[STREAM_FD_CLIENT] = stream_socket(stream);
	if (session->phase == PHASE_RELAYING)
		relay_pack(&stream->relay, &head, &parts, by_place);
	state->n_fds = 0;
	for (size_t i = 0; i < STREAM_FDS; i++) {
		head.has_fd[i] = by_place[i] >= 0;
		if (by_place[i] >= 0)
			state->fds[state->n_fds++] = by_place[i];
	}
	ssize_t len = stream_state_write(state->bytes, state->len, &parts);
	if (len < 0)
		return (int)len;
	state->len = (size_t)len;
	return 0;
}

static void migration_leave(struct session *session)
{
	stream_leave(stream_of(session));
}

/* ---- checked ---- */

/* Not by fstat(): the call that the C library makes for it could ask about any path, and is none of a worker's (sandbox.c). */
static bool fd_is(int fd, enum side_kind kind)
{
	int unused;
	socklen_t len = sizeof(unused);

	switch (kind) {
	case SIDE_SOCKET: /* none of ours would keep who closes it */
		return getsockopt(fd, SOL_SOCKET, SO_TYPE, &unused, &len) == 0 && unused == SOCK_STREAM &&
			!fd_lingers(fd);
	case SIDE_PIPES:
		return fcntl(fd, F_GETPIPE_SZ) >= 0;
	case SIDE_TERMINAL:
		return ioctl(fd, TIOCGPTN, &unused) == 0;
	}
	return false;
}

static bool pipe_holds(int fd, uint32_t bytes)
{
	int there = 0;
	return fd_is(fd, SIDE_PIPES) && ioctl(fd, FIONREAD, &there) == 0 && (uint32_t)there == bytes;
}

/* -1: none. */
static void fds_place(const struct stream_state *head, const int *fds, int by_place[STREAM_FDS])
{
	size_t n = 0;

	for (size_t i = 0; i < STREAM_FDS; i++)
		by_place[i] = head->has_fd[i] ? fds[n++] : -1;
}

static bool migration_is_sound(enum session_phase phase, const struct migration_state *state)
{
	struct stream_state_parts parts;
	int at[STREAM_FDS];

	if (stream_state_read(&parts, phase, state->bytes, state->len, state->n_fds) < 0)
		return false;
	fds_place(parts.head, state->fds, at);
	return fd_is(at[STREAM_FD_CLIENT], SIDE_SOCKET) &&
		(at[STREAM_FD_SERVER] < 0 || fd_is(at[STREAM_FD_SERVER], (enum side_kind)parts.head->server_kind)) &&
		(at[STREAM_FD_INPUT] < 0 || fd_is(at[STREAM_FD_INPUT], SIDE_PIPES)) &&
		(at[STREAM_FD_UP_OUT] < 0 ||
			(pipe_holds(at[STREAM_FD_UP_OUT], parts.head->up.in_pipe) &&
				fd_is(at[STREAM_FD_UP_IN], SIDE_PIPES))) &&
		(at[STREAM_FD_DOWN_OUT] < 0 ||
			(pipe_holds(at[STREAM_FD_DOWN_OUT], parts.head->down.in_pipe) &&
				fd_is(at[STREAM_FD_DOWN_IN], SIDE_PIPES)));
}

/* ---- coming ---- */

static struct session *migration_arrive(struct context *context, enum session_phase phase)
{
	struct stream *stream = stream_arrive(context, phase);
	return stream ? &stream->session : NULL;
}

static int flow_unpack(struct relay *relay, struct relay_flow *flow, const struct stream_state_flow *from,
	const uint8_t *pending, int *fds)
{
	*flow = (struct relay_flow){
		.bytes = from->bytes,
		.uncounted = from->uncounted,
		.ended = from->ended,
		.told = from->told,
		.discard = from->discard,
		.copy_only = from->copy_only,
	};
	if (from->pending_len) {
		flow->pending = relay_pool_take_buffer(relay->pool);
		if (!flow->pending)
			return -ENOMEM;
		memcpy(flow->pending, pending, from->pending_len);
		flow->pending_len = from->pending_len;
	}
	if (fds[0] < 0)
		return 0;
	flow->pipe = relay_pool_adopt_pipe(relay->pool, fds[0], fds[1]);
	if (!flow->pipe)
		return -ENOMEM;
	fds[0] = fds[1] = -1;
	flow->in_pipe = from->in_pipe;
	return 0;
}

static int watch_take(struct loop *loop, struct watch *watch, int *fd, uint32_t events)
{
	if (*fd < 0)
		return 0;
	int error = loop_watch(loop, watch, *fd, events);
	if (error == 0)
		*fd = -1;
	return error;
}

static int side_take(struct loop *loop, struct relay_side *side, int *fd)
{
	side->is_unix = fd_is_unix(*fd);
	return watch_take(loop, &side->in, fd, RELAY_EVENTS);
}

static int relay_unpack(struct relay *relay, const struct stream_state_parts *parts, int *at)
{
	const struct stream_state *head = parts->head;

	relay->moved_us = migration_at_most(head->moved_us, relay->loop->now_us);
	relay->lingering = head->lingering;
	relay->server.kind = (enum side_kind)head->server_kind;
	int error = flow_unpack(relay, &relay->up, &head->up, parts->up, &at[STREAM_FD_UP_OUT]);
	if (error == 0)
		error = flow_unpack(relay, &relay->down, &head->down, parts->down, &at[STREAM_FD_DOWN_OUT]);
	if (error == 0)
		error = side_take(relay->loop, &relay->server, &at[STREAM_FD_SERVER]);
	if (error == 0)
		error = watch_take(relay->loop, &relay->server.out, &at[STREAM_FD_INPUT], EPOLLOUT | EPOLLET);
	return error;
}

/* Its service may have another bandwidth here. What a bucket of that cannot have counts as full (byte_bucket.h). */
static int pace_unpack(struct stream *stream, const struct stream_state *head)
{
	struct relay *relay = &stream->relay;
	int error = stream_pace(stream, session_service_here(&stream->session));

	if (relay->paces) {
		relay->paces->up.full_ns = head->up.paced_ns;
		relay->paces->down.full_ns = head->down.paced_ns;
	}
	return error;
}

static int migration_unpack(struct session *session, struct migration_state *state)
{
	struct stream *stream = stream_of(session);
	struct stream_state_parts parts;
	int at[STREAM_FDS];

	int error = stream_state_read(&parts, session->phase, state->bytes, state->len, state->n_fds);
	if (error < 0)
		return error;
	fds_place(parts.head, state->fds, at);
	for (size_t i = 0; i < state->n_fds; i++) {
		fd_set_stream_nonblocking(state->fds[i], true); /* whatever the other worker made of it */
		state->fds[i] = -1;
	}
	stream->was_silent = parts.head->was_silent;
	error = side_take(&session->context->loop, &stream->relay.client, &at[STREAM_FD_CLIENT]);
	if (error == 0 && session->phase == PHASE_RELAYING)
		error = relay_unpack(&stream->relay, &parts, at);
	if (error == 0 && session->phase == PHASE_RELAYING)
		error = pace_unpack(stream, parts.head);
	for (size_t i = 0; i < STREAM_FDS; i++)
		fd_close(at[i]);
	return error;
}

static void migration_go_on(struct session *session, int error)
{
	stream_arrived(stream_of(session), error);
}

const struct transport_migration stream_migration = {
	.head_size = sizeof(struct stream_state),
	.is_movable = migration_is_movable,
	.pack = migration_pack,
	.leave = migration_leave,
	.is_sound = migration_is_sound,
	.arrive = migration_arrive,
	.unpack = migration_unpack,
	.go_on = migration_go_on,
};
