/* Takes sessions in: says which listeners there are, then makes a session of every message. Refuses what does not add up,
 * and to read on while this worker has no descriptors to spare: what waits in the channel is not lost, and what the channel does not
 * take is served where it is. Owns the channels. */
#include "migration_receive.h"
#include "context.h"
#include "fd.h"
#include "ipc.h"
#include "limits_transit.h"
#include "log.h"
#include "migrant.h"
#include "migration_unpack.h"
#include "transport_migration.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BATCH    64     /* taken in before others get their turn */
#define PAUSE_US 100000 /* with no descriptors to spare */

_Static_assert(MIGRATION_FDS_MAX == IPC_FDS_MAX, "a message carries all");

struct migration_receiver {
	struct migration_receiver *next;
	struct context *context;
	struct watch channel;
	struct task turn;
	struct timer pause;
	unsigned from; /* the other worker's slot */
	unsigned taken;
	bool owes_word;   /* that some were taken, to the other worker */
	bool flows_moved; /* no more come from there */
	uint8_t *message; /* MIGRANT_MAX bytes */
};

static void receiver_bury(struct task *task)
{
	struct migration_receiver *receiver = container_of(task, struct migration_receiver, turn);

	free(receiver->message);
	free(receiver);
}

static void receiver_end(struct migration_receiver *receiver)
{
	struct context *context = receiver->context;
	struct migration_receiver **link = &context->receiver;

	while (*link != receiver)
		link = &(*link)->next;
	*link = receiver->next;
	loop_timer_stop(&context->loop, &receiver->pause);
	fd_close(loop_unwatch(&context->loop, &receiver->channel));
	if (receiver->taken)
		log_debug("took %u connections over", receiver->taken);
	loop_cancel(&context->loop, &receiver->turn);
	receiver->turn.run = receiver_bury;
	loop_defer(&context->loop, &receiver->turn);
	context->flows_moved(context);
	context->session_gone(context);
}

/* The descriptors that are taken over are -1 afterwards. */
static void receiver_take(struct migration_receiver *receiver, size_t len, struct ipc_fds *fds)
{
	struct context *context = receiver->context;
	struct session *session = NULL;
	struct migrant_parts parts;
	int error = 0;

	if (fds->lost) {
		log_error("out of descriptors: a connection that came from another worker is lost");
	} else if (migrant_read(&parts, receiver->message, len) < 0) {
		log_error("a connection that came from another worker is refused: its message is broken");
	} else {
		struct migration_state state = {
			.bytes = migrant_state(receiver->message),
			.len = parts.head->state_len,
			.n_fds = fds->n,
		};
		memcpy(state.fds, fds->fd, sizeof(state.fds));
		session = migration_unpack(context, &parts, &state, &error);
		memcpy(fds->fd, state.fds, sizeof(state.fds));
	}
	limits_transit_take(
		context->shared->limits, context->slot, receiver->from); /* it counts here now, or nowhere */
	receiver->owes_word = true;
	receiver->taken += session != NULL;
	if (session)
		session->transport->migration->go_on(session, error);
}

static void receiver_receive_some(struct migration_receiver *receiver)
{
	struct context *context = receiver->context;
	struct loop *loop = &context->loop;
	struct ipc_fds fds;

	for (unsigned i = 0; i < BATCH; i++) {
		if (context->n_sessions >= context->capacity.connections) {
			loop_timer(loop, &receiver->pause, loop->now_us + PAUSE_US);
			return;
		}
		ssize_t n = ipc_receive(receiver->channel.fd, receiver->message, MIGRANT_MAX, &fds);
		if (n == -EAGAIN)
			return;
		if (n == sizeof(struct migrant_flows_moved)) {
			receiver->flows_moved = true;
			context->flows_moved(context);
		} else if (n > 0) {
			receiver_take(receiver, (size_t)n, &fds);
		}
		ipc_close_fds(&fds);
		if (n <= 0) {
			receiver_end(receiver);
			return;
		}
	}
	loop_defer(loop, &receiver->turn);
}

/* What was taken is said: the other worker sends no more than LIMITS_TRANSIT_MAX unheard. */
static void receiver_receive(struct migration_receiver *receiver)
{
	const struct migrant_taken taken = { MIGRANT_FORMAT };

	receiver_receive_some(receiver);
	if (receiver->owes_word && receiver->channel.fd >= 0)
		receiver->owes_word = ipc_send(receiver->channel.fd, &taken, sizeof(taken), NULL, 0) == -EAGAIN;
}

static void receiver_ready(struct watch *watch, uint32_t events)
{
	receiver_receive(container_of(watch, struct migration_receiver, channel));
}

static void receiver_turn(struct task *task)
{
	receiver_receive(container_of(task, struct migration_receiver, turn));
}

static void receiver_go_on(struct timer *timer)
{
	receiver_receive(container_of(timer, struct migration_receiver, pause));
}

static const char *listener_text(const void *of, size_t at)
{
	const struct context *context = of;
	return at < context->policy->n_listeners ? context->policy->listeners[at].text : NULL;
}

static bool socket_here(const void *of, size_t at, struct migrant_socket *ret)
{
	const struct context *context = of;

	for (size_t i = 0; i < TRANSPORT_COUNT; i++) {
		const struct transport *transport = context->transports[i];
		if (transport && transport->migration && transport->migration->socket)
			return transport->migration->socket(context, at, &ret->listener, &ret->place);
	}
	return false;
}

/* With more listeners than a message holds the rest are as if they were not there: their undecided sessions are decided
 * where they are. */
static int receiver_greet(const struct migration_receiver *receiver)
{
	size_t len = migrant_hello_write(
		receiver->message, MIGRANT_MAX / 2, receiver->context, listener_text, socket_here);

	return ipc_send(receiver->channel.fd, receiver->message, len, NULL, 0);
}

void migration_receive_begin(struct context *context, int channel, unsigned from)
{
	struct migration_receiver *receiver = calloc(1, sizeof(*receiver));
	uint8_t *message = malloc(MIGRANT_MAX);

	if (!receiver || !message) {
		free(receiver);
		free(message);
		fd_close(channel);
		return;
	}
	*receiver = (struct migration_receiver){
		.next = context->receiver,
		.context = context,
		.channel = { .fd = -1, .ready = receiver_ready },
		.turn = { .run = receiver_turn },
		.pause = { .fired = receiver_go_on },
		.from = from,
		.message = message,
	};
	context->receiver = receiver;
	limits_transit_expect(context->shared->limits, context->slot, from);
	if (loop_watch(&context->loop, &receiver->channel, channel, EPOLLIN | EPOLLOUT | EPOLLET) < 0) {
		fd_close(channel);
		receiver_end(receiver);
	} else if (receiver_greet(receiver) < 0) {
		receiver_end(receiver);
	}
}

bool migration_receive_awaits_flows(const struct context *context)
{
	const struct migration_receiver *receiver = context->receiver;

	while (receiver && receiver->flows_moved)
		receiver = receiver->next;
	return receiver;
}

void migration_receive_end_all(struct context *context)
{
	for (struct migration_receiver *next; context->receiver; context->receiver = next) {
		next = context->receiver->next;
		fd_close(loop_unwatch(&context->loop, &context->receiver->channel));
		free(context->receiver->message);
		free(context->receiver);
	}
}
