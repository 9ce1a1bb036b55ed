/* Accepting. Owns its copy of the listening socket; the socket itself is the master's and outlives this worker. */
#include "listener.h"
#include "counters.h"
#include "fd.h"
#include "hash.h"
#include "log.h"
#include "shed.h"
#include "stream.h"
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define BATCH    64     /* most that are accepted before others get their turn; what is left is reported again */
#define PAUSE_US 100000 /* what failed would fail at once again: that would spin */

static void listener_tell(struct listener *listener, const char *what)
{
	unsigned n = log_limit_count(&listener->told, LOG_LIMIT_US, listener->context->loop.now_us);
	if (n)
		log_warning("%s: %s (%u times)", listener->policy->text, what, n);
}

/* One more that was refused as it came in. */
static void listener_shed(struct listener *listener, const char *limit, const char *what)
{
	struct context *context = listener->context;

	counter_add(&counter_get(context->shared->counters, context->slot, COUNTER_LIMIT, limit)->total, 1);
	counter_add(&listener->counter->failed, 1);
	listener_tell(listener, what);
}

static void listener_pause(struct listener *listener)
{
	struct loop *loop = &listener->context->loop;
	if (loop_timer(loop, &listener->resume, loop->now_us + PAUSE_US) == 0)
		loop_unwatch(loop, &listener->watch);
}

void listener_starved(struct listener *listener)
{
	if (listener->watch.fd < 0)
		return;
	shed_one_of_tarpit(listener->context, "descriptors");
	listener_tell(listener, "out of descriptors or memory, accepting again in 100 ms");
	listener_pause(listener);
}

/* Other workers watch the same sockets: each new connection wakes one of them. */
static int listener_watch(struct listener *listener)
{
	return loop_watch(&listener->context->loop, &listener->watch, listener->fd, EPOLLIN | EPOLLEXCLUSIVE);
}

void listener_resume(struct listener *listener)
{
	if (listener->watch.fd < 0 && listener_watch(listener) < 0)
		listener_pause(listener);
}

static void listener_try_again(struct timer *timer)
{
	listener_resume(container_of(timer, struct listener, resume));
}

/* False: nothing more to accept now. */
static bool listener_accept_failed(struct listener *listener, int error)
{
	char what[128];

	switch (error) {
	case EAGAIN:
		return false;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		listener_starved(listener);
		return false;
	case EINVAL: /* no listening socket any more: whoever handed it over has shut it down */
	case EBADF:
	case ENOTSOCK:
	case EOPNOTSUPP:
		listener_tell(listener, "cannot accept any more: the socket does not listen");
		listener_pause(listener);
		return false;
	case ECONNABORTED: /* an error of that one connection (accept(2)) */
	case EINTR:
	case EPROTO:
	case ENOPROTOOPT:
	case ENETDOWN:
	case ENETUNREACH:
	case ENONET:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ETIMEDOUT:
	case ECONNRESET:
		return true;
	default: /* the same again: a call that this kernel lacks or that a filter refuses */
		snprintf(what, sizeof(what), "cannot accept (accept4): %s, tried again in 100 ms",
			strerrordesc_np(error));
		listener_tell(listener, what);
		listener_pause(listener);
		return false;
	}
}

/* Who waits without a word makes room for who comes. */
static bool listener_enter_all(struct listener *listener)
{
	struct context *context = listener->context;

	while (limits_enter_all(context->shared->limits, context->slot, context->policy->max_connections)) {
		if (!shed_one(context, "max_connections"))
			return false;
		listener_tell(listener, "max_connections reached, an undecided connection made room");
	}
	return true;
}

static bool listener_accept_one(struct listener *listener)
{
	struct address client = { .len = sizeof(client.un) };
	int fd = accept4(listener->fd, &client.sa, &client.len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return listener_accept_failed(listener, errno);
	if (client.len > sizeof(client.un))
		client.len = sizeof(client.un); /* a path that fills its place has one byte more than there is */
	struct context *context = listener->context;
	if (context->n_sessions >= context->capacity.connections && !shed_one_of_tarpit(context, "descriptors") &&
		!shed_one_flow(context, "descriptors")) {
		listener_shed(listener, "descriptors",
			"as many connections as there are descriptors for, one more refused");
		fd_reset(fd);
		return true;
	}
	if (!listener_enter_all(listener)) {
		listener_shed(listener, "max_connections", "max_connections reached, connection closed");
		fd_close(fd);
		return true;
	}
	uint32_t place = LIMITS_NONE;
	if (listener->policy->max_connections &&
		limits_enter_listener(context->shared->limits, context->slot, listener->limits_key,
			listener->policy->max_connections, &place)) {
		limits_leave_all(context->shared->limits, context->slot);
		listener_shed(listener, "listener_max_connections",
			"max_connections of this listener reached, connection closed");
		fd_close(fd);
		return true;
	}
	stream_new(listener->context, listener, fd, &client, place);
	return true;
}

/* The kernel wakes the first worker in line that sleeps. Whoever was woken goes to the end of the line: else the first
 * would get nearly all connections while there are few. */
static void listener_yield(struct listener *listener)
{
	if (listener->watch.fd < 0 || listener->context->policy->workers < 2)
		return;
	loop_unwatch(&listener->context->loop, &listener->watch);
	if (listener_watch(listener) < 0)
		listener_pause(listener);
}

/* An accept that finds nobody costs as much as half an accept. So no more are taken than came the last time, unless it turned out at
 * once that there were more. */
static void listener_ready(struct watch *watch, uint32_t events)
{
	struct listener *listener = container_of(watch, struct listener, watch);
	uint32_t turn = listener->context->loop.turn;
	unsigned n = 0;

	if (listener->batch == 0)
		listener->batch = 1;
	else if (listener->all_taken && turn == listener->turn + 1 && listener->batch < BATCH)
		listener->batch *= 2;
	while (n < listener->batch && listener->watch.fd >= 0 && listener_accept_one(listener))
		n++;
	listener->all_taken = n == listener->batch;
	if (!listener->all_taken)
		listener->batch = n ? n : 1;
	listener->turn = turn;
	listener_yield(listener);
}

int listener_start(struct listener *listener)
{
	listener->watch = (struct watch){ .fd = -1, .ready = listener_ready };
	listener->counter = counter_get(listener->context->shared->counters, listener->context->slot,
		COUNTER_LISTENER, listener->policy->text);
	listener->resume = (struct timer){ .fired = listener_try_again };
	listener->limits_key = hash_name(listener->policy->text);
	return listener_watch(listener);
}

void listener_hold(struct listener *listener)
{
	loop_timer_stop(&listener->context->loop, &listener->resume);
	loop_unwatch(&listener->context->loop, &listener->watch);
}

void listener_stop(struct listener *listener)
{
	listener_hold(listener);
	listener->fd = fd_close(listener->fd);
}
