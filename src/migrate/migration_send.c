/* Moves sessions away. They go when nothing that this worker alone knows is under way for them: undecided, or relayed. All
 * others become one or the other, or end, within the timeouts of their phase, and go then.
 *
 *     hello from the new worker -> each session that can: write it down, send it with its descriptors, forget it
 *
 * A session is forgotten in the same step in which the kernel has taken its message: it is in one worker or the other,
 * or in the channel between them, never in two. On its way it counts by this worker's record (limits_transit.h): so no more are sent
 * than there are records before the new worker has taken some, and this worker lives until all are taken. Refuses to lose one: what cannot be
 * sent stays. */
#include "migration_send.h"
#include "counters.h"
#include "evidence_kept.h"
#include "fd.h"
#include "ipc.h"
#include "limits_transit.h"
#include "log.h"
#include "migrant.h"
#include "migration_receive.h"
#include "session_log.h"
#include "transport_migration.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The kernel bounds the descriptors that are under way between processes of one user. */
#define RETRY_US 20000

struct migration_sender {
	struct context *context;
	struct watch channel;
	int next_channel; /* to a worker of yet another generation, once nothing is on its way to this one; -1: none */
	unsigned next_to; /* its slot */
	struct task turn;
	struct timer retry;
	bool looked_again; /* at who cannot go */
	bool told_moved;   /* that no flow is left here */
	size_t hello_len;  /* 0: none yet */
	uint8_t *hello;    /* MIGRANT_MAX bytes */
	_Alignas(8) uint8_t message[MIGRANT_MAX];
};

/* ---- what can go ------------------------------------------------------------------------------------------------------- */

/* Under another policy its listener may not be there any more; then it is decided here. */
static bool sender_is_listened_to(const struct migration_sender *sender, const char *listener)
{
	for (const char *text = NULL; (text = migrant_hello_next(sender->hello, sender->hello_len, text));)
		if (strcmp(text, listener) == 0)
			return true;
	return false;
}

static bool sender_may_take(const struct migration_sender *sender, const struct session *session)
{
	const struct transport_migration *migration = session->transport->migration;

	if (session->stays || !migration)
		return false;
	switch (session->phase) {
	case PHASE_PROXIED:
	case PHASE_DECIDING:
		return migration->is_movable(session) && sender_is_listened_to(sender, session->listener);
	case PHASE_RELAYING:
		return migration->is_movable(session);
	default:
		return false;
	}
}

/* ---- writing it down ----------------------------------------------------------------------------------------------------- */

static void session_to_migrant(const struct session *session, struct migrant *head, struct migrant_parts *parts)
{
	const struct proxied *proxied = session->proxied;

	*head = (struct migrant){
		.transport = session->transport->kind,
		.phase = session->phase == PHASE_PROXIED ? MIGRANT_PROXIED : MIGRANT_DECIDING,
		.id = session->id,
		.accepted_us = session->accepted_us,
		.decided_us = session->decided_us,
		.backend = session->backend_key,
		.client = session->client,
	};
	*parts = (struct migrant_parts){
		.text[TEXT_LISTENER] = session->listener,
		.text[TEXT_SNI] = session->sni,
		.text[TEXT_ALPN] = session->alpn,
		.text[TEXT_HOST] = session->host,
	};
	if (proxied) {
		head->peer = proxied->peer;
		head->destination = proxied->destination;
		head->header_len = (uint32_t)proxied->len;
		parts->header = proxied->header;
	}
	parts->kept = evidence_kept_bytes(session, &head->kept_len);
	if (session->phase != PHASE_RELAYING)
		return;
	head->phase = MIGRANT_RELAYING;
	head->delivery = session_delivery(session);
	head->log_level = session_log_level(session, END_FINISHED);
	parts->text[TEXT_SERVICE] = session_service_name(session);
	parts->text[TEXT_PROTOCOL] = session_protocol(session);
	parts->text[TEXT_BACKEND] = session_backend(session);
}

/* ---- going ----------------------------------------------------------------------------------------------------------------- */

/* What is on its way, and not taken by now, is lost: the other worker is gone, or of no use. */
static void sender_close(struct migration_sender *sender)
{
	struct loop *loop = &sender->context->loop;

	loop_timer_stop(loop, &sender->retry);
	loop_cancel(loop, &sender->turn);
	fd_close(loop_unwatch(loop, &sender->channel));
	limits_transit_end(sender->context->shared->limits, sender->context->slot);
	free(sender->hello);
	sender->hello = NULL;
	sender->hello_len = 0;
}

/* Under what the session counts here. */
static void sender_record(const struct session *session)
{
	const struct context *context = session->context;

	limits_transit_write(context->shared->limits, context->slot,
		&(struct limits_transit){
			.ticket = session->ticket,
			.listener_place = session->listener_place,
			.is_undecided = session->place.source && !session->is_unproven,
			.undecided_place = session->place.counted,
			.counters = { counter_own_key(session->came_in), counter_own_key(session->counted) },
			.backend = session->backend_key,
		});
}

/* 0; -EAGAIN: later; another -errno: the channel is of no use. */
static int sender_send(struct migration_sender *sender, struct session *session)
{
	const struct transport_migration *migration = session->transport->migration;
	struct limits *limits = sender->context->shared->limits;
	unsigned slot = sender->context->slot;
	struct migration_state state = { .bytes = migrant_state(sender->message), .len = MIGRANT_STATE_MAX };
	struct migrant_parts parts;
	struct migrant head;

	if (limits_transit_count(limits, slot) == LIMITS_TRANSIT_MAX)
		return -EAGAIN;
	session_to_migrant(session, &head, &parts);
	ssize_t len = migration->pack(session, &state);
	if (len == 0) {
		head.state_len = (uint32_t)state.len;
		len = migrant_write(sender->message, &head, &parts);
	}
	sender_record(session);
	int error = len < 0 ? (int)len
			    : ipc_send(sender->channel.fd, sender->message, (size_t)len, state.fds, state.n_fds);
	if (error == 0) {
		limits_transit_sent(limits, slot);
		migration->leave(session);
	} else if (error == -EMSGSIZE) {
		session->stays = true;
		error = 0;
	}
	return error;
}

static void sender_look_again(struct migration_sender *sender)
{
	if (!sender->looked_again)
		session_look_again(sender->context);
	sender->looked_again = true;
}

static void sender_give_up(struct migration_sender *sender);

/* From then on the other worker reads what clients send. A flow that cannot go yet is waited for, and what may yet come here from workers
 * before this one. 0 or -errno. */
static int sender_tell_moved(struct migration_sender *sender)
{
	const struct migrant_flows_moved moved = { MIGRANT_FORMAT };
	struct context *context = sender->context;

	if (sender->told_moved || migration_receive_awaits_flows(context))
		return 0;
	for (const struct session *session = session_first(context); session; session = session_next(session))
		if (session->transport->kind == TRANSPORT_DATAGRAM && session->phase != PHASE_ENDED)
			return 0;
	int error = ipc_send(sender->channel.fd, &moved, sizeof(moved), NULL, 0);
	sender->told_moved = error == 0;
	if (error == 0)
		context->flows_over(context);
	return error;
}

static void sender_go_on(struct migration_sender *sender)
{
	struct loop *loop = &sender->context->loop;
	int error = 0;

	for (struct session *session = session_first(sender->context); session && error == 0;
		session = session_next(session))
		if (sender_may_take(sender, session))
			error = sender_send(sender, session);
	if (error == 0)
		error = sender_tell_moved(sender);
	if (error == 0)
		sender_look_again(sender);
	if (error == -ETOOMANYREFS || error == -ENOBUFS || error == -ENOMEM) {
		loop_timer(loop, &sender->retry, loop->now_us + RETRY_US);
	} else if (error < 0 && error != -EAGAIN) {
		log_warning("connections cannot move to a new worker any more: %s", strerrordesc_np(-error));
		sender_give_up(sender);
	}
}

static void sender_turn(struct task *task)
{
	struct migration_sender *sender = container_of(task, struct migration_sender, turn);
	if (sender->channel.fd >= 0 && sender->hello_len && sender->next_channel < 0)
		sender_go_on(sender);
}

static void sender_retry(struct timer *timer)
{
	migration_send_wake(container_of(timer, struct migration_sender, retry));
}

void migration_send_wake(struct migration_sender *sender)
{
	if (sender)
		loop_defer(&sender->context->loop, &sender->turn);
}

/* ---- the channel -------------------------------------------------------------------------------------------------------- */

static int sender_open(struct migration_sender *sender, int channel, unsigned to)
{
	struct context *context = sender->context;

	sender->looked_again = sender->told_moved = false;
	limits_transit_begin(context->shared->limits, context->slot, to);
	int error = loop_watch(&context->loop, &sender->channel, channel, EPOLLIN | EPOLLOUT | EPOLLET);
	if (error < 0)
		fd_close(channel);
	return error;
}

/* To the worker of yet another generation, unless something is still on its way to the one before. */
static int sender_open_next(struct migration_sender *sender)
{
	const struct context *context = sender->context;
	int channel = sender->next_channel;

	if (channel < 0 || limits_transit_count(context->shared->limits, context->slot) > 0)
		return 0;
	sender->next_channel = -1;
	sender_close(sender);
	return sender_open(sender, channel, sender->next_to);
}

/* The other worker is gone, or is not one of ours. */
static void sender_give_up(struct migration_sender *sender)
{
	sender_close(sender);
	if (sender->next_channel < 0 || sender_open_next(sender) < 0) {
		sender_look_again(sender);
		sender->context->flows_over(sender->context);
	}
	sender->context->session_gone(sender->context);
}

static void sender_hear_hello(struct migration_sender *sender, size_t len)
{
	sender->hello = migrant_hello_is_sound(sender->message, len) ? malloc(len) : NULL;
	if (!sender->hello) {
		sender_give_up(sender);
		return;
	}
	memcpy(sender->hello, sender->message, len);
	sender->hello_len = len;
}

/* Some were taken: there are records again, and perhaps nothing more is to be done here. */
static void sender_hear_taken(struct migration_sender *sender)
{
	if (sender_open_next(sender) < 0)
		sender_look_again(sender);
	sender->context->session_gone(sender->context);
}

/* True where there may be more. */
static bool sender_receive(struct migration_sender *sender)
{
	struct ipc_fds fds;
	ssize_t n = ipc_receive(sender->channel.fd, sender->message, MIGRANT_MAX, &fds);
	bool has_fds = fds.n > 0 || fds.lost, has_hello = sender->hello_len > 0;

	ipc_close_fds(&fds);
	if (n == -EAGAIN)
		return false;
	if (n <= 0 || has_fds || (has_hello && !migrant_taken_is_sound(sender->message, (size_t)n)))
		sender_give_up(sender);
	else if (has_hello)
		sender_hear_taken(sender);
	else
		sender_hear_hello(sender, (size_t)n);
	return true;
}

static void sender_ready(struct watch *watch, uint32_t events)
{
	struct migration_sender *sender = container_of(watch, struct migration_sender, channel);

	while (watch->fd >= 0 && sender_receive(sender))
		;
	if (watch->fd >= 0)
		migration_send_wake(sender);
}

bool migration_send_is_under_way(const struct migration_sender *sender)
{
	return sender && limits_transit_count(sender->context->shared->limits, sender->context->slot) > 0;
}

static struct migration_sender *sender_new(struct context *context)
{
	struct migration_sender *sender = calloc(1, sizeof(*sender));

	if (!sender)
		return NULL;
	sender->context = context;
	sender->channel = (struct watch){ .fd = -1, .ready = sender_ready };
	sender->next_channel = -1;
	sender->turn = (struct task){ .run = sender_turn };
	sender->retry = (struct timer){ .fired = sender_retry };
	return sender;
}

int migration_send_begin(struct context *context, int channel, unsigned to)
{
	if (!context->sender)
		context->sender = sender_new(context);
	struct migration_sender *sender = context->sender;
	if (!sender) {
		fd_close(channel);
		return -ENOMEM;
	}
	fd_close(sender->next_channel); /* a generation that retires already */
	sender->next_channel = channel;
	sender->next_to = to;
	return sender_open_next(sender);
}

void migration_send_free(struct migration_sender *sender)
{
	if (!sender)
		return;
	sender_close(sender);
	fd_close(sender->next_channel);
	free(sender);
}
