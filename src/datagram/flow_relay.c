/* A flow and its backend: dialled, relayed both ways, over when nothing has moved for long. Refuses to wait, and to end a flow for one
 * error that the network reports: such a report counts against the backend, and while nothing has been answered yet the next
 * backend gets what was kept. Owns nothing: the socket is the flow's. */
#include "account.h"
#include "backends.h"
#include "datagrams_parts.h"
#include "fd.h"
#include "flow.h"
#include "flow_handover.h"
#include "lookup.h"
#include "shed.h"
#include "upstream.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#define LOOK_US      20000 /* for the answer of a name */
#define NOTE_US      (UINT64_C(500000) * AFFINITY_KEPT_S)
#define GONE_US      2000000 /* for so long a backend that has answered may refuse what it is sent */
#define FINISH_US    5000000 /* of silence, while usher ends */
#define READ_AT_ONCE 16      /* messages of one flow that are read in one call, */
#define READ_IN_TURN 64      /* and before others get their turn */

/* ---- dialled ---------------------------------------------------------------------------------------------------------- */

static const struct target *flow_target(const struct flow *flow)
{
	return &session_service(&flow->session)->target;
}

/* Would usher itself get what it sends there? The near end has an address of this machine, unless it has the client's. */
static bool leads_back(const struct flow *flow, const struct upstream *upstream, const struct address *to)
{
	const struct policy *policy = flow->session.context->policy;
	const uint8_t *ports = policy->ports[TRANSPORT_DATAGRAM];
	struct address near = { .len = sizeof(near.un) }, loopback = { 0 };
	uint16_t port = address_port(to);

	if (!(ports[port / 8] >> port % 8 & 1))
		return false;
	if (flow_target(flow)->connect.transparent)
		flow_key_local(&flow->place.key, &near);
	else if (getsockname(upstream->watch.fd, &near.sa, &near.len) < 0)
		return false;
	address_set_port(&near, port);
	address_parse(&loopback, to->sa.sa_family == AF_INET ? "127.0.0.1:1" : "[::1]:1");
	address_set_port(&loopback, port);
	for (size_t i = 0; i < policy->n_listeners; i++) {
		const struct listener_policy *listener = &policy->listeners[i];
		if (listener->transport == TRANSPORT_DATAGRAM &&
			(address_reaches(to, &listener->address) ||
				(address_equal(&near, to) && !address_equal(&loopback, &listener->address) &&
					address_reaches(&loopback, &listener->address))))
			return true;
	}
	return false;
}

static void flow_header_drop(struct flow *flow)
{
	free(flow->header);
	flow->header = NULL;
}

static void flow_supplied(struct socket_pool_waiter *waiter, int fd);

/* With the socket that it has, of another backend of the client's family, or with one of the master's. -EINPROGRESS: flow_supplied() will hear
 * of it. */
static int flow_open_as_client(struct flow *flow, const struct address *to)
{
	if (flow->upstream)
		return upstream_reconnect(flow->upstream, to);
	struct socket_pool_waiter *supply = &flow->opening->supply;
	supply->ready = flow_supplied;
	int fd = socket_pool_take(flow->session.context->datagram_sockets, to->sa.sa_family, supply);
	return fd < 0 ? fd : upstream_open_as(flow->datagrams, fd, &flow->session.client, to, flow, &flow->upstream);
}

static void flow_close_upstream(struct flow *flow)
{
	upstream_close(flow->upstream);
	flow->upstream = NULL;
}

/* What the flow's socket, which is connected, is used for from now on. The one of a transparent service stays for the next backend. */
static int flow_settle(struct flow *flow, const struct address *to)
{
	flow_header_drop(flow);
	int error = leads_back(flow, flow->upstream, to)
		? -EDEADLK
		: flow_header_make(&flow->header, &flow->session, &flow->place.key, flow_target(flow), to);
	if (error == 0)
		flow_connected(flow, to);
	else if (!flow_target(flow)->connect.transparent)
		flow_close_upstream(flow);
	return error;
}

static int flow_connect_to(struct flow *flow, const struct address *to)
{
	int error = flow_target(flow)->connect.transparent
		? flow_open_as_client(flow, to)
		: upstream_open(flow->datagrams, to, flow, &flow->upstream);

	return error < 0 ? error : flow_settle(flow, to);
}

static bool is_known(const void *of, const struct address *address)
{
	const struct flow_known *known = of;
	return affinity_is_backend(known->backend, affinity_backend(address));
}

/* The one that the session had, where it is known, has the first turn. */
static int flow_choose(struct flow *flow)
{
	uint64_t now_us = flow->session.context->loop.now_us;
	struct flow_opening *opening = flow->opening;
	bool asks_known = opening->known.backend && !opening->known_was_tried;

	opening->known_was_tried = true;
	if (asks_known && choose_known(&opening->choice, is_known, &opening->known, now_us) == 0)
		return 0;
	return choose_next(&opening->choice, now_us);
}

/* Who is to see the client's address takes it as it is, not mapped into IPv6. */
static struct address flow_backend_address(const struct flow *flow)
{
	const struct address *address = &flow->opening->choice.taken.address;
	return flow_target(flow)->connect.transparent ? address_unmapped(address) : *address;
}

static void flow_count_backend(struct flow *flow)
{
	choose_connected(&flow->opening->choice, flow->session.context->loop.now_us);
	backends_hold(&flow->session, &flow->opening->choice);
}

/* Names of backends that were never answered: they may be when it is their turn. */
static bool flow_has_unknown(const struct flow *flow)
{
	const struct target *target = flow_target(flow);

	for (size_t i = 0; target->connect.has_names && i < target->connect.n_backends; i++) {
		const struct backend *backend = &target->connect.backends[i];
		if (backend->name != BACKEND_NO_NAME &&
			lookup_version(flow->session.context->lookup, backend->name) == 0)
			return true;
	}
	return false;
}

/* Asks for the names of backends. True where a first answer may yet come. */
static bool flow_awaits_names(const struct flow *flow)
{
	const struct target *target = flow_target(flow);
	const struct context *context = flow->session.context;
	bool awaited = false;

	for (size_t i = 0; target->connect.has_names && i < target->connect.n_backends; i++) {
		const struct backend *backend = &target->connect.backends[i];
		if (backend->name == BACKEND_NO_NAME)
			continue;
		bool is_known = lookup_version(context->lookup, backend->name) > 0;
		lookup_ask(context->lookup, backend->name, context->loop.now_us);
		awaited |= !is_known && lookup_is_awaited(context->lookup, backend->name, context->loop.now_us);
	}
	return awaited;
}

/* To the next one that takes it; `error` is of those before, 0: there were none. -EINPROGRESS: a name's answer may yet come, a socket, or a
 * place at a backend that is full. */
static int flow_dial_rest(struct flow *flow, int error)
{
	struct choice *choice = &flow->opening->choice;
	int none;

	while ((none = flow_choose(flow)) == 0) {
		struct address to = flow_backend_address(flow);
		flow->backend = choice->taken.backend;
		error = flow_connect_to(flow, &to);
		if (error == 0)
			flow_count_backend(flow);
		if (error == 0 || error == -EINPROGRESS)
			return error;
		choose_failed(choice, error, flow->session.context->loop.now_us);
	}
	flow->opening->is_full = none == -EBUSY;
	if (flow->opening->is_full || flow_awaits_names(flow))
		return -EINPROGRESS;
	return error ? error : none;
}

/* Where all have refused it, those get it again. */
static int flow_dial(struct flow *flow, int error)
{
	struct choice *choice = &flow->opening->choice;

	error = flow_dial_rest(flow, error);
	if (error == 0 || error == -EINPROGRESS || choice->n_tried == 0 || !flow->opening->refused)
		return error;
	choose_again(choice);
	return flow_dial_rest(flow, error);
}

/* ---- begun ------------------------------------------------------------------------------------------------------------- */

static void flow_transmit(struct flow *flow, const struct datagram_out *list, size_t n);

static void flow_count_up(struct flow *flow, const struct datagram *datagram)
{
	flow->datagrams_up += datagram_count(datagram);
	flow->bytes_up += datagram->len;
}

/* A datagram that goes to several backends counts once. */
static void flow_send_kept(struct flow *flow)
{
	struct datagram_out list[KEPT_OVER_MAX];
	size_t n = 0;

	for (struct kept_datagram *one = flow->opening->kept.first; one; one = one->next) {
		if (n >= flow->opening->n_counted)
			flow_count_up(flow, &one->datagram);
		list[n++] = (struct datagram_out){ .datagram = &one->datagram, .whole = flow->whole };
	}
	flow->opening->n_counted = (uint32_t)n;
	if (n > 0)
		flow_transmit(flow, list, n);
}

static void flow_drop_kept(struct flow *flow)
{
	flow->opening->keeps = false;
	flow->opening->n_counted = 0;
	flow_kept_free(&flow->opening->kept, &flow->datagrams->kept_pool);
}

/* What it was sent before is sent, and what follows may be, again and to another backend, as long as nothing was answered. */
void flow_begin_relay(struct flow *flow)
{
	struct context *context = flow->session.context;
	const struct service *service = session_service(&flow->session);

	flow->flow_timeout_us = service->flow_timeout_us;
	flow->answer_timeout_us = service->answer_timeout_us;
	flow->answers = service->answers;
	flow->opening->keeps = flow->forwarding == FORWARDING_SENDS || service->fallback != SERVICE_NONE ||
		flow_has_unknown(flow) || choose_left(&flow->opening->choice, context->loop.now_us, 2) > 1;
	shed_enter_unproven(&flow->session);
	if (session_enter(&flow->session, PHASE_RELAYING) < 0) {
		flow_end(flow, END_NO_MEMORY);
		return;
	}
	flow_send_kept(flow);
	if (flow->session.phase == PHASE_RELAYING && !flow->opening->keeps)
		flow_drop_kept(flow);
	context->session_movable(context);
}

/* A name's answer, for as long as it may come (lookup.h), or a socket; in all for connect_timeout. */
static int flow_await(struct flow *flow)
{
	struct context *context = flow->session.context;

	if (flow->session.phase != PHASE_CONNECTING)
		flow->opening->connect_due_us = context->loop.now_us + context->policy->connect_timeout_us;
	return session_enter(&flow->session, PHASE_CONNECTING);
}

void flow_try(struct flow *flow, int error)
{
	error = flow_target(flow)->connect.forwarded ? flow_forward(flow) : flow_dial(flow, error);
	if (error == -EINPROGRESS)
		error = flow_await(flow);
	else if (error == 0)
		flow_begin_relay(flow);
	if (error < 0)
		flow_undelivered(flow, error);
}

static void flow_connect(struct flow *flow, const struct target *target)
{
	struct flow_opening *opening = flow->opening;
	bool by_id = target->connect.hash_by == HASH_BY_CONNECTION_ID && opening->connection_id;

	flow->backend = 0;
	opening->known_was_tried = opening->refused = false;
	opening->choice = (struct choice){
		.chooser = backends_chooser(flow->session.context, flow->session.service, TRANSPORT_DATAGRAM),
		.hash = by_id ? opening->connection_id : backends_hash(&flow->session, target),
		.family = target->connect.transparent ? flow->session.client.sa.sa_family : AF_UNSPEC,
	};
	if (opening->choice.chooser)
		flow_try(flow, 0);
	else
		flow_end(flow, END_NO_MEMORY);
}

static void flow_supplied(struct socket_pool_waiter *waiter, int fd)
{
	struct flow *flow = container_of(waiter, struct flow_opening, supply)->flow;
	struct choice *choice = &flow->opening->choice;
	uint64_t now_us = flow->session.context->loop.now_us;

	if (fd < 0) {
		flow_undelivered(flow, fd);
		return;
	}
	if (!choose_is_there(choice, now_us)) {
		fd_close(fd); /* names have changed meanwhile */
		choose_leave(choice, now_us);
		flow_try(flow, -EHOSTUNREACH);
		return;
	}
	struct address to = flow_backend_address(flow);
	int error = upstream_open_as(flow->datagrams, fd, &flow->session.client, &to, flow, &flow->upstream);
	if (error == 0)
		error = flow_settle(flow, &to);
	if (error == 0) {
		flow_count_backend(flow);
		flow_begin_relay(flow);
		return;
	}
	choose_failed(choice, error, now_us);
	flow_try(flow, error);
}

void flow_deliver(struct flow *flow)
{
	const struct target *target = flow_target(flow);

	switch (target->delivery) {
	case DELIVERY_CONNECT:
		flow_connect(flow, target);
		break;
	case DELIVERY_HANDOVER:
		flow_hand_over(flow);
		break;
	case DELIVERY_REJECT:
		flow_end(flow, END_REJECTED);
		break;
	default:
		flow_undelivered(flow, -EOPNOTSUPP);
		break;
	}
}

/* ---- relayed ------------------------------------------------------------------------------------------------------------ */

/* A session that a backend has lost is of no use any more: the client's next datagram makes another flow, which goes to another backend
 * if that one still refuses. A report may be forged, and a server may be started anew: so not at once. */
static void flow_refused_again(struct flow *flow)
{
	uint64_t now_us = flow->session.context->loop.now_us;

	if (!flow->refused_us)
		flow->refused_us = now_us;
	else if (now_us - flow->refused_us >= GONE_US)
		flow_end(flow, END_DELIVERY_FAILED);
}

static void flow_change_backend(struct flow *flow, int error)
{
	if (!flow_target(flow)->connect.transparent)
		flow_close_upstream(flow);
	backends_release(&flow->session);
	int failure = flow_dial(flow, error);
	if (failure == -EINPROGRESS)
		failure = flow_await(flow);
	else if (failure == 0)
		flow_send_kept(flow);
	if (failure < 0)
		flow_undelivered(flow, failure);
}

/* Of one that was answered, or that another worker chose: what was chosen stays chosen, for a while. */
static void flow_lost_backend(struct flow *flow, int error)
{
	struct choice choice;

	if (backends_choice(&flow->session, &choice))
		choose_failed(&choice, error, flow->session.context->loop.now_us);
	flow_refused_again(flow);
}

/* The network says that the backend does not take it. */
static void flow_refused(struct flow *flow, int error)
{
	struct flow_opening *opening = flow->opening;

	if (!flow->failed)
		account_failed(&flow->session);
	flow->failed = true;
	flow->session.error = error;
	/* No server was there: the one that will be knows nothing of the flow. */
	if (error == -ECONNREFUSED && flow->header)
		flow->header->is_sent = false;
	if (!opening) {
		flow_lost_backend(flow, error);
		return;
	}
	uint64_t now_us = flow->session.context->loop.now_us;
	choose_failed(&opening->choice, error, now_us);
	bool has_fallback = session_service(&flow->session)->fallback != SERVICE_NONE;
	bool all_refused = choose_left(&opening->choice, now_us, 1) == 0 && !flow_has_unknown(flow);
	if (all_refused && has_fallback && opening->keeps) {
		flow_undelivered(flow, error);
		return;
	}
	/* When all have refused once, nothing is sent again, and the next datagram goes to another one. */
	if (all_refused) {
		flow_drop_kept(flow);
		choose_again(&opening->choice);
		if (choose_left(&opening->choice, now_us, 2) < 2 && !has_fallback)
			return;
		choose_skip(&opening->choice);
	}
	opening->refused = true;
	flow_change_backend(flow, error);
}

static void upstream_send(
	const struct upstream *upstream, const struct datagram_out *list, size_t n, struct datagram_sent *sent)
{
	datagram_send(upstream->datagrams->sender, upstream->watch.fd, upstream->family, list, n, sent);
}

/* The first datagram of it by itself, which is taken off, with the header in front. */
static struct datagram_out take_headed(const struct flow_header *header, const struct datagram_out *of,
	struct datagram *rest, struct datagram *ret_one)
{
	struct datagram_out out = *of;

	*ret_one = *rest;
	ret_one->len = rest->segment ? rest->segment : rest->len;
	ret_one->segment = 0;
	datagram_advance(rest, ret_one->len);
	out.datagram = ret_one;
	out.header = header->bytes;
	out.header_len = header->len;
	return out;
}

/* The header counts as sent when the kernel has taken it; all that follows goes as it is. */
static void flow_send_first(
	const struct flow *flow, const struct datagram_out *list, size_t n, struct datagram_sent *sent)
{
	struct flow_header *header = flow->header;

	for (; n > 0 && !header->is_sent; list++, n--) {
		struct datagram rest = *list->datagram, one;
		do {
			struct datagram_out out = take_headed(header, list, &rest, &one);
			uint32_t unsent = sent->full + sent->too_big + sent->lost;
			upstream_send(flow->upstream, &out, 1, sent);
			header->is_sent = unsent == sent->full + sent->too_big + sent->lost;
		} while (rest.len > 0 && !header->is_sent);
		struct datagram_out out = *list;
		out.datagram = &rest;
		if (rest.len > 0)
			upstream_send(flow->upstream, &out, 1, sent);
	}
	upstream_send(flow->upstream, list, n, sent);
}

static void flow_send_each(
	const struct flow *flow, const struct datagram_out *list, size_t n, struct datagram_sent *sent)
{
	struct datagram parts[DATAGRAM_BATCH];
	struct datagram_out outs[DATAGRAM_BATCH];
	size_t made = 0;

	for (size_t i = 0; i < n; i++) {
		struct datagram rest = *list[i].datagram;
		do {
			if (made == DATAGRAM_BATCH) {
				upstream_send(flow->upstream, outs, made, sent);
				made = 0;
			}
			outs[made] = take_headed(flow->header, &list[i], &rest, &parts[made]);
			made++;
		} while (rest.len > 0);
	}
	upstream_send(flow->upstream, outs, made, sent);
}

static void flow_transmit(struct flow *flow, const struct datagram_out *list, size_t n)
{
	struct datagram_sent sent = { 0 };

	if (!flow_header_is_due(flow->header))
		upstream_send(flow->upstream, list, n, &sent);
	else if (flow->header->each)
		flow_send_each(flow, list, n, &sent);
	else
		flow_send_first(flow, list, n, &sent);
	datagrams_count_sent(flow->datagrams, &sent);
	if (flow->forwarding == FORWARDING_SENDS)
		flow_forward_sent(flow, &sent);
	else if (sent.error)
		flow_refused(flow, sent.error);
}

static void flow_keep_sent(struct flow *flow, const struct datagram_out *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct datagram *datagram = list[i].datagram;
		uint32_t size = datagram->segment ? datagram->segment : datagram->len, at = 0;
		do {
			uint32_t left = datagram->len - at;
			if (flow_kept_add(&flow->opening->kept, &flow->datagrams->kept_pool, datagram, at,
				    left < size ? left : size) < 0) {
				flow_drop_kept(flow);
				return;
			}
			at += size;
		} while (at < datagram->len);
	}
}

void flow_send_up(struct flow *flow, const struct datagram_out *list, size_t n)
{
	if (flow->answered_us && flow->session.is_unproven) {
		shed_leave(&flow->session);
		flow_note(flow);
	}
	if (flow->opening && flow->opening->keeps)
		flow_keep_sent(flow, list, n);
	for (size_t i = 0; i < n; i++)
		flow_count_up(flow, list[i].datagram);
	if (flow->opening)
		flow->opening->n_counted = flow->opening->kept.n;
	flow->spoken_us = flow->session.context->loop.now_us;
	flow_transmit(flow, list, n);
}

static void flow_answered(struct flow *flow)
{
	struct loop *loop = &flow->session.context->loop;
	bool is_first = !flow->answered_us;
	struct choice choice;

	if (flow->opening)
		choose_answered(&flow->opening->choice, loop->now_us);
	else if (flow->failed && backends_choice(&flow->session, &choice))
		choose_answered(&choice, loop->now_us);
	flow->failed = false;
	flow->refused_us = 0;
	flow->answered_us = loop->now_us;
	if (!is_first)
		return;
	account_answered(&flow->session);
	if (flow->opening)
		flow_opened(flow);
	flow->session.error = 0;
	if (flow->flow_timeout_us < flow->answer_timeout_us)
		loop_timer(loop, &flow->session.deadline, flow_due_us(&flow->session));
}

/* Adds what is there to the answers of this turn. False: no more is there. */
static bool flow_read(struct flow *flow)
{
	struct datagrams *datagrams = flow->datagrams;
	struct datagram_read read = { 0 };

	if (datagrams->n_answers == DATAGRAM_BATCH)
		datagrams_flush(datagrams);
	size_t room = DATAGRAM_BATCH - datagrams->n_answers, most = room < READ_AT_ONCE ? room : READ_AT_ONCE;
	int n = datagram_receive(
		datagrams->answers, flow->upstream->watch.fd, false, datagrams->n_answers, most, &read);
	if (n < 0) {
		/* A router says that the way is narrower than what was sent: the next one that is too big is refused when it is sent. */
		if (n != -EAGAIN && n != -EMSGSIZE)
			flow_refused(flow, n);
		return n != -EAGAIN;
	}
	for (int i = 0; i < n; i++) {
		const struct datagram *datagram = datagram_at(datagrams->answers, datagrams->n_answers);
		if (flow->speaks != AFFINITY_NONE)
			flow_learn(flow, datagram);
		flow->datagrams_down += datagram_count(datagram);
		flow->bytes_down += datagram->len;
		datagrams->answers_through[datagrams->n_answers] = flow->listener;
		datagrams->answers_out[datagrams->n_answers++] =
			(struct datagram_out){ .datagram = datagram, .to = &flow->place.key, .whole = flow->whole };
	}
	datagrams_count(datagrams, DATAGRAM_UNUSABLE, read.unusable);
	if (n > 0) {
		flow_answered(flow);
		loop_defer(&flow->session.context->loop, &datagrams->flush);
	}
	return read.n == most;
}

static bool flow_has_all_answers(const struct flow *flow)
{
	return flow->answers != ANSWERS_ANY && flow->answers > 0 &&
		flow->datagrams_down >= flow->datagrams_up * flow->answers;
}

/* An edge is not repeated: who stops before all is read asks for another. */
void flow_upstream_ready(struct flow *flow)
{
	if (flow->forwarding == FORWARDING_SENDS) /* answers are not for usher */
		return;
	const struct upstream *upstream = flow->upstream;
	unsigned turns = READ_IN_TURN / READ_AT_ONCE;

	if (flow->session.phase != PHASE_RELAYING) /* between two backends */
		return;
	while (flow_read(flow)) {
		if (flow->session.phase != PHASE_RELAYING || flow->upstream != upstream)
			return;
		if (--turns == 0) {
			loop_rewatch(&flow->session.context->loop, &flow->upstream->watch, EPOLLIN | EPOLLET);
			break;
		}
	}
	if (flow->session.phase == PHASE_RELAYING && flow_has_all_answers(flow))
		flow_end(flow, END_FINISHED);
}

/* ---- over ---------------------------------------------------------------------------------------------------------------- */

/* While usher ends, a flow that is silent is not waited for: it does not say whether it is over. */
static uint64_t flow_idle_us(const struct session *session)
{
	const struct flow *flow = container_of(session, struct flow, session);

	if (flow->forwarding == FORWARDING_SENDS)
		return flow_forward_due_us(flow);
	uint64_t moved_us = flow->answered_us > flow->spoken_us ? flow->answered_us : flow->spoken_us;
	uint64_t timeout_us = flow->answered_us ? flow->flow_timeout_us : flow->answer_timeout_us;

	if (flow->datagrams->is_finishing && timeout_us > FINISH_US)
		timeout_us = FINISH_US;
	return moved_us + timeout_us;
}

/* It is noted again before what was noted is too old. */
uint64_t flow_due_us(const struct session *session)
{
	uint64_t idle_us = flow_idle_us(session), note_us = session->context->loop.now_us + NOTE_US;

	return idle_us < note_us ? idle_us : note_us;
}

/* Where it has no memory for its timer it keeps the one that it has. */
void flow_finish(struct flow *flow)
{
	if (flow->session.phase == PHASE_RELAYING)
		loop_timer(&flow->session.context->loop, &flow->session.deadline, flow_due_us(&flow->session));
}

/* Datagrams touch no timer: it looks when it fires whether it is late enough. */
void flow_look_whether_idle(struct session *session)
{
	struct loop *loop = &session->context->loop;

	if (flow_of(session)->forwarding == FORWARDING_SENDS) {
		flow_forward_look(flow_of(session));
		return;
	}
	uint64_t due_us = flow_due_us(session);

	flow_note(flow_of(session));
	if (due_us > loop->now_us && loop_timer(loop, &session->deadline, due_us) == 0)
		return;
	struct flow *flow = flow_of(session);
	/* Where nothing is ever answered, silence is all that a backend that is there can say. */
	if (flow->answers == 0 && !session->error && flow->opening) {
		flow->opening->choice.taken_us = 0; /* silence is no answer that took so long */
		choose_answered(&flow->opening->choice, loop->now_us);
	}
	flow_end(flow, session->error && !flow->answered_us ? END_DELIVERY_FAILED : END_IDLE);
}

uint64_t flow_retry_us(const struct session *session)
{
	return session->context->loop.now_us + LOOK_US;
}

void flow_retry(struct session *session)
{
	struct flow *flow = flow_of(session);
	struct flow_opening *opening = flow->opening;

	if (session->context->loop.now_us >= opening->connect_due_us) {
		flow_undelivered(flow, opening->is_full ? -EBUSY : -ETIMEDOUT);
	} else if (opening->supply.shelf) { /* a socket may yet come */
		session_enter(session, PHASE_CONNECTING);
	} else {
		choose_again(&opening->choice);
		flow_try(flow, 0);
	}
}
