/* A flow from its first datagram to its end: decided, admitted, delivered, ended. A flow is made in flow_new(), only for a datagram that a
 * service takes or may yet take, and ends in flow_end(), once, with a reason; its memory is used again after the loop's turn. It owns
 * copies of its first datagrams and the socket to its backend; the client's side is the listener's socket. */
#include "account.h"
#include "backends.h"
#include "datagrams.h"
#include "datagrams_parts.h"
#include "evidence_kept.h"
#include "flow.h"
#include "flow_examine.h"
#include "flow_handover.h"
#include "log.h"
#include "session_log.h"
#include "session_names.h"
#include "shed.h"
#include "upstream.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A deadline that comes while nothing may be decided comes again. */
#define PAUSED_US 20000

struct flow *flow_of(struct session *session)
{
	return container_of(session, struct flow, session);
}

/* ---- undecided -------------------------------------------------------------------------------------------------------- */

static void flow_decided(struct flow *flow, uint32_t service, uint32_t protocol);

/* Looks at what has come. `last`: the deadline is here, or no more can be kept. */
static void flow_decide(struct flow *flow, bool last)
{
	const struct kept_datagram *first = flow->opening->kept.first;
	uint32_t service = SERVICE_NONE, protocol = PROTOCOL_NONE;
	enum flow_look look = flow_examine(flow, last, &service, &protocol);

	if (look == FLOW_WAITS)
		return;
	if (look == FLOW_UNKNOWN)
		service = SERVICE_NONE;
	flow_recall(flow->listener, &flow->place.key, first ? first->datagram.bytes : NULL,
		first ? first->datagram.len : 0, &service, &protocol, &flow->opening->known);
	flow_decided(flow, service, protocol);
}

void flow_identified(void *context, uint32_t protocol, bool more_could_help)
{
	struct flow *flow = context;

	flow->opening->identification = NULL;
	flow->opening->named = protocol;
	if (!flow->session.context->is_paused)
		flow_decide(flow, false);
}

/* Counts from the first datagram, and others do not renew it. */
static uint64_t undecided_due_us(const struct session *session)
{
	uint64_t timeout_us = session->context->policy->decide_timeout_us; /* 0: wait for ever */

	return timeout_us ? session->accepted_us + timeout_us : UINT64_MAX;
}

static void undecided_out_of_time(struct session *session)
{
	struct loop *loop = &session->context->loop;

	if (session->context->is_paused)
		loop_timer(loop, &session->deadline, loop->now_us + PAUSED_US);
	else
		flow_decide(flow_of(session), true);
}

static const struct session_deadline deadlines[SESSION_PHASES] = {
	[PHASE_DECIDING] = { undecided_due_us, undecided_out_of_time },
	[PHASE_ASKING] = { admission_due_us, admission_out_of_time },
	[PHASE_CONNECTING] = { flow_retry_us, flow_retry },
	[PHASE_HANDING_OVER] = { flow_handover_due_us, flow_handover_out_of_time },
	[PHASE_RELAYING] = { flow_due_us, flow_look_whether_idle },
};

static void flow_enter_undecided(struct flow *flow)
{
	if (session_enter(&flow->session, PHASE_DECIDING) < 0)
		flow_end(flow, END_NO_MEMORY);
	else
		shed_enter(&flow->session);
}

bool flow_keep(struct flow *flow, struct datagram *datagram)
{
	uint32_t size = datagram->segment ? datagram->segment : datagram->len, at = 0;
	struct flow_opening *opening = flow->opening;

	if (flow->session.phase == PHASE_RELAYING)
		return false;
	flow->spoken_us = flow->session.context->loop.now_us;
	do {
		uint32_t left = datagram->len - at, len = left < size ? left : size;
		int error = flow_kept_add(&opening->kept, &flow->datagrams->kept_pool, datagram, at, len);
		if (error < 0 && flow->session.phase == PHASE_DECIDING)
			flow_decide(flow, true);
		if (error < 0 && flow->session.phase == PHASE_RELAYING) {
			datagram_advance(datagram, at);
			return false;
		}
		if (error < 0)
			datagrams_count(flow->datagrams, DATAGRAM_FULL, 1);
		at += size;
	} while (at < datagram->len && flow->session.phase != PHASE_ENDED);
	if (flow->session.phase == PHASE_DECIDING && opening->n_looked < opening->kept.n)
		flow_decide(flow, opening->kept.n == EVIDENCE_DATAGRAMS_MAX);
	return true;
}

/* ---- as a session ------------------------------------------------------------------------------------------------------ */

static void transport_end(struct session *session, enum session_end end)
{
	flow_end(flow_of(session), end);
}

static void transport_stop(struct session *session, enum session_end end)
{
	/* A program that was asked for may be on its way: its answer must find the flow, and ends it. */
	if (session->phase != PHASE_ENDED && session->phase != PHASE_ASKING)
		flow_end(flow_of(session), end);
}

static void transport_look(struct session *session)
{
	if (session->phase == PHASE_DECIDING && !session->context->is_paused)
		flow_decide(flow_of(session), false);
}

static ssize_t transport_peek(struct session *session)
{
	uint32_t ends[EVIDENCE_DATAGRAMS_MAX];
	size_t n;

	return (ssize_t)flow_kept_gather(
		&flow_of(session)->opening->kept, session->context->peeked, EVIDENCE_MAX, ends, &n);
}

static void transport_progress(const struct session *session, struct session_progress *ret)
{
	const struct flow *flow = container_of(session, struct flow, session);

	*ret = (struct session_progress){
		.bytes_up = flow->bytes_up,
		.bytes_down = flow->bytes_down,
		.datagrams_up = flow->datagrams_up,
		.datagrams_down = flow->datagrams_down,
		.backend = flow->upstream ? flow->backend : SESSION_NO_BACKEND,
		.known_by = affinity_kind_names[flow->known_by],
		.n_sent = flow_handover_sent(flow),
	};
	if (flow->datagrams_up)
		ret->moved_us = flow->answered_us > flow->spoken_us ? flow->answered_us : flow->spoken_us;
}

static void transport_local(const struct session *session, struct address *ret)
{
	flow_key_local(&container_of(session, struct flow, session)->place.key, ret);
}

static void transport_admitted(struct session *session, const char *rule)
{
	session->refused = rule;
	if (flow_of(session)->datagrams->is_closed)
		flow_end(flow_of(session), END_SHUTDOWN);
	else if (rule)
		flow_end(flow_of(session), END_REFUSED);
	else
		flow_deliver(flow_of(session));
}

const struct transport flow_transport = {
	.name = "udp",
	.kind = TRANSPORT_DATAGRAM,
	.deadlines = deadlines,
	.end = transport_end,
	.stop = transport_stop,
	.look = transport_look,
	.peek = transport_peek,
	.progress = transport_progress,
	.local = transport_local,
	.admitted = transport_admitted,
	.migration = &flow_migration,
};

/* ---- begun ------------------------------------------------------------------------------------------------------------- */

static void flow_bury(struct task *task)
{
	struct flow *flow = container_of(task, struct flow, burial);
	struct context *context = flow->session.context;

	pool_give(&flow->datagrams->opening_pool, flow->opening);
	session_free(&flow->session, &flow->datagrams->spare_flows);
	context->session_gone(context);
}

int flow_open(struct flow *flow)
{
	struct flow_opening *opening = pool_take(&flow->datagrams->opening_pool);

	if (!opening)
		return -ENOMEM;
	*opening = (struct flow_opening){ .flow = flow, .named = PROTOCOL_NONE };
	flow->opening = opening;
	return 0;
}

static void flow_opening_end(struct flow *flow)
{
	struct flow_opening *opening = flow->opening;

	if (!opening)
		return;
	choose_leave(&opening->choice, flow->session.context->loop.now_us);
	identification_cancel(opening->identification);
	opening->identification = NULL;
	socket_pool_cancel(&opening->supply);
	flow_kept_free(&opening->kept, &flow->datagrams->kept_pool);
}

void flow_opened(struct flow *flow)
{
	flow_opening_end(flow);
	pool_give(&flow->datagrams->opening_pool, flow->opening);
	flow->opening = NULL;
}

struct flow *flow_alloc(struct datagrams *datagrams)
{
	struct session *session =
		session_new(&flow_transport, datagrams->context, sizeof(struct flow), &datagrams->spare_flows);

	if (!session)
		return NULL;
	struct flow *flow = flow_of(session);
	flow->datagrams = datagrams;
	flow->burial = (struct task){ .run = flow_bury };
	return flow;
}

/* NULL, or the limit under which there is no room for one more flow. */
static const char *flow_enter_limits(struct flow *flow)
{
	struct context *context = flow->session.context;
	const struct datagram_listener *listener = flow->listener;

	/* Whose socket another one gives back. */
	if (context->n_sessions > context->capacity.connections && !shed_one_flow(context, "descriptors"))
		return "descriptors";
	if (listener->policy->max_connections &&
		limits_enter_listener(context->shared->limits, context->slot, listener->limits_key,
			listener->policy->max_connections, &flow->session.listener_place))
		return "listener_max_connections";
	while (limits_enter_all(context->shared->limits, context->slot, context->policy->max_connections))
		if (!shed_one_flow(context, "max_connections")) {
			limits_leave_listener(context->shared->limits, context->slot, &flow->session.listener_place);
			return "max_connections";
		}
	return NULL;
}

static void tell_no_room(struct datagram_listener *listener, const char *limit, const struct address *client)
{
	struct context *context = listener->datagrams->context;
	char text[ADDRESS_TEXT_MAX];

	counter_add(&counter_get(context->shared->counters, context->slot, COUNTER_LIMIT, limit)->total, 1);
	counter_add(&listener->counter->failed, 1);
	datagrams_count(listener->datagrams, DATAGRAM_NO_ROOM, 1);
	unsigned n = log_limit_count(&listener->told_full, LOG_LIMIT_US, context->loop.now_us);
	if (n)
		log_warning("%s: %s reached, %u datagrams of new clients dropped, the last of %s",
			listener->policy->text, limit, n, address_format(client, text));
}

static void tell_unwanted(struct datagram_listener *listener, const struct datagram *datagram)
{
	char text[ADDRESS_TEXT_MAX];
	struct address client;

	datagrams_count(listener->datagrams, DATAGRAM_UNWANTED, datagram_count(datagram));
	unsigned n =
		log_limit_count(&listener->told_unwanted, LOG_LIMIT_US, listener->datagrams->context->loop.now_us);
	if (!n || !log_wants(LEVEL_INFO))
		return;
	flow_key_client(&datagram->key, &client);
	log_info("%s: no service takes %u datagrams, the last of %s", listener->policy->text, n,
		address_format(&client, text));
}

/* Of the connection id for which a client's first datagram asks (RFC 8999 5.1); 0: it has none. */
static uint64_t connection_id_hash(const uint8_t *bytes, uint32_t len)
{
	if (len < 6 || !(bytes[0] & 0x80) || bytes[5] == 0 || bytes[5] > len - 6)
		return 0;
	return backends_hash_bytes(bytes + 6, bytes[5]);
}

struct flow *flow_new(struct datagram_listener *listener, const struct datagram *datagram)
{
	struct datagrams *datagrams = listener->datagrams;
	struct context *context = datagrams->context;
	uint32_t len = datagram->segment ? datagram->segment : datagram->len;
	uint32_t service = SERVICE_NONE, protocol = PROTOCOL_NONE;
	struct address client;

	if (datagrams->is_draining) {
		datagrams_count(datagrams, DATAGRAM_NO_ROOM, datagram_count(datagram));
		return NULL;
	}
	flow_key_client(&datagram->key, &client);
	if (live_list_has(context->shared->live, LIVE_BAN, &client, context->loop.now_us)) {
		datagrams_count(datagrams, DATAGRAM_BANNED, datagram_count(datagram));
		return NULL;
	}
	enum flow_look look =
		flow_look_at_first(context, listener->number, datagram->bytes, len, &service, &protocol);
	struct flow_known known = { 0 };
	if (look == FLOW_UNKNOWN)
		service = SERVICE_NONE;
	if (look != FLOW_WAITS)
		flow_recall(listener, &datagram->key, datagram->bytes, len, &service, &protocol, &known);
	if (look != FLOW_WAITS && service == SERVICE_NONE) {
		tell_unwanted(listener, datagram);
		return NULL;
	}
	struct flow *flow = flow_alloc(datagrams);
	if (flow && flow_open(flow) < 0) {
		session_free(&flow->session, &datagrams->spare_flows);
		flow = NULL;
	}
	if (!flow) {
		datagrams_count(datagrams, DATAGRAM_NO_ROOM, datagram_count(datagram));
		return NULL;
	}
	flow->listener = listener;
	flow->opening->known = known;
	flow->session.listener = listener->policy->text;
	flow->session.decider = listener->number;
	flow->session.client = client;
	flow->opening->connection_id = connection_id_hash(datagram->bytes, len);
	if (look != FLOW_WAITS) { /* before others are looked at, who may make room */
		session_keep_names(&flow->session, context->findings);
		evidence_keep(&flow->session, datagram->bytes, len);
	}
	const char *limit = flow_enter_limits(flow);
	if (limit) {
		tell_no_room(listener, limit, &flow->session.client);
		pool_give(&datagrams->opening_pool, flow->opening);
		session_free(&flow->session, &datagrams->spare_flows);
		return NULL;
	}
	flow->session.id =
		atomic_fetch_add_explicit(&context->shared->page->next_connection, 1, memory_order_relaxed);
	flow->session.accepted_us = flow->spoken_us = context->loop.now_us;
	flow->session.has_spoken = true;
	flow->place.key = datagram->key;
	flow_table_insert(datagrams->table, &flow->place);
	flow->is_placed = true;
	account_accepted(&flow->session, listener->counter);
	flow->opening->n_looked = !context->identifiers; /* who may ask them looks at it again */
	if (look == FLOW_WAITS)
		flow_enter_undecided(flow);
	else
		flow_decided(flow, service, protocol);
	return flow->session.phase == PHASE_ENDED ? NULL : flow;
}

/* ---- decided and admitted ------------------------------------------------------------------------------------------------ */

/* Endpoints of these find out what the path carries by datagrams that are lost where they are too big. */
static bool is_kept_whole(const struct policy *policy, uint32_t protocol)
{
	const struct probe *probe = protocol == PROTOCOL_NONE ? NULL : policy->protocols[protocol].probe;

	return probe && (strcmp(probe->name, "quic") == 0 || strcmp(probe->name, "dtls") == 0);
}

static void flow_decided(struct flow *flow, uint32_t service, uint32_t protocol)
{
	struct context *context = flow->session.context;
	struct flow_opening *opening = flow->opening;

	shed_leave(&flow->session);
	identification_cancel(opening->identification);
	opening->identification = NULL;
	loop_timer_stop(&context->loop, &flow->session.deadline);
	flow->session.decided_us = clock_monotonic_us();
	flow->session.service = service;
	flow->session.protocol = protocol;
	flow->whole = is_kept_whole(context->policy, protocol);
	flow->speaks = flow_affinity_kind(context->policy, protocol);
	flow->known_by = opening->known.by;
	flow->id = opening->known.id;
	if (service == SERVICE_NONE) {
		datagrams_count(flow->datagrams, DATAGRAM_UNWANTED, opening->kept.n);
		flow_end(flow, END_NO_SERVICE);
		return;
	}
	account_decided(&flow->session, service);
	admission_begin(&opening->admission, &flow->session);
}

void flow_undecide(struct flow *flow)
{
	struct context *context = flow->session.context;

	limits_leave(context->shared->limits, context->slot, &flow->session.ticket);
	flow->session.service = SERVICE_NONE;
	flow->session.protocol = PROTOCOL_NONE;
	flow->opening->n_looked = 0;
	flow_enter_undecided(flow);
	if (flow->session.phase == PHASE_DECIDING)
		context->session_movable(context);
}

void flow_undelivered(struct flow *flow, int error)
{
	struct context *context = flow->session.context;
	uint32_t fallback = session_service(&flow->session)->fallback;
	struct flow_opening *opening = flow->opening;

	if (!flow->failed)
		account_failed(&flow->session);
	loop_timer_stop(&context->loop, &flow->session.deadline);
	socket_pool_cancel(&opening->supply);
	flow_handover_end(flow, true);
	upstream_close(flow->upstream);
	flow->upstream = NULL;
	choose_leave(&opening->choice, context->loop.now_us);
	backends_release(&flow->session);
	if (fallback == SERVICE_NONE) {
		flow->session.error = error;
		flow_end(flow, END_DELIVERY_FAILED);
		return;
	}
	flow->failed = false;
	opening->n_counted = 0;
	flow->datagrams_up = flow->bytes_up = 0;
	admission_fall_back(&opening->admission, &flow->session, fallback, error);
}

/* ---- ended ---------------------------------------------------------------------------------------------------------------- */

/* A client that is turned away can send again and again: one line a second tells of it, and counters of all. */
static bool flow_is_told(struct flow *flow, enum session_end end)
{
	bool repeats = end == END_REFUSED || end == END_REJECTED || end == END_NO_SERVICE || end == END_SHED ||
		end == END_DELIVERY_FAILED;

	return !repeats || !flow->listener ||
		log_limit_count(&flow->listener->told_refused, LOG_LIMIT_US, flow->session.context->loop.now_us);
}

static void flow_give_back(struct flow *flow)
{
	session_leave_limits(&flow->session);
	shed_leave(&flow->session);
	flow_handover_end(flow, false);
	flow_opening_end(flow);
	if (flow->is_placed)
		flow_table_remove(flow->datagrams->table, &flow->place);
	flow->is_placed = false;
	free(flow->header);
	flow->header = NULL;
}

void flow_end(struct flow *flow, enum session_end end)
{
	struct context *context = flow->session.context;

	assert(flow->session.phase != PHASE_ENDED);
	if (end != END_DELIVERY_FAILED)
		flow_note(flow);
	account_end(&flow->session, end);
	flow_give_back(flow);
	enum log_level level = session_log_level(&flow->session, end);
	if (log_wants(level) && flow_is_told(flow, end))
		session_log(&flow->session, level, end);
	upstream_close(flow->upstream);
	flow->upstream = NULL;
	flow->session.phase = PHASE_ENDED;
	if (flow->forwarding != FORWARDING_ASKS) /* whose answer must find it */
		loop_defer(&context->loop, &flow->burial);
}

void flow_bury_answered(struct flow *flow)
{
	loop_defer(&flow->session.context->loop, &flow->burial);
}

/* ---- moved between workers -------------------------------------------------------------------------------------------- */

void flow_leave(struct flow *flow)
{
	account_left(&flow->session);
	flow_give_back(flow);
	upstream_leave(flow->upstream);
	flow->upstream = NULL;
	free(flow->session.kept);
	flow->session.kept = NULL;
	flow->session.phase = PHASE_ENDED;
	loop_defer(&flow->session.context->loop, &flow->burial);
}

void flow_arrived(struct flow *flow, int error)
{
	struct context *context = flow->session.context;

	if (error == 0)
		error = session_enter(&flow->session, flow->session.phase);
	if (error < 0)
		flow_end(flow, error == -ENOMEM ? END_NO_MEMORY : END_SHUTDOWN);
	else if (context->state == WORKER_STOPPING)
		flow_end(flow, END_SHUTDOWN);
	else
		transport_look(&flow->session);
	context->session_movable(context); /* the next reload may have come before it */
}
