/* Connects to the first backend that answers. Refuses to wait: the deadline over all of it is the caller's. Owns the socket
 * until `done` says 0. */
#include "dial.h"
#include "fd.h"
#include "hash.h"
#include "relay.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/socket.h>

#define RETRY_US     20000
#define LOOK_US      1000 /* for an answer, first; doubling up to RETRY_US */
#define ASK_AFTER_US 1000000
#define PROBE_EACH_S 75 /* as the system has it */
#define PROBES       5

void dial_set_keepalive(int fd, sa_family_t family, int keepalive_s)
{
	if (family == AF_UNIX)
		return;
	fd_set_option(fd, SOL_SOCKET, SO_KEEPALIVE, keepalive_s != 0);
	if (keepalive_s <= 0)
		return;
	fd_set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, keepalive_s);
	fd_set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, keepalive_s < PROBE_EACH_S ? keepalive_s : PROBE_EACH_S);
	fd_set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, PROBES);
}

void dial_set_patience(int fd, sa_family_t family, unsigned patience_ms)
{
	if (family != AF_UNIX)
		fd_set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)patience_ms);
}

bool dial_is_unix(const struct dial *dial)
{
	return dial->backends[dial->backend].address.sa.sa_family == AF_UNIX;
}

static void dial_finish(struct dial *dial, int error, uint32_t events)
{
	loop_timer_stop(dial->loop, &dial->patience);
	dial->done(dial, error, events);
}

/* An address that is not this machine's, for a socket that may not speak from any. */
static int bind_error(void)
{
	return errno == EADDRNOTAVAIL ? -EPERM : -errno;
}

/* The port that the client has may be taken here, by the client's own socket where it is on this machine, or not be ours to
 * take (below 1024). Then the kernel finds one once it knows where to. */
static int dial_bind(struct dial *dial, int fd)
{
	struct address from = address_unmapped(dial->from);

	fd_set_option(fd, SOL_SOCKET, SO_REUSEADDR,
		1); /* after a connection from there that has ended, or to another server */
	if (!dial->any_port && bind(fd, &from.sa, from.len) == 0)
		return 0;
	if (!dial->any_port && errno != EADDRINUSE && errno != EACCES)
		return bind_error();
	dial->any_port = true;
	address_set_port(&from, 0);
	fd_set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	return bind(fd, &from.sa, from.len) < 0 ? bind_error() : 0;
}

/* Against a peer that vanishes. One on this machine cannot, unless a packet filter sends elsewhere what goes there; whose
 * configuration asks for keepalive has it there too. */
static void dial_guard(const struct dial *dial, int fd, const struct address *to)
{
	if (dial->keepalive_s == KEEPALIVE_AFAR && address_is_loopback(to))
		return;
	dial_set_keepalive(fd, to->sa.sa_family, dial->keepalive_s);
	if (dial->patience_ms)
		dial_set_patience(fd, to->sa.sa_family, dial->patience_ms);
}

/* Takes over the socket. -EINPROGRESS: under way, dial_ready() will hear of it. 0: connected at once, as UNIX sockets do. */
static int dial_connect(struct dial *dial, int fd, const struct address *to)
{
	dial_guard(dial, fd, to);
	/* The ACK that ends the handshake then comes with the bytes. */
	if (dial->talks && to->sa.sa_family != AF_UNIX)
		fd_set_option(fd, IPPROTO_TCP, TCP_QUICKACK, 0);
	int error = dial->from ? dial_bind(dial, fd) : 0;
	if (error == 0)
		error = connect(fd, &to->sa, to->len) < 0 ? -errno : 0;
	if (error == 0 && dial->is_ours(dial, fd))
		error = -EDEADLK;
	if (error == 0 || error == -EINPROGRESS) {
		int r = loop_watch(dial->loop, dial->socket, fd, RELAY_EVENTS);
		dial->socket->sole =
			!dial->from; /* else the master made it, and its own descriptor is closed some time */
		if (r == 0)
			return error;
		error = r;
	}
	fd_close(fd);
	return error;
}

/* -EINPROGRESS: dial_supplied() will hear of it. */
static int dial_take(struct dial *dial, const struct address *to)
{
	return socket_pool_take(dial->socket_pool, to->sa.sa_family, &dial->waiter);
}

/* Takes over the socket. As dial_connect(). */
static int dial_use(struct dial *dial, int fd, const struct address *to)
{
	int error = dial_connect(dial, fd, to);

	if (error != -EADDRNOTAVAIL || !dial->from || dial->any_port)
		return error;
	dial->any_port = true; /* that very connection is there already, and the socket is bound for good */
	fd = dial_take(dial, to);
	return fd < 0 ? fd : dial_connect(dial, fd, to);
}

static int dial_try(struct dial *dial, const struct address *to)
{
	int fd;

	dial->any_port = false;
	if (dial->from)
		fd = dial_take(dial, to);
	else if ((fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0)
		fd = -errno;
	return fd < 0 ? fd : dial_use(dial, fd, to);
}

/* ---- which addresses there are ---- */

static bool is_named(const struct backend *backend)
{
	return backend->name != BACKEND_NO_NAME;
}

/* The addresses of a backend that could take the connection: who is to see the client's address must be of its family. `ret_all`: how
 * many there are with the others. */
static size_t dial_known(const struct dial *dial, const struct backend *backend,
	struct address ret[RESOLVED_ADDRESSES_MAX], size_t *ret_all)
{
	struct address known[RESOLVED_ADDRESSES_MAX] = { backend->address };
	sa_family_t family = dial->from ? address_unmapped(dial->from).sa.sa_family : AF_UNSPEC;
	size_t all = 1, n = 0;

	if (is_named(backend))
		all = lookup_read(dial->lookup, backend->name, backend->port, known);
	for (size_t i = 0; i < all; i++) {
		ret[n] = dial->from ? address_unmapped(&known[i]) : known[i];
		n += !dial->from || (ret[n].sa.sa_family == family && address_is_ip(&ret[n]));
	}
	*ret_all = all;
	return n;
}

/* The address that is to be tried now, and how many the backend has from there on; 0: it has no further one. */
static size_t dial_current(struct dial *dial, struct address *ret)
{
	struct address known[RESOLVED_ADDRESSES_MAX];
	size_t all, n = dial_known(dial, &dial->backends[dial->backend], known, &all);

	if (all == 0) {
		dial->try_again = true;
		dial->error = -EHOSTUNREACH;
	} else if (n == 0 && dial->error == 0) { /* others say more */
		dial->error = -EAFNOSUPPORT;
	}
	if (dial->address >= n)
		return 0;
	*ret = known[dial->address];
	return n - dial->address;
}

static uint64_t address_digest(const struct address *address)
{
	return hash_bytes(&address->sa, address->len);
}

static bool dial_is_still_known(const struct dial *dial)
{
	struct address known[RESOLVED_ADDRESSES_MAX];
	size_t all, n = dial_known(dial, &dial->backends[dial->backend], known, &all);

	for (size_t i = 0; i < n; i++)
		if (address_digest(&known[i]) == dial->trying)
			return true;
	return false;
}

/* Changes with any answer. */
static uint32_t dial_edition(const struct dial *dial)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < dial->n_backends; i++)
		if (is_named(&dial->backends[i]))
			sum += lookup_version(dial->lookup, dial->backends[i].name);
	return sum;
}

static bool dial_awaits_news(const struct dial *dial)
{
	for (size_t i = 0; i < dial->n_backends; i++)
		if (is_named(&dial->backends[i]) &&
			lookup_is_awaited(dial->lookup, dial->backends[i].name, dial->loop->now_us))
			return true;
	return false;
}

/* ---- one after the other ---- */

/* Until the address has had its share; with the last one of a name, until it is time to ask or to look for another. */
static int dial_arm(struct dial *dial, bool is_last)
{
	uint64_t due_us = dial->share_due_us, ask_us = dial->loop->now_us + ASK_AFTER_US;
	bool asks = is_last && is_named(&dial->backends[dial->backend]) && ask_us < due_us;

	return loop_timer(dial->loop, &dial->patience, asks ? ask_us : due_us);
}

/* An address that hangs must not eat the time of those behind it. */
static void dial_be_patient(struct dial *dial, const struct address *to, size_t n_here)
{
	uint64_t now_us = dial->loop->now_us;
	uint64_t left_us = dial->due_us > now_us ? dial->due_us - now_us : 0;
	struct address known[RESOLVED_ADDRESSES_MAX];
	size_t n_left = n_here, all;

	for (size_t i = dial->backend + 1; i < dial->n_backends; i++)
		n_left += dial_known(dial, &dial->backends[i], known, &all);
	dial->step = DIAL_CONNECTS;
	dial->trying = address_digest(to);
	dial->share_due_us = now_us + left_us / n_left;
	dial_arm(dial, n_here == 1);
}

/* Looks again soon, less often the longer it takes. */
static int dial_pause(struct dial *dial)
{
	int error = loop_timer(dial->loop, &dial->patience, dial->loop->now_us + dial->pause_us);
	dial->pause_us = dial->pause_us * 2 < RETRY_US ? dial->pause_us * 2 : RETRY_US;
	return error;
}

/* Where every connection asks: true while the answer may come. */
static bool dial_freshens(struct dial *dial)
{
	const struct backend *backend = &dial->backends[dial->backend];

	if (!dial->fresh || dial->address > 0 || !is_named(backend))
		return false;
	if (!dial->freshened && !lookup_is_fresh(dial->lookup, backend->name))
		lookup_ask(dial->lookup, backend->name, dial->loop->now_us);
	dial->freshened = true;
	dial->step = DIAL_FRESHENS;
	return lookup_is_awaited(dial->lookup, backend->name, dial->loop->now_us) && dial_pause(dial) == 0;
}

static void dial_all_failed(struct dial *dial)
{
	dial->pause_us = dial->try_again ? RETRY_US : LOOK_US;
	dial->step = dial->try_again || dial_edition(dial) != dial->edition ? DIAL_PAUSES : DIAL_AWAITS_NEWS;
	bool goes_on = dial->step == DIAL_PAUSES || dial_awaits_news(dial);
	if (!goes_on || dial_pause(dial) < 0)
		dial_finish(dial, dial->error, 0);
}

static void dial_advance(struct dial *dial)
{
	struct address to;

	for (; dial->backend < dial->n_backends; dial->backend++, dial->address = 0, dial->freshened = false) {
		if (dial_freshens(dial))
			return;
		for (size_t n; (n = dial_current(dial, &to)) > 0; dial->address++) {
			int error = dial_try(dial, &to);
			if (error == -EINPROGRESS) {
				dial_be_patient(dial, &to, n);
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
		if (is_named(&dial->backends[dial->backend]))
			lookup_ask(dial->lookup, dial->backends[dial->backend].name, dial->loop->now_us);
	}
	dial_all_failed(dial);
}

static void dial_from_start(struct dial *dial)
{
	dial->backend = 0;
	dial->address = 0;
	dial->freshened = false;
	dial->try_again = false;
	dial->pause_us = LOOK_US;
	dial->edition = dial_edition(dial);
	dial_advance(dial);
}

static void dial_next_address(struct dial *dial, int error)
{
	socket_pool_cancel(&dial->waiter);
	fd_close(loop_unwatch_to_close(dial->loop, dial->socket));
	dial->error = error;
	dial->address++;
	dial_advance(dial);
}

/* The address may be one where nobody is any more. */
static void dial_look_again(struct dial *dial)
{
	if (dial->loop->now_us >= dial->share_due_us) {
		dial_next_address(dial, -ETIMEDOUT);
		return;
	}
	if (!dial_is_still_known(dial)) {
		socket_pool_cancel(&dial->waiter);
		fd_close(loop_unwatch_to_close(dial->loop, dial->socket));
		dial->error = -ETIMEDOUT;
		dial_from_start(dial);
		return;
	}
	lookup_ask(dial->lookup, dial->backends[dial->backend].name, dial->loop->now_us);
	dial_arm(dial, true);
}

static void dial_out_of_patience(struct timer *timer)
{
	struct dial *dial = container_of(timer, struct dial, patience);

	switch (dial->step) {
	case DIAL_CONNECTS:
		dial_look_again(dial);
		break;
	case DIAL_FRESHENS:
		dial_advance(dial);
		break;
	case DIAL_PAUSES:
		dial_from_start(dial);
		break;
	case DIAL_AWAITS_NEWS:
		if (dial_edition(dial) != dial->edition)
			dial_from_start(dial);
		else if (!dial_awaits_news(dial) || dial_pause(dial) < 0)
			dial_finish(dial, dial->error, 0);
		break;
	}
}

static void dial_supplied(struct socket_pool_waiter *waiter, int fd)
{
	struct dial *dial = container_of(waiter, struct dial, waiter);
	struct address to;
	int error = fd;

	if (fd >= 0 && dial_current(dial, &to) > 0) {
		error = dial_use(dial, fd, &to);
	} else if (fd >= 0) { /* names have changed meanwhile */
		fd_close(fd);
		error = -EHOSTUNREACH;
	}
	if (error == 0)
		dial_finish(dial, 0, EPOLLOUT);
	else if (error != -EINPROGRESS)
		dial_next_address(dial, error);
}

void dial_start(struct dial *dial)
{
	dial->error = 0;
	dial->step = DIAL_CONNECTS;
	dial->waiter = (struct socket_pool_waiter){ .ready = dial_supplied };
	dial->patience = (struct timer){ .fired = dial_out_of_patience };
	dial_from_start(dial);
}

void dial_ready(struct dial *dial, uint32_t events)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		return;
	if (events & (EPOLLERR | EPOLLHUP))
		getsockopt(dial->socket->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error == 0 && !(events & EPOLLOUT))
		return;
	if (error == 0 && dial->is_ours(dial, dial->socket->fd))
		error = EDEADLK;
	if (error == 0)
		dial_finish(dial, 0, events);
	else
		dial_next_address(dial, -error);
}

void dial_cancel(struct dial *dial)
{
	loop_timer_stop(dial->loop, &dial->patience);
	socket_pool_cancel(&dial->waiter);
	fd_close(loop_unwatch_to_close(dial->loop, dial->socket));
}
