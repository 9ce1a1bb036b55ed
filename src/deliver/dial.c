/* Connects to the first backend that answers. Refuses to wait: the deadline over all of it is the caller's. Owns the socket
 * until `done` says 0. */
#include "dial.h"
#include "fd.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/socket.h>

#define RETRY_US    20000
#define EVERY_EVENT (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

void dial_set_options(int fd, sa_family_t family, int keepalive_s)
{
	if (family == AF_UNIX)
		return;
	fd_set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	fd_set_option(fd, SOL_SOCKET, SO_KEEPALIVE, keepalive_s != 0);
	if (keepalive_s > 0)
		fd_set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, keepalive_s);
}

static void dial_finish(struct dial *dial, int error, uint32_t events)
{
	loop_timer_stop(dial->loop, &dial->patience);
	dial->done(dial, error, events);
}

/* -EINPROGRESS: under way, dial_ready() will hear of it. 0: connected at once, as UNIX sockets do. */
static int dial_try(struct dial *dial, const struct address *to)
{
	int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	dial_set_options(fd, to->sa.sa_family, dial->keepalive_s);
	int error = connect(fd, &to->sa, to->len) < 0 ? -errno : 0;
	if (error == 0 || error == -EINPROGRESS) {
		int r = loop_watch(dial->loop, dial->socket, fd, EVERY_EVENT);
		if (r == 0)
			return error;
		error = r;
	}
	fd_close(fd);
	return error;
}

/* The address that is to be tried now, and how many the backend has from there on; 0: it has no further one. */
static size_t dial_current(struct dial *dial, struct address *ret)
{
	const struct backend *backend = &dial->backends[dial->backend];
	struct address known[RESOLVED_ADDRESSES_MAX] = { backend->address };
	size_t n = 1;

	if (backend->name != BACKEND_NO_NAME)
		n = resolved_read(dial->resolved, backend->name, backend->port, known);
	if (n == 0) {
		dial->try_again = true;
		dial->error = -EHOSTUNREACH;
	}
	if (dial->address >= n)
		return 0;
	*ret = known[dial->address];
	return n - dial->address;
}

/* An address that hangs must not eat the time of those behind it. */
static void dial_be_patient(struct dial *dial, size_t n_here)
{
	uint64_t now_us = dial->loop->now_us;
	uint64_t left_us = dial->due_us > now_us ? dial->due_us - now_us : 0;
	size_t n_left = n_here + dial->n_backends - dial->backend - 1;
	loop_timer(dial->loop, &dial->patience, now_us + left_us / n_left);
}

static void dial_advance(struct dial *dial)
{
	struct address to;

	for (; dial->backend < dial->n_backends; dial->backend++, dial->address = 0) {
		for (size_t n; (n = dial_current(dial, &to)) > 0; dial->address++) {
			int error = dial_try(dial, &to);
			if (error == -EINPROGRESS) {
				dial_be_patient(dial, n);
				return;
			}
			if (error == 0) {
				dial_finish(dial, 0, EPOLLOUT);
				return;
			}
			dial->error = error;
			if (error == -EAGAIN)
				dial->try_again = true;
		}
	}
	if (!dial->try_again || loop_timer(dial->loop, &dial->patience, dial->loop->now_us + RETRY_US) < 0)
		dial_finish(dial, dial->error, 0);
}

static void dial_from_start(struct dial *dial)
{
	dial->backend = 0;
	dial->address = 0;
	dial->try_again = false;
	dial_advance(dial);
}

static void dial_next_address(struct dial *dial, int error)
{
	fd_close(loop_unwatch(dial->loop, dial->socket));
	dial->error = error;
	dial->address++;
	dial_advance(dial);
}

static void dial_out_of_patience(struct timer *timer)
{
	struct dial *dial = container_of(timer, struct dial, patience);
	if (dial->socket->fd >= 0)
		dial_next_address(dial, -ETIMEDOUT);
	else
		dial_from_start(dial);
}

void dial_start(struct dial *dial)
{
	dial->error = 0;
	dial->patience = (struct timer){ .fired = dial_out_of_patience };
	dial_from_start(dial);
}

void dial_ready(struct dial *dial, uint32_t events)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		return;
	getsockopt(dial->socket->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error == 0 && !(events & EPOLLOUT))
		return;
	if (error == 0) {
		dial_finish(dial, 0, events);
		return;
	}
	dial_next_address(dial, -error);
}

void dial_cancel(struct dial *dial)
{
	loop_timer_stop(dial->loop, &dial->patience);
	fd_close(loop_unwatch(dial->loop, dial->socket));
}
