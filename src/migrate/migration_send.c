/* Moves sessions away. They go when nothing that this worker alone knows is under way for them: undecided, or relayed. All
 * others become one or the other, or end, within the timeouts of their phase, and go then.
 *
 *     hellos from all new workers -> each session that can: write it down, send it with its descriptors, forget it
 *
 * A session that came by a socket which one worker has goes to that worker; all others to the first. The old workers' sockets may be those of
 * several new ones, where these are more or fewer than before.
 *
 * A session is forgotten in the same step in which the kernel has taken its message: it is in one worker or the other,
 * or in the channel between them, never in two. On its way it counts by this worker's record (limits_transit.h): so no more are sent
 * than there are records before the new worker has taken some, none to another one while there are any, and this worker lives until all
 * are taken. Refuses to lose one: what cannot be sent stays, but for a flow whose socket no worker has any more, which ends. */
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

/* A worker of the next generation. */
struct peer {
	struct peer *next;
	struct migration_sender *sender;
	struct watch channel; /* not open: it is gone, or was never there */
	unsigned slot;
	uint8_t *hello; /* NULL: none yet */
	bool has_flows; /* some are here that came by a socket of its own */
	bool told_moved;
};

struct migration_sender {
	struct context *context;
	struct peer *peers;  /* where sessions go, from the first hello of all of them on */
	struct peer *at;     /* of these: the one to which some may be on their way; NULL: none was sent yet */
	struct peer *coming; /* those of yet another generation, once nothing is on its way to these, */
	bool is_complete;    /* when all of them are known */
	struct task turn;
	struct task burial; /* of `gone`, after the turn: events that were fetched may still name them */
	struct peer *gone;
	struct timer retry;
	bool looked_again;   /* at who cannot go */
	bool flows_are_over; /* context->flows_over() was called */
	_Alignas(8) uint8_t message[MIGRANT_MAX];
};

/* ---- what can go ------------------------------------------------------------------------------------------------------- */

static bool peer_is_there(const struct peer *peer)
{
	return peer->channel.fd >= 0;
}

/* NULL: nobody takes it. */
static struct peer *sender_peer_of(const struct migration_sender *sender, const struct session *session)
{
	const struct transport_migration *migration = session->transport->migration;
	struct peer *peer = sender->peers;

	if (!migration || !migration->place)
		return peer_is_there(peer) ? peer : NULL;
	uint32_t place = migration->place(session);
	while (peer && !(peer_is_there(peer) && migrant_hello_has_socket(peer->hello, session->listener, place)))
		peer = peer->next;
	return peer;
}

/* Under another policy its listener may not be there any more; then it is decided here. */
static bool peer_may_take(const struct peer *peer, const struct session *session)
{
	const struct transport_migration *migration = session->transport->migration;

	if (session->stays || !migration)
		return false;
	switch (session->phase) {
	case PHASE_PROXIED:
	case PHASE_DECIDING:
		return migration->is_movable(session) && migrant_hello_names(peer->hello, session->listener);
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
static int peer_send(struct peer *peer, struct session *session)
{
	struct migration_sender *sender = peer->sender;
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
	int error =
		len < 0 ? (int)len : ipc_send(peer->channel.fd, sender->message, (size_t)len, state.fds, state.n_fds);
	if (error == 0) {
		limits_transit_sent(limits, slot);
		migration->leave(session);
	} else if (error == -EMSGSIZE) {
		session->stays = true;
		error = 0;
	}
	return error;
}

/* ---- flows ------------------------------------------------------------------------------------------------------------------ */

/* What becomes of those that are here: who is to have some, and those that nobody takes end. */
static void sender_look_at_flows(struct migration_sender *sender)
{
	for (struct peer *peer = sender->peers; peer; peer = peer->next)
		peer->has_flows = false;
	for (struct session *session = session_first(sender->context); session; session = session_next(session)) {
		if (session->transport->kind != TRANSPORT_DATAGRAM || session->phase == PHASE_ENDED)
			continue;
		struct peer *peer = sender_peer_of(sender, session);
		if (peer)
			peer->has_flows = true;
		else
			session->transport->stop(session, END_SHUTDOWN);
	}
}

/* From then on the other worker reads what clients send. A flow that cannot go yet is waited for, and what may yet come here from workers
 * before this one. When all others read, this worker has no use for its sockets. */
static void sender_tell_moved(struct migration_sender *sender)
{
	const struct migrant_flows_moved moved = { MIGRANT_FORMAT };
	struct context *context = sender->context;
	bool are_over = true;

	if (migration_receive_awaits_flows(context))
		return;
	sender_look_at_flows(sender);
	for (struct peer *peer = sender->peers; peer; peer = peer->next) {
		if (!peer_is_there(peer) || peer->told_moved)
			continue;
		/* One that cannot be told for good is about to be heard of. */
		peer->told_moved =
			!peer->has_flows && ipc_send(peer->channel.fd, &moved, sizeof(moved), NULL, 0) == 0;
		are_over = are_over && peer->told_moved;
	}
	if (are_over && !sender->flows_are_over)
		context->flows_over(context);
	sender->flows_are_over = sender->flows_are_over || are_over;
}

/* ---- going, one worker after the other -------------------------------------------------------------------------------------- */

static void sender_look_again(struct migration_sender *sender)
{
	if (!sender->looked_again)
		session_look_again(sender->context);
	sender->looked_again = true;
}

static void peer_is_gone(struct peer *peer);

/* `peer` becomes the one that they go to. False: others are on their way to another one. */
static bool sender_turn_to(struct migration_sender *sender, struct peer *peer)
{
	struct limits *limits = sender->context->shared->limits;
	unsigned slot = sender->context->slot;

	if (sender->at == peer)
		return true;
	if (limits_transit_count(limits, slot) > 0)
		return false;
	limits_transit_begin(limits, slot, peer->slot);
	sender->at = peer;
	return true;
}

/* All that can go now. 0; -EAGAIN: some can later; another -errno: that of *ret_failed. */
static int sender_send_all(struct migration_sender *sender, struct peer **ret_failed)
{
	bool some_wait = false;
	int error = 0;

	for (struct session *session = session_first(sender->context); session && error == 0;
		session = session_next(session)) {
		struct peer *peer = sender_peer_of(sender, session);
		if (!peer || !peer_may_take(peer, session))
			continue;
		if (!sender_turn_to(sender, peer)) {
			some_wait = true;
			continue;
		}
		*ret_failed = peer;
		error = peer_send(peer, session);
	}
	return error == 0 && some_wait ? -EAGAIN : error;
}

static void sender_go_on(struct migration_sender *sender)
{
	struct loop *loop = &sender->context->loop;
	struct peer *failed = NULL;
	int error = sender_send_all(sender, &failed);

	if (error == 0) {
		sender_tell_moved(sender);
		sender_look_again(sender);
	} else if (error == -ETOOMANYREFS || error == -ENOBUFS || error == -ENOMEM) {
		loop_timer(loop, &sender->retry, loop->now_us + RETRY_US);
	} else if (error != -EAGAIN) {
		log_warning("connections cannot move to a new worker any more: %s", strerrordesc_np(-error));
		peer_is_gone(failed);
	}
}

/* Where a session goes is known once all have said which sockets they have, or are gone. */
static bool sender_may_begin(const struct migration_sender *sender)
{
	const struct peer *peer = sender->peers;

	while (peer && (!peer_is_there(peer) || peer->hello))
		peer = peer->next;
	return sender->peers && !peer;
}

static void sender_turn(struct task *task)
{
	struct migration_sender *sender = container_of(task, struct migration_sender, turn);

	if (sender_may_begin(sender) && !sender->is_complete)
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

/* ---- the other workers ------------------------------------------------------------------------------------------------------ */

static void peer_close(struct peer *peer)
{
	fd_close(loop_unwatch(&peer->sender->context->loop, &peer->channel));
	free(peer->hello);
	peer->hello = NULL;
}

static void peers_free(struct peer *peers)
{
	for (struct peer *next; peers; peers = next) {
		next = peers->next;
		peer_close(peers);
		free(peers);
	}
}

static void sender_bury(struct task *task)
{
	struct migration_sender *sender = container_of(task, struct migration_sender, burial);

	peers_free(sender->gone);
	sender->gone = NULL;
}

static void peers_let_go(struct migration_sender *sender, struct peer **peers)
{
	struct peer **end = peers;

	for (; *end; end = &(*end)->next)
		peer_close(*end);
	*end = sender->gone;
	sender->gone = *peers;
	*peers = NULL;
	loop_defer(&sender->context->loop, &sender->burial);
}

/* To the workers of yet another generation, unless something is still on its way to the one before. */
static void sender_follow(struct migration_sender *sender)
{
	struct context *context = sender->context;

	if (!sender->is_complete || limits_transit_count(context->shared->limits, context->slot) > 0)
		return;
	loop_timer_stop(&context->loop, &sender->retry);
	limits_transit_end(context->shared->limits, context->slot);
	peers_let_go(sender, &sender->peers);
	sender->peers = sender->coming;
	sender->coming = sender->at = NULL;
	sender->is_complete = sender->looked_again = false;
	migration_send_wake(sender);
}

/* It has ended, or is not one of ours. What is on its way to it, and not taken by now, is lost. The others go on. */
static void peer_is_gone(struct peer *peer)
{
	struct migration_sender *sender = peer->sender;
	struct context *context = sender->context;

	peer_close(peer);
	if (sender->at == peer) {
		limits_transit_end(context->shared->limits, context->slot);
		sender->at = NULL;
	}
	sender_follow(sender);
	if (sender->peers && !peer_is_there(sender->peers))
		sender_look_again(sender);
	migration_send_wake(sender);
	context->session_gone(context);
}

static void peer_hear_hello(struct peer *peer, size_t len)
{
	const uint8_t *message = peer->sender->message;

	peer->hello = migrant_hello_is_sound(message, len) ? malloc(len) : NULL;
	if (peer->hello)
		memcpy(peer->hello, message, len);
	else
		peer_is_gone(peer);
}

/* Some were taken: there are records again, and perhaps nothing more is to be done here. */
static void peer_hear_taken(struct peer *peer)
{
	struct context *context = peer->sender->context;

	sender_follow(peer->sender);
	context->session_gone(context);
}

/* True where there may be more. */
static bool peer_receive(struct peer *peer)
{
	uint8_t *message = peer->sender->message;
	struct ipc_fds fds;
	ssize_t n = ipc_receive(peer->channel.fd, message, MIGRANT_MAX, &fds);
	bool has_fds = fds.n > 0 || fds.lost;

	ipc_close_fds(&fds);
	if (n == -EAGAIN)
		return false;
	if (n <= 0 || has_fds || (peer->hello && !migrant_taken_is_sound(message, (size_t)n)))
		peer_is_gone(peer);
	else if (peer->hello)
		peer_hear_taken(peer);
	else
		peer_hear_hello(peer, (size_t)n);
	return true;
}

static void peer_ready(struct watch *watch, uint32_t events)
{
	struct peer *peer = container_of(watch, struct peer, channel);

	while (peer_is_there(peer) && peer_receive(peer))
		;
	migration_send_wake(peer->sender);
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
	sender->turn = (struct task){ .run = sender_turn };
	sender->burial = (struct task){ .run = sender_bury };
	sender->retry = (struct timer){ .fired = sender_retry };
	return sender;
}

void migration_send_add(struct context *context, int channel, unsigned to)
{
	if (!context->sender)
		context->sender = sender_new(context);
	struct migration_sender *sender = context->sender;
	struct peer *peer = sender ? calloc(1, sizeof(*peer)) : NULL;
	if (!peer) {
		fd_close(channel);
		return;
	}
	if (sender->is_complete) { /* a generation that retires already */
		peers_let_go(sender, &sender->coming);
		sender->is_complete = false;
	}
	*peer = (struct peer){ .sender = sender, .channel = { .fd = -1, .ready = peer_ready }, .slot = to };
	struct peer **end = &sender->coming;
	while (*end)
		end = &(*end)->next;
	*end = peer;
	if (channel >= 0 && loop_watch(&context->loop, &peer->channel, channel, EPOLLIN | EPOLLOUT | EPOLLET) < 0)
		fd_close(channel);
}

int migration_send_begin(struct context *context)
{
	struct migration_sender *sender = context->sender;
	const struct peer *peer = sender ? sender->coming : NULL;

	while (peer && !peer_is_there(peer))
		peer = peer->next;
	if (!peer) {
		if (sender)
			peers_let_go(sender, &sender->coming);
		return -ENOTCONN;
	}
	sender->is_complete = true;
	sender_follow(sender);
	return 0;
}

void migration_send_free(struct migration_sender *sender)
{
	if (!sender)
		return;
	struct context *context = sender->context;

	loop_timer_stop(&context->loop, &sender->retry);
	loop_cancel(&context->loop, &sender->turn);
	loop_cancel(&context->loop, &sender->burial);
	peers_free(sender->peers);
	peers_free(sender->coming);
	peers_free(sender->gone);
	limits_transit_end(context->shared->limits, context->slot);
	free(sender);
}
