/* Takes connections in: says which listeners there are, then makes a connection of every message. Refuses what does not add up,
 * and to read on while this worker has no descriptors to spare: what waits in the channel is not lost, and what the channel does not
 * take is served where it is. Owns the channels. */
#include "immigration.h"
#include "connection.h"
#include "fd.h"
#include "ipc.h"
#include "log.h"
#include "migrant.h"
#include "worker.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define BATCH    64     /* taken in before others get their turn */
#define PAUSE_US 100000 /* with no descriptors to spare */

struct immigration {
	struct immigration *next;
	struct worker *worker;
	struct watch channel;
	struct task turn;
	struct timer pause;
	unsigned taken;
	uint8_t *message; /* MIGRANT_MAX bytes */
};

static void immigration_bury(struct task *task)
{
	struct immigration *immigration = container_of(task, struct immigration, turn);

	free(immigration->message);
	free(immigration);
}

static void immigration_end(struct immigration *immigration)
{
	struct worker *worker = immigration->worker;
	struct immigration **link = &worker->immigrations;

	while (*link != immigration)
		link = &(*link)->next;
	*link = immigration->next;
	loop_timer_stop(&worker->loop, &immigration->pause);
	fd_close(loop_unwatch(&worker->loop, &immigration->channel));
	if (immigration->taken)
		log_debug("took %u connections over", immigration->taken);
	loop_cancel(&worker->loop, &immigration->turn);
	immigration->turn.run = immigration_bury;
	loop_defer(&worker->loop, &immigration->turn);
	worker_connection_gone(worker);
}

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

static bool fds_add_up(const struct migrant *head, const int by_place[MIGRANT_FDS])
{
	enum side_kind server = (enum side_kind)head->server_kind;

	return fd_is(by_place[MIGRANT_CLIENT], SIDE_SOCKET) &&
		(by_place[MIGRANT_SERVER] < 0 || fd_is(by_place[MIGRANT_SERVER], server)) &&
		(by_place[MIGRANT_INPUT] < 0 || fd_is(by_place[MIGRANT_INPUT], SIDE_PIPES)) &&
		(by_place[MIGRANT_UP_OUT] < 0 ||
			(pipe_holds(by_place[MIGRANT_UP_OUT], head->up.in_pipe) &&
				fd_is(by_place[MIGRANT_UP_IN], SIDE_PIPES))) &&
		(by_place[MIGRANT_DOWN_OUT] < 0 ||
			(pipe_holds(by_place[MIGRANT_DOWN_OUT], head->down.in_pipe) &&
				fd_is(by_place[MIGRANT_DOWN_IN], SIDE_PIPES)));
}

/* The descriptors that are taken over are -1 afterwards. */
static void immigration_take(struct immigration *immigration, size_t len, struct ipc_fds *fds)
{
	int by_place[MIGRANT_FDS];
	struct migrant_parts parts;
	size_t n = 0;

	if (migrant_read(&parts, immigration->message, len, fds->n) < 0) {
		log_error("a connection that came from another worker is refused: its message is broken");
		return;
	}
	for (size_t i = 0; i < MIGRANT_FDS; i++)
		by_place[i] = parts.head->has_fd[i] ? fds->fd[n++] : -1;
	if (!fds_add_up(parts.head, by_place)) {
		log_error("a connection that came from another worker is refused: its descriptors are wrong");
		return;
	}
	for (size_t i = 0; i < n; i++) {
		fd_set_stream_nonblocking(fds->fd[i], true); /* whatever the other worker made of it */
		fds->fd[i] = -1;
	}
	immigration->taken++;
	connection_arrive(immigration->worker, &parts, by_place);
}

static void immigration_receive(struct immigration *immigration)
{
	struct worker *worker = immigration->worker;
	struct loop *loop = &worker->loop;
	struct ipc_fds fds;

	for (unsigned i = 0; i < BATCH; i++) {
		if (worker->n_connections >= worker->capacity.connections) {
			loop_timer(loop, &immigration->pause, loop->now_us + PAUSE_US);
			return;
		}
		ssize_t n = ipc_receive(immigration->channel.fd, immigration->message, MIGRANT_MAX, &fds);
		if (n == -EAGAIN)
			return;
		if (n > 0 && fds.lost) {
			log_error("out of descriptors: a connection that came from another worker is lost");
			continue;
		}
		if (n > 0)
			immigration_take(immigration, (size_t)n, &fds);
		ipc_close_fds(&fds);
		if (n <= 0) {
			immigration_end(immigration);
			return;
		}
	}
	loop_defer(loop, &immigration->turn);
}

static void immigration_ready(struct watch *watch, uint32_t events)
{
	immigration_receive(container_of(watch, struct immigration, channel));
}

static void immigration_turn(struct task *task)
{
	immigration_receive(container_of(task, struct immigration, turn));
}

static void immigration_go_on(struct timer *timer)
{
	immigration_receive(container_of(timer, struct immigration, pause));
}

/* With more listeners than a message holds the rest are as if they were not there: their undecided connections are decided
 * where they are. */
static int immigration_greet(const struct immigration *immigration)
{
	const struct policy *policy = immigration->worker->policy;
	struct migrant_hello *hello = (struct migrant_hello *)immigration->message;
	size_t len = sizeof(*hello);

	for (size_t i = 0; i < policy->n_listeners; i++) {
		size_t text_len = strlen(policy->listeners[i].text) + 1;
		if (len + text_len > MIGRANT_MAX / 2)
			break;
		memcpy(immigration->message + len, policy->listeners[i].text, text_len);
		len += text_len;
	}
	*hello = (struct migrant_hello){ MIGRANT_FORMAT, (uint32_t)(len - sizeof(*hello)) };
	return ipc_send(immigration->channel.fd, hello, len, NULL, 0);
}

void immigration_begin(struct worker *worker, int channel)
{
	struct immigration *immigration = calloc(1, sizeof(*immigration));
	uint8_t *message = malloc(MIGRANT_MAX);

	if (!immigration || !message) {
		free(immigration);
		free(message);
		fd_close(channel);
		return;
	}
	*immigration = (struct immigration){
		.next = worker->immigrations,
		.worker = worker,
		.channel = { .fd = -1, .ready = immigration_ready },
		.turn = { .run = immigration_turn },
		.pause = { .fired = immigration_go_on },
		.message = message,
	};
	worker->immigrations = immigration;
	if (loop_watch(&worker->loop, &immigration->channel, channel, EPOLLIN | EPOLLET) < 0) {
		fd_close(channel);
		immigration_end(immigration);
	} else if (immigration_greet(immigration) < 0) {
		immigration_end(immigration);
	}
}

void immigration_end_all(struct worker *worker)
{
	for (struct immigration *next; worker->immigrations; worker->immigrations = next) {
		next = worker->immigrations->next;
		fd_close(loop_unwatch(&worker->loop, &worker->immigrations->channel));
		free(worker->immigrations->message);
		free(worker->immigrations);
	}
}
