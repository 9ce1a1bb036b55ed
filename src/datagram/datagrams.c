/* The sockets of the listeners and what passes through them: datagrams in, each to its flow; answers out. Datagrams are read and sent in
 * batches, and those of one flow that follow each other in a batch go on together. Refuses to wait for anybody: what cannot go on is
 * dropped, and counted by its reason. Owns the sockets and all scratch. */
#include "datagrams.h"
#include "datagrams_parts.h"
#include "fd.h"
#include "flow.h"
#include "flow_handover.h"
#include "flow_table.h"
#include "hash.h"
#include "log.h"
#include "upstream.h"
#include <errno.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define NO_DATAGRAM  UINT32_MAX
#define SHARED_BYTES 65536 /* that go out through one socket for others: more could fill its buffer */

void datagrams_count(struct datagrams *datagrams, enum datagram_event event, uint64_t n)
{
	if (n)
		counter_add(&datagrams->events[event]->total, n);
}

void datagrams_count_sent(struct datagrams *datagrams, const struct datagram_sent *sent)
{
	datagrams_count(datagrams, DATAGRAM_FULL, sent->full);
	datagrams_count(datagrams, DATAGRAM_TOO_BIG, sent->too_big);
	datagrams_count(datagrams, DATAGRAM_FRAGMENTED, sent->fragmented);
	datagrams_count(datagrams, DATAGRAM_UNSENT, sent->lost);
}

/* ---- to clients ------------------------------------------------------------------------------------------------------- */

/* Somebody who has it as well, or had it, has shut it down: it stays so, and is readable for ever. The master sees that it does not receive
 * any more, and binds another one (listener_guard.c). */
static void listener_shut(struct datagram_listener *listener)
{
	if (listener->watch.fd < 0)
		return;
	loop_unwatch(&listener->datagrams->context->loop, &listener->watch);
	shutdown(listener->fd, SHUT_RD);
	log_error("%s: a socket was shut down, and is not read any more", listener->policy->text);
}

/* Where the run of answers ends that goes through the socket of the one at `at`. The sockets of a listener have the same address, so that one
 * call sends what belongs to several; not through one that is not read, which may be shut down. */
static size_t answers_together(const struct datagrams *datagrams, size_t at)
{
	const struct datagram_listener *through = datagrams->answers_through[at];
	size_t bytes = 0, end = at;

	for (; end < datagrams->n_answers; end++) {
		const struct datagram_listener *own = datagrams->answers_through[end];
		bytes += datagrams->answers_out[end].datagram->len;
		if (own != through &&
			(own->number != through->number || through->watch.fd < 0 || bytes > SHARED_BYTES))
			break;
	}
	return end;
}

void datagrams_flush(struct datagrams *datagrams)
{
	struct datagram_sent sent = { 0 };

	for (size_t at = 0, end; at < datagrams->n_answers; at = end) {
		struct datagram_listener *listener = datagrams->answers_through[at];
		end = answers_together(datagrams, at);
		sent.is_shut = false;
		datagram_send(datagrams->sender, listener->fd, listener->family, datagrams->answers_out + at,
			end - at, &sent);
		if (sent.is_shut)
			listener_shut(listener);
	}
	datagrams->n_answers = 0;
	datagrams_count_sent(datagrams, &sent);
}

static void datagrams_flush_task(struct task *task)
{
	datagrams_flush(container_of(task, struct datagrams, flush));
}

static void datagrams_bury_upstreams(struct task *task)
{
	upstream_free_closed(container_of(task, struct datagrams, upstream_burial));
}

/* ---- from clients ----------------------------------------------------------------------------------------------------- */

/* The kernel counts since the socket was made, and says so beside the next datagram. */
static void listener_count_drops(struct datagram_listener *listener, uint32_t drops)
{
	struct datagrams *datagrams = listener->datagrams;
	uint32_t more = drops - listener->drops;

	listener->drops = drops;
	if (more == 0)
		return;
	datagrams_count(datagrams, DATAGRAM_KERNEL, more);
	unsigned n = log_limit_count(&listener->told_drops, LOG_LIMIT_US, datagrams->context->loop.now_us);
	if (n)
		log_warning("%s: the kernel has dropped datagrams, the socket's buffer was full (%u in all; "
			    "receive_buffer makes it larger)",
			listener->policy->text, drops);
}

/* All of a flow's datagrams of this batch, in their order. */
static void flow_send_batch(struct datagrams *datagrams, struct flow *flow)
{
	size_t n = 0;

	flow->touched = false;
	for (uint32_t at = flow->first; at != NO_DATAGRAM; at = datagrams->next_of_flow[at])
		datagrams->list[n++] = (struct datagram_out){ .datagram = datagram_at(datagrams->incoming, at),
			.whole = flow->whole };
	if (flow->session.phase == PHASE_RELAYING)
		flow_send_up(flow, datagrams->list, n);
}

static void flow_touch(struct datagrams *datagrams, struct flow *flow, uint32_t at, struct flow ***last_touched)
{
	datagrams->next_of_flow[at] = NO_DATAGRAM;
	if (flow->touched) {
		datagrams->next_of_flow[flow->last] = at;
		flow->last = at;
		return;
	}
	flow->touched = true;
	flow->first = flow->last = at;
	flow->next_touched = NULL;
	**last_touched = flow;
	*last_touched = &flow->next_touched;
}

/* How many messages were there, of a batch at most; or -errno. */
static int listener_read(struct datagram_listener *listener)
{
	struct datagrams *datagrams = listener->datagrams;
	struct datagram_read read = { .drops = listener->drops };
	struct flow *touched = NULL, **last_touched = &touched;

	int n = datagram_receive(datagrams->incoming, listener->fd, true, 0, DATAGRAM_BATCH, &read);
	if (n < 0)
		return n;
	listener->n_emptied += read.n < DATAGRAM_BATCH;
	listener_count_drops(listener, read.drops);
	datagrams_count(datagrams, DATAGRAM_UNUSABLE, read.unusable);
	for (uint32_t i = 0; i < (uint32_t)n; i++) {
		struct datagram *datagram = datagram_at(datagrams->incoming, i);
		datagram->key.local_port = listener->port;
		struct flow_place *place = flow_table_find(datagrams->table, &datagram->key);
		struct flow *flow = place ? container_of(place, struct flow, place) : NULL;
		if (datagram->mark && flow_came_back(datagrams, flow, datagram->mark))
			continue;
		if (flow)
			flow->listener = listener;
		else
			flow = flow_new(listener, datagram);
		if (flow && !flow_keep(flow, datagram))
			flow_touch(datagrams, flow, i, &last_touched);
	}
	for (struct flow *flow = touched, *next; flow; flow = next) {
		next = flow->next_touched;
		flow_send_batch(datagrams, flow);
	}
	return (int)read.n;
}

int datagrams_read(struct datagram_listener *listener)
{
	int n = listener_read(listener);

	if (n < DATAGRAM_BATCH)
		flow_handover_drained(listener);
	return n;
}

static void listener_ready(struct watch *watch, uint32_t events)
{
	struct datagram_listener *listener = container_of(watch, struct datagram_listener, watch);

	if (datagrams_read(listener) == -EAGAIN && events & EPOLLRDHUP) /* all that came before is read */
		listener_shut(listener);
}

/* What was dropped before this worker had the socket is counted already. */
static uint32_t drops_so_far(int fd)
{
	uint32_t memory[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(memory);

	getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &len);
	return memory[SK_MEMINFO_DROPS];
}

/* ---- the sockets ------------------------------------------------------------------------------------------------------- */

static int listener_watch(struct datagram_listener *listener)
{
	return loop_watch(&listener->datagrams->context->loop, &listener->watch, listener->fd, EPOLLIN | EPOLLRDHUP);
}

int datagrams_listen(struct datagrams *datagrams, int fd, size_t number, uint32_t place)
{
	struct datagram_listener *listener = calloc(1, sizeof(*listener));
	struct context *context = datagrams->context;
	struct address address = { .len = sizeof(address.un) };

	if (!listener)
		return -ENOMEM;
	*listener = (struct datagram_listener){
		.watch = { .fd = -1, .ready = listener_ready },
		.datagrams = datagrams,
		.policy = &context->policy->listeners[number],
		.number = number,
		.place = place,
		.fd = fd,
	};
	int error = getsockname(fd, &address.sa, &address.len) < 0 ? -errno : 0;
	if (error == 0)
		error = datagram_prepare(fd, address.sa.sa_family, true);
	if (error < 0) {
		free(listener);
		return error;
	}
	listener->drops = drops_so_far(fd);
	listener->family = address.sa.sa_family;
	listener->port = htons(address_port(&address));
	listener->limits_key = hash_name(listener->policy->text);
	listener->counter =
		counter_get(context->shared->counters, context->slot, COUNTER_LISTENER, listener->policy->text);
	listener->next = datagrams->listeners;
	datagrams->listeners = listener;
	return 0;
}

void datagrams_hold(struct datagrams *datagrams)
{
	for (struct datagram_listener *one = datagrams->listeners; one; one = one->next)
		loop_unwatch(&datagrams->context->loop, &one->watch);
}

/* One that cannot be watched again is not read any more; the kernel's memory for its set was there a moment ago. */
void datagrams_resume(struct datagrams *datagrams)
{
	if (datagrams->is_closed)
		return;
	for (struct datagram_listener *one = datagrams->listeners; one; one = one->next)
		if (one->watch.fd < 0 && listener_watch(one) < 0)
			log_error("%s: cannot be read any more: no memory", one->policy->text);
}

void datagrams_drain(struct datagrams *datagrams)
{
	datagrams->is_draining = true;
	for (struct datagram_listener *one = datagrams->listeners; one; one = one->next)
		if (one->watch.fd < 0)
			flow_handover_held(one);
	upstream_free_spare(datagrams);
}

void datagrams_finish(struct datagrams *datagrams)
{
	datagrams->is_finishing = true;
	for (struct session *session = session_first(datagrams->context); session; session = session_next(session))
		if (session->transport == &flow_transport)
			flow_finish(flow_of(session));
}

/* One that waits for its access program ends when that has answered. */
void datagrams_close(struct datagrams *datagrams)
{
	datagrams_drain(datagrams);
	datagrams_flush(datagrams);
	datagrams->is_closed = true;
	for (struct session *session = session_first(datagrams->context); session; session = session_next(session))
		if (session->transport == &flow_transport)
			session->transport->stop(session, END_SHUTDOWN);
	for (struct datagram_listener *one = datagrams->listeners; one; one = one->next) {
		loop_unwatch(&datagrams->context->loop, &one->watch);
		one->fd = fd_close(one->fd);
	}
}

/* ---- birth and end ------------------------------------------------------------------------------------------------------- */

int datagrams_new(struct context *context, struct datagrams **ret)
{
	struct datagrams *datagrams = calloc(1, sizeof(*datagrams));

	if (!datagrams)
		return -ENOMEM;
	datagrams->context = context;
	datagrams->kept_pool = KEPT_POOL;
	datagrams->opening_pool = (struct pool){ .size = sizeof(struct flow_opening), .most = OPENING_SPARE_MAX };
	datagrams->flush = (struct task){ .run = datagrams_flush_task };
	datagrams->upstream_burial = (struct task){ .run = datagrams_bury_upstreams };
	for (int i = 0; i < DATAGRAM_EVENTS; i++)
		datagrams->events[i] = counter_get(
			context->shared->counters, context->slot, COUNTER_DATAGRAM, datagram_event_names[i]);
	datagrams->table = flow_table_new(context->capacity.connections);
	datagrams->incoming = datagram_batch_new();
	datagrams->answers = datagram_batch_new();
	datagrams->sender = datagram_sender_new();
	context->undecided_flows = undecided_registry_new();
	context->unproven = undecided_registry_new();
	if (flow_affinity_init(datagrams) < 0 || !datagrams->table || !datagrams->incoming || !datagrams->answers ||
		!datagrams->sender || !context->undecided_flows || !context->unproven) {
		datagrams_free(datagrams);
		return -ENOMEM;
	}
	*ret = datagrams;
	return 0;
}

void datagrams_free(struct datagrams *datagrams)
{
	if (!datagrams)
		return;
	struct context *context = datagrams->context;

	loop_cancel(&context->loop, &datagrams->flush);
	for (struct datagram_listener *one = datagrams->listeners, *next; one; one = next) {
		next = one->next;
		loop_unwatch(&context->loop, &one->watch);
		fd_close(one->fd);
		free(one);
	}
	upstream_free_spare(datagrams);
	loop_cancel(&context->loop, &datagrams->upstream_burial);
	upstream_free_closed(datagrams);
	session_free_spare(&datagrams->spare_flows);
	pool_fini(&datagrams->kept_pool);
	pool_fini(&datagrams->opening_pool);
	flow_table_free(datagrams->table);
	datagram_batch_free(datagrams->incoming);
	datagram_batch_free(datagrams->answers);
	datagram_sender_free(datagrams->sender);
	undecided_registry_free(context->undecided_flows);
	undecided_registry_free(context->unproven);
	context->undecided_flows = context->unproven = NULL;
	free(datagrams->service_hashes);
	free(datagrams);
}
