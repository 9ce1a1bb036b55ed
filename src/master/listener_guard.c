/* A TCP socket that was shut down listens again by listen(), at its port: nobody who has it need be told. A UNIX or UDP
 * socket that was shut down stays so, and another must be bound in its place, which a reload does. A UDP socket that was shut down for
 * sending alone does not look so; the worker that cannot answer through it then shuts it down for receiving too (datagrams.c).
 *
 * What is seen at once is mended at once, and after that no more often than each RETRY_US, by a reload each REBIND_US: who shuts
 * sockets down again and again costs the master no more than that. Owns the watches, never the descriptors. */
#include "listener_guard.h"
#include "log.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define RETRY_US  100000
#define REBIND_US 5000000

struct guarded {
	struct watch watch;
	struct guard_set *set;
	struct socket_held held; /* as it was: the table may move meanwhile */
};

/* In one piece, and freed after the turn: events for its watches may have been fetched already. */
struct guard_set {
	struct listener_guard *guard;
	struct task burial;
	size_t n;
	struct guarded sockets[];
};

static void guard_look(struct listener_guard *guard);

static void guard_ready(struct watch *watch, uint32_t events)
{
	struct listener_guard *guard = container_of(watch, struct guarded, watch)->set->guard;

	if (guard->again.place == 0)
		guard_look(guard);
}

static void guard_again(struct timer *timer)
{
	guard_look(container_of(timer, struct listener_guard, again));
}

static const char *guard_suspects(const struct socket_held *held)
{
	return held->handed ? "a worker, or the program that handed it over" : "a worker";
}

/* A port that the kernel chose (bind() to port 0) is lost when the socket is shut down; any other stays, and bind() says EINVAL. */
static bool guard_has_its_port(const struct socket_held *held)
{
	return bind(held->fd, &held->address.sa, held->address.len) == 0 || errno == EINVAL;
}

static void guard_listen_again(const struct socket_held *held, const char *text)
{
	if (guard_has_its_port(held) && listen(held->fd, INT32_MAX) == 0)
		log_error("listener %s was shut down by %s, and listens again", text, guard_suspects(held));
	else
		log_error("listener %s was shut down by %s, and cannot listen again: %s", text, guard_suspects(held),
			strerrordesc_np(errno));
}

static void guard_bind_anew(struct listener_guard *guard, const struct socket_held *held, const char *text)
{
	const char *udp = held->transport == TRANSPORT_DATAGRAM ? "udp:" : "";

	if (guard->rebound_us && guard->loop->now_us - guard->rebound_us < REBIND_US)
		return;
	guard->rebound_us = guard->loop->now_us;
	if (held->handed) {
		log_error("listener %s%s was shut down by %s: the program that handed it over must open it again",
			udp, text, guard_suspects(held));
	} else {
		log_error("listener %s%s was shut down by a worker, and is bound anew by a reload", udp, text);
		guard->rebind(guard->context);
	}
}

static void guard_look(struct listener_guard *guard)
{
	struct guard_set *set = guard->set;
	char text[ADDRESS_TEXT_MAX];
	bool any = false;

	for (size_t i = 0; set && i < set->n; i++) {
		const struct socket_held *held = &set->sockets[i].held;
		if (socket_listens(held))
			continue;
		any = true;
		address_format(&held->address, text);
		if (held->transport == TRANSPORT_STREAM && address_is_ip(&held->address))
			guard_listen_again(held, text);
		else
			guard_bind_anew(guard, held, text);
	}
	if (any)
		loop_timer(guard->loop, &guard->again, guard->loop->now_us + RETRY_US);
}

static void guard_bury(struct task *task)
{
	free(container_of(task, struct guard_set, burial));
}

void listener_guard_init(
	struct listener_guard *guard, struct loop *loop, void (*rebind)(void *context), void *context)
{
	*guard = (struct listener_guard){
		.loop = loop, .again = { .fired = guard_again }, .rebind = rebind, .context = context
	};
}

void listener_guard_end(struct listener_guard *guard)
{
	struct guard_set *set = guard->set;

	if (!set)
		return;
	for (size_t i = 0; i < set->n; i++)
		loop_unwatch(guard->loop, &set->sockets[i].watch);
	loop_timer_stop(guard->loop, &guard->again);
	guard->set = NULL;
	loop_defer(guard->loop, &set->burial);
}

int listener_guard_begin(struct listener_guard *guard, const struct sockets *sockets)
{
	struct guard_set *set = calloc(1, sizeof(*set) + sockets->count * sizeof(set->sockets[0]));

	listener_guard_end(guard);
	if (!set)
		return -ENOMEM;
	*set = (struct guard_set){ .guard = guard, .burial = { .run = guard_bury } };
	for (size_t i = 0; i < sockets->count; i++) {
		struct guarded *one = &set->sockets[set->n++];
		*one = (struct guarded){ .watch = { .ready = guard_ready }, .set = set, .held = sockets->list[i] };
		/* Not EPOLLIN: who connects or sends is none of the master's business. */
		int error = loop_watch(guard->loop, &one->watch, one->held.fd, EPOLLRDHUP | EPOLLET);
		if (error < 0)
			log_warning("a listening socket cannot be watched: %s", strerrordesc_np(-error));
	}
	guard->set = set;
	guard_look(guard); /* whatever happened before */
	return 0;
}
