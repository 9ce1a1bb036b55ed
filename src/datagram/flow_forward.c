/* A flow that the kernel is to forward. The master makes a socket that speaks as the client, and the first datagrams go through it once more
 * to where the client sent them: on the way out the kernel's rules (src/policy/forwarding_rules.c) take note of the flow and send them on to
 * its backend, as they do from then on with what the client sends.
 *
 *     asked for -> kept datagrams sent -> listener's socket read empty -> ended, END_FORWARDED
 *
 * What was in the listener's socket before the rules knew of the flow follows through the same socket: so no datagram is lost or doubled. Where
 * somebody has taken the rules away what was sent comes back, by its mark: the master is told to put them in again, and the flow tries once
 * more. Refuses to wait. Owns nothing: the socket is the flow's. */
#include "datagrams_parts.h"
#include "fd.h"
#include "flow.h"
#include "flow_handover.h"
#include "forwarding_rules.h"
#include "upstream.h"
#include <errno.h>
#include <sys/socket.h>

#define LOOK_US    1000
#define AT_MOST_US 1000000 /* a listener's socket that is never empty: what came before is read by then */

static void flow_forwards(struct flow *flow, int fd)
{
	struct loop *loop = &flow->session.context->loop;
	int error = datagram_prepare(fd, flow_key_family(&flow->place.key), false);

	if (error == 0)
		error = upstream_adopt(flow->datagrams, fd, flow, &flow->upstream);
	if (error < 0) {
		fd_close(fd);
		flow_undelivered(flow, error);
		return;
	}
	flow->forwarding = FORWARDING_SENDS;
	flow->opening->forwarded_us = loop->now_us;
	flow->opening->emptied = flow->listener->n_emptied;
	flow_begin_relay(flow);
}

/* Some of it may have gone: the backend has that, and usher has no way of taking it back. */
static void flow_not_forwarded(struct flow *flow, int error)
{
	flow->forwarding = FORWARDING_NO;
	flow_undelivered(flow, error);
}

static void forward_answered(struct request *request, const struct message_answer *answer, int fds[IPC_FDS_MAX])
{
	struct flow *flow = container_of(request, struct flow_opening, asking)->flow;
	int fd = fds[0];

	flow->forwarding = FORWARDING_NO;
	if (flow->session.phase == PHASE_ENDED) {
		flow_bury_answered(flow);
		return;
	}
	if (answer->error < 0 || fd < 0) {
		int error = answer->error < 0 ? answer->error : -EMFILE;
		if (error != -EAGAIN) /* the rules are on their way: flow_retry() */
			flow_undelivered(flow, error);
		return;
	}
	fds[0] = -1;
	flow_forwards(flow, fd);
}

int flow_forward(struct flow *flow)
{
	struct context *context = flow->session.context;
	struct message message = {
		.kind = MESSAGE_FORWARD,
		.forward = {
			.service = flow->session.service,
			.listener = (uint32_t)flow->listener->number,
			.client = flow->session.client,
			.is_missing = flow->opening->came_back,
		},
	};

	if (flow->forwarding == FORWARDING_ASKS)
		return -EINPROGRESS;
	const struct backend *backend =
		forwarding_backend(session_service(&flow->session), flow->session.client.sa.sa_family);
	if (!backend)
		return -EAFNOSUPPORT;
	flow->backend = (size_t)(backend - session_service(&flow->session)->target.connect.backends);
	flow_key_local(&flow->place.key, &message.forward.local);
	flow->opening->asking = (struct request){ .answered = forward_answered };
	int error = requester_ask(context->requester, &flow->opening->asking, &message, -1);
	if (error < 0)
		return error;
	flow->forwarding = FORWARDING_ASKS;
	return -EINPROGRESS;
}

void flow_forward_sent(struct flow *flow, const struct datagram_sent *sent)
{
	if (sent->lost > 0) /* a rule has dropped it: the kernel has too many flows */
		flow_not_forwarded(flow, -EPERM);
}

static bool mark_is_ours(const struct policy *policy, uint32_t mark)
{
	for (size_t i = 0; i < policy->n_services; i++)
		for (int family = AF_INET; service_is_forwarded(&policy->services[i]); family = AF_INET6) {
			const struct backend *backend = forwarding_backend(&policy->services[i], (sa_family_t)family);
			if (backend && backend->mark == mark)
				return true;
			if (family == AF_INET6)
				break;
		}
	return false;
}

bool flow_came_back(const struct datagrams *datagrams, struct flow *flow, uint32_t mark)
{
	if (!mark_is_ours(datagrams->context->policy, mark))
		return false;
	if (!flow || flow->forwarding != FORWARDING_SENDS)
		return true;
	if (flow->opening->came_back) {
		flow_not_forwarded(flow, -ENOPROTOOPT);
		return true;
	}
	flow->opening->came_back = true;
	flow->forwarding = FORWARDING_NO;
	upstream_close(flow->upstream);
	flow->upstream = NULL;
	flow_try(flow, -EHOSTUNREACH);
	return true;
}

uint64_t flow_forward_due_us(const struct flow *flow)
{
	return flow->session.context->loop.now_us + LOOK_US;
}

/* The listener's socket has been empty since, or is now; or this worker reads it no more. */
static bool is_read(const struct flow *flow)
{
	const struct datagram_listener *listener = flow->listener;
	char byte;

	return listener->n_emptied != flow->opening->emptied || listener->watch.fd < 0 ||
		(recv(listener->fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN);
}

void flow_forward_look(struct flow *flow)
{
	struct loop *loop = &flow->session.context->loop;

	if (!is_read(flow) && loop->now_us < flow->opening->forwarded_us + AT_MOST_US &&
		loop_timer(loop, &flow->session.deadline, loop->now_us + LOOK_US) == 0)
		return;
	flow_end(flow, END_FORWARDED);
}
