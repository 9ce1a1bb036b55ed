/* How a flow moves to another worker (transport_migration.h): undecided with its datagrams, or relayed with the socket to its backend. What its
 * client sends meanwhile waits in the listener's socket, which the other worker reads when all flows have come; what its backend sends waits
 * in the socket that moves. So nothing is lost, doubled or put in another order. Refuses descriptors that are no UDP sockets. */
#include "account.h"
#include "datagrams_parts.h"
#include "fd.h"
#include "flow.h"
#include "flow_handover.h"
#include "flow_state.h"
#include "shed.h"
#include "upstream.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* ---- going --------------------------------------------------------------------------------------------------------------- */

static uint32_t migration_place(const struct session *session)
{
	return container_of(session, struct flow, session)->listener->place;
}

static bool migration_socket(const struct context *context, size_t at, uint32_t *ret_listener, uint32_t *ret_place)
{
	const struct datagram_listener *listener = context->datagrams ? context->datagrams->listeners : NULL;

	for (; listener && at > 0; at--)
		listener = listener->next;
	if (!listener)
		return false;
	*ret_listener = (uint32_t)listener->number;
	*ret_place = listener->place;
	return true;
}

static bool migration_is_movable(const struct session *session)
{
	const struct flow *flow = container_of(session, struct flow, session);

	return !(flow->opening && flow->opening->identification) && flow->forwarding != FORWARDING_SENDS;
}

/* What another backend might have got of a relayed one stays: the new worker does not choose anew. */
static int migration_pack(struct session *session, struct migration_state *state)
{
	static const struct flow_kept none;
	struct flow *flow = flow_of(session);

	datagrams_flush(flow->datagrams); /* its answers of this turn, before the new worker sends some */
	struct flow_state head = {
		.key = flow->place.key,
		.spoken_us = flow->spoken_us,
		.answered_us = flow->answered_us,
		.datagrams_up = flow->datagrams_up,
		.datagrams_down = flow->datagrams_down,
		.bytes_up = flow->bytes_up,
		.bytes_down = flow->bytes_down,
		.flow_timeout_us = flow->flow_timeout_us,
		.answer_timeout_us = flow->answer_timeout_us,
		.backend_hash = flow->backend_hash,
		.id = flow->id,
		.speaks = (uint8_t)flow->speaks,
		.known_by = (uint8_t)flow->known_by,
		.answers = flow->answers,
		.place = flow->listener->place,
		.error = session->error,
		.whole = flow->whole,
		.failed = flow->failed,
		.is_unproven = session->is_unproven,
	};

	state->n_fds = flow->upstream ? 1 : 0;
	if (flow->upstream)
		state->fds[0] = flow->upstream->watch.fd;
	ssize_t len = flow_state_write(state->bytes, state->len, &head, flow->upstream ? &none : &flow->opening->kept,
		flow->upstream ? flow->header : NULL);
	if (len < 0)
		return (int)len;
	state->len = (size_t)len;
	return 0;
}

static void migration_leave(struct session *session)
{
	flow_leave(flow_of(session));
}

/* ---- coming -------------------------------------------------------------------------------------------------------------- */

static bool fd_is_udp(int fd)
{
	int type = 0, family = 0;
	socklen_t len = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_DGRAM &&
		getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) == 0 &&
		(family == AF_INET || family == AF_INET6);
}

static bool migration_is_sound(enum session_phase phase, const struct migration_state *state)
{
	struct flow_state head;

	return flow_state_read(&head, phase, state->bytes, state->len, state->n_fds) == 0 &&
		(state->n_fds == 0 || fd_is_udp(state->fds[0]));
}

static struct session *migration_arrive(struct context *context, enum session_phase phase)
{
	struct flow *flow = context->datagrams ? flow_alloc(context->datagrams) : NULL;

	if (!flow)
		return NULL;
	flow->session.phase = phase;
	return &flow->session;
}

static struct datagram_listener *listener_of(const struct datagrams *datagrams, const char *text, uint32_t place)
{
	struct datagram_listener *listener = datagrams->listeners;

	while (listener && (listener->place != place || strcmp(listener->policy->text, text) != 0))
		listener = listener->next;
	return listener;
}

static int migration_unpack(struct session *session, struct migration_state *state)
{
	struct flow *flow = flow_of(session);
	struct datagrams *datagrams = flow->datagrams;
	const struct service *service = session_service_here(session);
	uint64_t now_us = session->context->loop.now_us, most_us = session->context->policy->idle_timeout_us;
	struct flow_state head;

	int error = flow_state_read(&head, session->phase, state->bytes, state->len, state->n_fds);
	if (error < 0)
		return error;
	flow->listener = listener_of(datagrams, session->listener, head.place);
	if (!flow->listener || datagrams->is_closed)
		return -ENOENT;
	if (flow_table_find(datagrams->table, &head.key))
		return -EEXIST;
	flow->place.key = head.key;
	flow_table_insert(datagrams->table, &flow->place);
	flow->is_placed = true;
	flow->spoken_us = migration_at_most(head.spoken_us, now_us);
	flow->answered_us = migration_at_most(head.answered_us, now_us);
	flow->datagrams_up = head.datagrams_up;
	flow->datagrams_down = head.datagrams_down;
	flow->bytes_up = head.bytes_up;
	flow->bytes_down = head.bytes_down;
	flow->flow_timeout_us = service ? service->flow_timeout_us : migration_at_most(head.flow_timeout_us, most_us);
	flow->answer_timeout_us =
		service ? service->answer_timeout_us : migration_at_most(head.answer_timeout_us, most_us);
	flow->answers = service ? service->answers : head.answers;
	flow->whole = head.whole;
	flow->failed = head.failed;
	flow->backend_hash = head.backend_hash;
	flow->id = head.id;
	flow->speaks = (enum affinity_kind)head.speaks;
	flow->known_by = (enum affinity_kind)head.known_by;
	session->error = head.error;
	session->has_spoken = true;
	if (session->phase == PHASE_DECIDING) {
		error = flow_open(flow);
		return error < 0
			? error
			: flow_state_keep(&flow->opening->kept, &datagrams->kept_pool, state->bytes, state->len);
	}
	error = flow_state_header(&flow->header, state->bytes, state->len);
	if (error < 0)
		return error;
	error = upstream_adopt(datagrams, state->fds[0], flow, &flow->upstream);
	if (error < 0)
		return error;
	state->fds[0] = -1;
	if (head.is_unproven)
		shed_enter_unproven(session);
	return 0;
}

static void migration_go_on(struct session *session, int error)
{
	flow_arrived(flow_of(session), error);
}

const struct transport_migration flow_migration = {
	.head_size = sizeof(struct flow_state),
	.place = migration_place,
	.socket = migration_socket,
	.is_movable = migration_is_movable,
	.pack = migration_pack,
	.leave = migration_leave,
	.is_sound = migration_is_sound,
	.arrive = migration_arrive,
	.unpack = migration_unpack,
	.go_on = migration_go_on,
};
