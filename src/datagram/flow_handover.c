/* Hands a flow over. The kernel gives the client's datagrams to a connected socket from connect() on; what came before is in the listener's
 * socket or kept here. So that the receiver gets all of it, in its order:
 *
 *     1. the master makes the socket and connects it           the client's datagrams go there from now on
 *     2. the listener's socket is read until it is empty       what is the flow's is kept behind what was kept
 *     3. the receiver gets the socket, and the other end of a pair in which the kept ones are
 *
 * What is kept stays here until the receiver has acknowledged it (deliver/handover.h); where it does not, the socket's own datagrams are kept
 * too and the socket is closed, and the fallback gets all. Refuses receivers that cannot have a second descriptor. Owns, through the flow, the
 * socket and the pair. */
#include "flow_handover.h"
#include "datagrams_parts.h"
#include "fd.h"
#include "flow.h"
#include "handover.h"
#include "receivers.h"
#include "upstream.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define RECEIVER_RETRY_US 50000

struct flow_handing {
	struct flow *flow;         /* NULL: it goes elsewhere, and the master's answer is still to come */
	struct flow_handing *next; /* of those that wait for the listener's socket to be empty, with */
	struct datagram_listener *drains;

	struct request connecting;
	bool is_asked; /* the master has not answered yet */

	struct handover_request request;
	struct facts facts;
	struct address local;
	uint64_t due_us;
};

/* ---- what goes over ---------------------------------------------------------------------------------------------------- */

/* One message of the pair: | ECN and DSCP | 0 | 0 | 0 | its bytes | (usher/handover.h) */
static int early_send(int fd, const struct datagram *datagram)
{
	uint8_t head[4] = { datagram->tos };
	struct iovec parts[2] = { { head, sizeof(head) }, { (uint8_t *)datagram->bytes, datagram->len } };
	const struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };

	return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* The receiver's end, in which they are, or -errno. */
static int early_make(struct flow *flow)
{
	uint32_t lost = 0;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	for (const struct kept_datagram *one = flow->opening->kept.first; one; one = one->next)
		lost += early_send(ends[0], &one->datagram) < 0;
	datagrams_count(flow->datagrams, DATAGRAM_FULL, lost);
	fd_close(ends[0]);
	return ends[1];
}

/* What others have sent to the socket before it was connected. Behind the client's first one there is none. */
static void skip_others(int fd, const struct address *client)
{
	const struct address wanted = address_unmapped(client);

	for (;;) {
		struct address from = { .len = sizeof(from.in6) };
		uint8_t byte;
		ssize_t n = recvfrom(fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT, &from.sa, &from.len);
		if (n < 0 && errno == EAGAIN)
			return;
		const struct address unmapped = address_unmapped(&from);
		if (n >= 0 && address_equal(&unmapped, &wanted))
			return;
		if (n >= 0)
			recv(fd, &byte, sizeof(byte), MSG_DONTWAIT);
	}
}

/* The socket's own datagrams. Disconnected it takes no more of them, also where a receiver has it still and does not know that it was taken
 * back: the kernel prefers the listener's. */
static void recover(struct flow *flow, int fd)
{
	static const struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	struct datagrams *datagrams = flow->datagrams;
	struct datagram_read read = { 0 };

	connect(fd, &nobody, sizeof(nobody));
	int n = datagram_receive(datagrams->incoming, fd, false, 0, DATAGRAM_BATCH, &read);
	for (int i = 0; i < n; i++) {
		const struct datagram *datagram = datagram_at(datagrams->incoming, (size_t)i);
		if (flow_kept_add(&flow->opening->kept, &datagrams->kept_pool, datagram, 0, datagram->len) < 0)
			datagrams_count(datagrams, DATAGRAM_FULL, 1);
	}
}

/* ---- to the receiver --------------------------------------------------------------------------------------------------- */

static void flow_send_over(struct flow *flow)
{
	struct flow_handing *handing = flow->handing;

	loop_timer(&flow->session.context->loop, &flow->session.deadline, handing->due_us);
	handover_send(receivers_of(flow->session.context->receivers, flow->session.service), &handing->request);
}

/* As of streams: a receiver that is being started again is not there for a moment. */
static bool flow_waits_for_receiver(const struct flow *flow, int error)
{
	bool absent = error == -ECONNREFUSED || error == -ENOENT || error == -EACCES || error == -EPIPE ||
		error == -ECONNRESET;

	return absent && session_service(&flow->session)->fallback == SERVICE_NONE &&
		flow->session.context->loop.now_us + RECEIVER_RETRY_US < flow->handing->due_us;
}

static void flow_cannot_go_over(struct flow *flow, int error)
{
	flow_handover_end(flow, true);
	flow_undelivered(flow, error);
}

static void flow_handed_over(struct handover_request *request, int error)
{
	struct flow *flow = container_of(request, struct flow_handing, request)->flow;
	struct loop *loop = &flow->session.context->loop;

	if (error == 0) {
		flow_end(flow, END_HANDED_OVER);
	} else if (error == -EPROTO) { /* it may have the socket: no fallback */
		flow->session.error = error;
		flow_end(flow, END_DELIVERY_FAILED);
	} else if (flow_waits_for_receiver(flow, error)) {
		loop_timer(loop, &flow->session.deadline, loop->now_us + RECEIVER_RETRY_US);
	} else {
		flow_cannot_go_over(flow, error);
	}
}

static void flow_go_over(struct flow *flow)
{
	struct flow_handing *handing = flow->handing;
	int early = early_make(flow);

	if (early < 0) {
		flow_cannot_go_over(flow, early);
		return;
	}
	handing->request.early = early;
	flow_send_over(flow);
}

/* ---- its socket --------------------------------------------------------------------------------------------------------- */

static void stop_draining(struct flow_handing *handing)
{
	struct flow_handing **link;

	if (!handing->drains)
		return;
	for (link = &handing->drains->draining; *link != handing; link = &(*link)->next)
		;
	*link = handing->next;
	handing->drains = NULL;
}

void flow_handover_drained(struct datagram_listener *listener)
{
	while (listener->draining) {
		struct flow *flow = listener->draining->flow;
		stop_draining(flow->handing);
		flow_go_over(flow);
	}
}

/* To another worker, which decides anew. */
static void flow_stays_undecided(struct flow *flow)
{
	flow_handover_end(flow, true);
	if (flow->opening->kept.n > EVIDENCE_DATAGRAMS_MAX)
		flow_undelivered(flow, -EAGAIN);
	else
		flow_undecide(flow);
}

void flow_handover_held(struct datagram_listener *listener)
{
	while (listener->draining)
		flow_stays_undecided(listener->draining->flow);
}

static void flow_drain(struct flow *flow)
{
	struct flow_handing *handing = flow->handing;
	struct datagram_listener *listener = flow->listener;

	handing->drains = listener;
	handing->next = listener->draining;
	listener->draining = handing;
	if (listener->watch.fd >= 0)
		datagrams_read(listener);
	else if (flow->session.context->state == WORKER_DRAINING)
		flow_handover_held(listener);
}

static void flow_has_socket(struct request *request, const struct message_answer *answer, int fds[IPC_FDS_MAX])
{
	struct flow_handing *handing = container_of(request, struct flow_handing, connecting);
	struct flow *flow = handing->flow;

	handing->is_asked = false;
	if (!flow) {
		free(handing);
		return;
	}
	if (answer->error < 0) {
		flow_cannot_go_over(flow, answer->error);
		return;
	}
	handing->request.fd = fds[0];
	fds[0] = -1;
	skip_others(handing->request.fd, &flow->session.client);
	flow_drain(flow);
}

static int flow_ask_for_socket(struct flow *flow)
{
	struct message message = { .kind = MESSAGE_WANT_CLIENT,
		.want_client = { .listener = (uint32_t)flow->listener->number, .client = flow->session.client } };

	flow_key_local(&flow->place.key, &message.want_client.local);
	flow->handing->connecting = (struct request){ .answered = flow_has_socket };
	return requester_ask(flow->session.context->requester, &flow->handing->connecting, &message, -1);
}

void flow_hand_over(struct flow *flow)
{
	struct context *context = flow->session.context;
	struct flow_handing *handing = calloc(1, sizeof(*handing));

	if (!handing) {
		flow_undelivered(flow, -ENOMEM);
		return;
	}
	handing->flow = flow;
	handing->due_us = context->loop.now_us + context->policy->connect_timeout_us;
	flow_key_local(&flow->place.key, &handing->local);
	handing->facts = (struct facts){
		.id = flow->session.id,
		.client = &flow->session.client,
		.local = &handing->local,
		.service = session_service(&flow->session)->name,
		.protocol = session_protocol(&flow->session),
		.sni = flow->session.sni,
		.alpn = flow->session.alpn,
		.host = flow->session.host,
	};
	handing->request = (struct handover_request){
		.fd = -1, .early = -1, .is_datagram = true, .facts = &handing->facts, .done = flow_handed_over
	};
	flow->handing = handing;
	flow->opening->kept.goes_over = true;
	session_enter(&flow->session, PHASE_HANDING_OVER);
	int error = flow_ask_for_socket(flow);
	if (error < 0)
		flow_cannot_go_over(flow, error);
	else
		handing->is_asked = true;
}

/* ---- over ---------------------------------------------------------------------------------------------------------------- */

void flow_handover_end(struct flow *flow, bool recovers)
{
	struct flow_handing *handing = flow->handing;

	if (!handing)
		return;
	flow->handing = NULL;
	stop_draining(handing);
	if (handing->request.handover)
		handover_cancel(&handing->request);
	if (recovers && handing->request.fd >= 0)
		recover(flow, handing->request.fd);
	fd_close(handing->request.fd);
	fd_close(handing->request.early);
	handing->flow = NULL;
	if (!handing->is_asked)
		free(handing);
}

unsigned flow_handover_sent(const struct flow *flow)
{
	return flow->handing ? flow->handing->request.n_sent : 0;
}

uint64_t flow_handover_due_us(const struct session *session)
{
	return container_of(session, struct flow, session)->handing->due_us;
}

void flow_handover_out_of_time(struct session *session)
{
	struct flow *flow = flow_of(session);
	struct flow_handing *handing = flow->handing;

	if (!handing->request.handover && handing->request.early >= 0 &&
		session->context->loop.now_us < handing->due_us)
		flow_send_over(flow);
	else if (handover_cancel(&handing->request))
		flow_cannot_go_over(flow, -ETIMEDOUT);
	else
		flow_end(flow, END_HANDED_OVER);
}
