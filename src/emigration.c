/* Moves connections away. They go when nothing that this worker alone knows is under way for them: undecided, or relayed. All
 * others become one or the other, or end, within the timeouts of their phase, and go then.
 *
 *     hello from the new worker -> each connection that can: write it down, send it with its descriptors, forget it
 *
 * A connection is forgotten in the same step in which the kernel has taken its message: it is in one worker or the other,
 * or in the channel between them, never in two. Refuses to lose one: what cannot be sent stays. */
#include "emigration.h"
#include "connection.h"
#include "fd.h"
#include "ipc.h"
#include "log.h"
#include "migrant.h"
#include "proxied.h"
#include "relay_pool.h"
#include "report.h"
#include "worker.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The kernel bounds the descriptors that are under way between processes of one user. */
#define RETRY_US 20000

struct emigration {
	struct worker *worker;
	struct watch channel;
	struct task turn;
	struct timer retry;
	bool looked_again; /* at who cannot go */
	size_t hello_len;  /* 0: none yet */
	uint8_t *hello;    /* MIGRANT_MAX bytes */
	uint8_t message[MIGRANT_MAX];
};

/* ---- what can go ------------------------------------------------------------------------------------------------------- */

/* Under another policy its listener may not be there any more; then it is decided here. */
static bool emigration_is_listened_to(const struct emigration *emigration, const char *listener)
{
	for (const char *text = NULL; (text = migrant_hello_next(emigration->hello, emigration->hello_len, text));)
		if (strcmp(text, listener) == 0)
			return true;
	return false;
}

static bool emigration_may_take(const struct emigration *emigration, const struct connection *connection)
{
	if (connection->stays)
		return false;
	switch (connection->phase) {
	case PHASE_PROXIED:
	case PHASE_DECIDING:
		return !connection->banner && emigration_is_listened_to(emigration, connection->listener);
	case PHASE_RELAYING:
		return relay_is_running(&connection->relay);
	default:
		return false;
	}
}

/* ---- writing it down ----------------------------------------------------------------------------------------------------- */

static void flow_describe(const struct relay_flow *flow, struct migrant_flow *to, const uint8_t **ret_pending)
{
	*to = (struct migrant_flow){
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

static void fds_of_flow(const struct relay_flow *flow, int fds[MIGRANT_FDS], enum migrant_fd out)
{
	if (flow->in_pipe == 0)
		return;
	fds[out] = flow->pipe->in;
	fds[out + 1] = flow->pipe->out;
}

static void relay_describe(const struct relay *relay, struct migrant *head, struct migrant_parts *parts, int *fds)
{
	head->moved_us = relay->moved_us;
	head->lingering = relay->lingering;
	head->server_kind = relay->server.kind;
	flow_describe(&relay->up, &head->up, &parts->up);
	flow_describe(&relay->down, &head->down, &parts->down);
	fds[MIGRANT_SERVER] = relay->server.in.fd;
	fds[MIGRANT_INPUT] = relay->server.out.fd;
	fds_of_flow(&relay->up, fds, MIGRANT_UP_OUT);
	fds_of_flow(&relay->down, fds, MIGRANT_DOWN_OUT);
}

static void connection_describe(
	const struct connection *connection, struct migrant *head, struct migrant_parts *parts, int *fds)
{
	const struct proxied *proxied = connection->proxied;

	*head = (struct migrant){
		.state = connection->phase == PHASE_PROXIED ? MIGRANT_PROXIED : MIGRANT_DECIDING,
		.id = connection->id,
		.accepted_us = connection->accepted_us,
		.decided_us = connection->decided_us,
		.client = connection->client,
		.was_silent = connection->was_silent,
	};
	*parts = (struct migrant_parts){
		.text[MIGRANT_LISTENER] = connection->listener,
		.text[MIGRANT_SNI] = connection->sni,
		.text[MIGRANT_ALPN] = connection->alpn,
		.text[MIGRANT_HOST] = connection->host,
	};
	fds[MIGRANT_CLIENT] = connection_socket(connection);
	if (proxied) {
		head->peer = proxied->peer;
		head->destination = proxied->destination;
		head->header_len = (uint32_t)proxied->len;
		parts->header = proxied->header;
	}
	parts->kept = report_kept(connection, &head->kept_len);
	if (connection->phase != PHASE_RELAYING)
		return;
	head->state = MIGRANT_RELAYING;
	head->delivery = connection_delivery(connection);
	head->log_level = connection_log_level(connection, END_FINISHED);
	parts->text[MIGRANT_SERVICE] = connection_service_name(connection);
	parts->text[MIGRANT_PROTOCOL] = connection_protocol(connection);
	parts->text[MIGRANT_BACKEND] = connection_backend(connection);
	relay_describe(&connection->relay, head, parts, fds);
}

/* ---- going ----------------------------------------------------------------------------------------------------------------- */

static void emigration_close(struct emigration *emigration)
{
	struct loop *loop = &emigration->worker->loop;

	loop_timer_stop(loop, &emigration->retry);
	loop_cancel(loop, &emigration->turn);
	fd_close(loop_unwatch(loop, &emigration->channel));
}

/* 0; -EAGAIN: later; another -errno: the channel is of no use. */
static int emigration_send(struct emigration *emigration, struct connection *connection)
{
	int by_place[MIGRANT_FDS], fds[MIGRANT_FDS];
	struct migrant_parts parts;
	struct migrant head;
	size_t n = 0;

	for (size_t i = 0; i < MIGRANT_FDS; i++)
		by_place[i] = -1;
	connection_describe(connection, &head, &parts, by_place);
	for (size_t i = 0; i < MIGRANT_FDS; i++) {
		head.has_fd[i] = by_place[i] >= 0;
		if (by_place[i] >= 0)
			fds[n++] = by_place[i];
	}
	ssize_t len = migrant_write(emigration->message, &head, &parts);
	int error = len < 0 ? (int)len : ipc_send(emigration->channel.fd, emigration->message, (size_t)len, fds, n);
	if (error == 0) {
		connection_leave(connection);
	} else if (error == -EMSGSIZE) {
		connection->stays = true;
		error = 0;
	}
	return error;
}

static void emigration_look_again(struct emigration *emigration)
{
	if (!emigration->looked_again)
		worker_look_again(emigration->worker);
	emigration->looked_again = true;
}

static void emigration_go_on(struct emigration *emigration)
{
	struct loop *loop = &emigration->worker->loop;
	int error = 0;

	for (struct connection *connection = emigration->worker->connections; connection && error == 0;
		connection = connection->next)
		if (emigration_may_take(emigration, connection))
			error = emigration_send(emigration, connection);
	if (error == 0)
		emigration_look_again(emigration);
	if (error == -ETOOMANYREFS || error == -ENOBUFS || error == -ENOMEM) {
		loop_timer(loop, &emigration->retry, loop->now_us + RETRY_US);
	} else if (error < 0 && error != -EAGAIN) {
		log_warning("connections cannot move to a new worker any more: %s", strerrordesc_np(-error));
		emigration_close(emigration);
		emigration_look_again(emigration);
	}
}

static void emigration_turn(struct task *task)
{
	struct emigration *emigration = container_of(task, struct emigration, turn);
	if (emigration->channel.fd >= 0 && emigration->hello_len)
		emigration_go_on(emigration);
}

static void emigration_retry(struct timer *timer)
{
	emigration_wake(container_of(timer, struct emigration, retry));
}

void emigration_wake(struct emigration *emigration)
{
	if (emigration)
		loop_defer(&emigration->worker->loop, &emigration->turn);
}

/* ---- the channel -------------------------------------------------------------------------------------------------------- */

static void emigration_receive(struct emigration *emigration)
{
	struct ipc_fds fds;
	ssize_t n = ipc_receive(emigration->channel.fd, emigration->message, MIGRANT_MAX, &fds);
	bool has_fds = fds.n > 0 || fds.lost;

	ipc_close_fds(&fds);
	if (n == -EAGAIN)
		return;
	if (n <= 0 || has_fds || emigration->hello_len || !migrant_hello_is_sound(emigration->message, (size_t)n) ||
		!(emigration->hello = malloc((size_t)n))) {
		emigration_close(emigration);
		emigration_look_again(emigration);
		return;
	}
	memcpy(emigration->hello, emigration->message, (size_t)n);
	emigration->hello_len = (size_t)n;
}

static void emigration_ready(struct watch *watch, uint32_t events)
{
	struct emigration *emigration = container_of(watch, struct emigration, channel);

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		emigration_receive(emigration);
	if (watch->fd >= 0)
		emigration_wake(emigration);
}

int emigration_begin(struct worker *worker, int channel)
{
	struct emigration *emigration = worker->emigration;

	if (emigration) { /* yet another generation: the one before retires as well */
		emigration_close(emigration);
		emigration->hello_len = 0;
		emigration->looked_again = false;
		free(emigration->hello);
		emigration->hello = NULL;
	} else {
		emigration = worker->emigration = calloc(1, sizeof(*emigration));
	}
	if (!emigration) {
		fd_close(channel);
		return -ENOMEM;
	}
	emigration->worker = worker;
	emigration->channel = (struct watch){ .fd = -1, .ready = emigration_ready };
	emigration->turn = (struct task){ .run = emigration_turn };
	emigration->retry = (struct timer){ .fired = emigration_retry };
	int error = loop_watch(&worker->loop, &emigration->channel, channel, EPOLLIN | EPOLLOUT | EPOLLET);
	if (error < 0)
		fd_close(channel);
	return error;
}

void emigration_free(struct emigration *emigration)
{
	if (!emigration)
		return;
	emigration_close(emigration);
	free(emigration->hello);
	free(emigration);
}
