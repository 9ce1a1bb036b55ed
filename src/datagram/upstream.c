/* Sockets to backends. One that is given back is disconnected, which also takes its port away, and emptied: nothing that was sent to the
 * flow before can reach the next one. One that came from another worker or from the master, which may have it still, is not used again.
 * Refuses to wait. Owns the spare ones. */
#include "upstream.h"
#include "datagrams_parts.h"
#include "fd.h"
#include "flow.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

static size_t place_of(sa_family_t family)
{
	return family == AF_INET ? 0 : 1;
}

static void upstream_ready(struct watch *watch, uint32_t events)
{
	struct upstream *upstream = container_of(watch, struct upstream, watch);

	if (upstream->flow)
		flow_upstream_ready(upstream->flow);
}

/* Not freed before the turn is over: an event for it may have been fetched. */
static void upstream_free(struct upstream *upstream)
{
	struct datagrams *datagrams = upstream->datagrams;
	struct loop *loop = &datagrams->context->loop;

	fd_close(loop_unwatch_to_close(loop, &upstream->watch));
	upstream->next = datagrams->closed_upstreams;
	datagrams->closed_upstreams = upstream;
	loop_defer(loop, &datagrams->upstream_burial);
}

void upstream_free_closed(struct datagrams *datagrams)
{
	for (struct upstream *next; datagrams->closed_upstreams; datagrams->closed_upstreams = next) {
		next = datagrams->closed_upstreams->next;
		free(datagrams->closed_upstreams);
	}
}

/* Takes over the socket where it is 0. */
static int upstream_watch(struct datagrams *datagrams, sa_family_t family, int fd, struct upstream **ret)
{
	struct upstream *upstream = malloc(sizeof(*upstream));

	if (!upstream)
		return -ENOMEM;
	*upstream = (struct upstream){
		.watch = { .fd = -1, .ready = upstream_ready }, .datagrams = datagrams, .family = family
	};
	int error = loop_watch(&datagrams->context->loop, &upstream->watch, fd, EPOLLIN | EPOLLET);
	if (error != 0) {
		free(upstream);
		return error;
	}
	*ret = upstream;
	return 0;
}

/* NULL: *ret_error says why. */
static struct upstream *upstream_new(struct datagrams *datagrams, sa_family_t family, int *ret_error)
{
	struct upstream *upstream = NULL;
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error = fd < 0 ? -errno : datagram_prepare(fd, family, false);

	if (error == 0)
		error = upstream_watch(datagrams, family, fd, &upstream);
	if (!upstream) {
		fd_close(fd);
		*ret_error = error;
		return NULL;
	}
	upstream->watch.sole = true;
	return upstream;
}

int upstream_adopt(struct datagrams *datagrams, int fd, struct flow *flow, struct upstream **ret)
{
	int family = AF_UNSPEC;
	socklen_t len = sizeof(family);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) < 0)
		return -errno;
	int error = upstream_watch(datagrams, (sa_family_t)family, fd, ret);
	if (error == 0)
		(*ret)->flow = flow;
	return error;
}

/* The socket itself stays connected. */
void upstream_leave(struct upstream *upstream)
{
	if (!upstream)
		return;
	upstream->watch.sole = false;
	upstream_free(upstream);
}

int upstream_open(struct datagrams *datagrams, const struct address *to, struct flow *flow, struct upstream **ret)
{
	size_t place = place_of(to->sa.sa_family);
	struct upstream *upstream = datagrams->spare_upstreams[place];
	int error = 0;

	if (upstream) {
		datagrams->spare_upstreams[place] = upstream->next;
		datagrams->n_spare_upstreams[place]--;
	} else if (!(upstream = upstream_new(datagrams, to->sa.sa_family, &error))) {
		return error;
	}
	if (connect(upstream->watch.fd, &to->sa, to->len) < 0) {
		error = -errno;
		upstream_close(upstream);
		return error;
	}
	upstream->flow = flow;
	*ret = upstream;
	return 0;
}

/* False: something else is there. */
static bool fd_empty(int fd)
{
	uint8_t byte;

	while (recv(fd, &byte, sizeof(byte), MSG_DONTWAIT | MSG_TRUNC) >= 0)
		;
	return errno == EAGAIN;
}

/* False: it is not to be used again. */
static bool upstream_empty(int fd)
{
	static const struct sockaddr nobody = { .sa_family = AF_UNSPEC };

	return connect(fd, &nobody, sizeof(nobody)) == 0 && fd_empty(fd);
}

/* ---- from the client's address ---------------------------------------------------------------------------------------- */

/* Without SO_REUSEADDR: of two flows of one client's port only one can have it. Else what one backend sends would go to either. */
static int bind_as(int fd, const struct address *from)
{
	struct address other = *from;

	if (bind(fd, &from->sa, from->len) == 0)
		return 0;
	if (errno == EADDRINUSE || errno == EACCES) {
		address_set_port(&other, 0);
		if (bind(fd, &other.sa, other.len) == 0)
			return 0;
	}
	/* An address that is not this machine's, for a socket that may not speak from any. */
	return errno == EADDRNOTAVAIL ? -EPERM : -errno;
}

/* What was there before anything is sent to the backend is from others, who knew the client's address. */
static int fd_connect_clean(int fd, const struct address *to)
{
	if (connect(fd, &to->sa, to->len) < 0)
		return -errno;
	fd_empty(fd);
	return 0;
}

int upstream_open_as(struct datagrams *datagrams, int fd, const struct address *from, const struct address *to,
	struct flow *flow, struct upstream **ret)
{
	int error = datagram_prepare(fd, to->sa.sa_family, false);

	if (error == 0)
		error = bind_as(fd, from);
	if (error == 0)
		error = fd_connect_clean(fd, to);
	if (error == 0)
		error = upstream_watch(datagrams, to->sa.sa_family, fd, ret);
	if (error < 0)
		fd_close(fd);
	else
		(*ret)->flow = flow;
	return error;
}

int upstream_reconnect(struct upstream *upstream, const struct address *to)
{
	return fd_connect_clean(upstream->watch.fd, to);
}

void upstream_close(struct upstream *upstream)
{
	if (!upstream)
		return;
	struct datagrams *datagrams = upstream->datagrams;
	size_t place = place_of(upstream->family);

	upstream->flow = NULL;
	if (!upstream->watch.sole || datagrams->n_spare_upstreams[place] >= UPSTREAM_SPARE_MAX ||
		datagrams->is_draining || !upstream_empty(upstream->watch.fd)) {
		upstream_free(upstream);
		return;
	}
	upstream->next = datagrams->spare_upstreams[place];
	datagrams->spare_upstreams[place] = upstream;
	datagrams->n_spare_upstreams[place]++;
}

void upstream_free_spare(struct datagrams *datagrams)
{
	for (size_t i = 0; i < UPSTREAM_FAMILIES; i++)
		for (struct upstream *next; datagrams->spare_upstreams[i]; datagrams->spare_upstreams[i] = next) {
			next = datagrams->spare_upstreams[i]->next;
			upstream_free(datagrams->spare_upstreams[i]);
		}
}
