/* Connects to the first backend that answers. Refuses to wait: the deadline over all of it is the caller's. Owns the socket
 * until `done` says 0. */
#include "dial.h"
#include "fd.h"
#include "name_cache.h"
#include "relay.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/socket.h>

#define RETRY_US     20000
#define COMING_US    50000 /* a server that is being started is looked for so often */
#define LOOK_US      1000  /* for an answer, first; doubling up to RETRY_US */
#define ASK_AFTER_US 1000000
#define PROBE_EACH_S 75 /* as the system has it */
#define PROBES       5
#define SHARES_MAX   4       /* of the time that is left */
#define HANGS_US     1000000 /* after so long at the latest a backend hangs, */

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
	return dial->target->connect.backends[dial->backend].address.sa.sa_family == AF_UNIX;
}

static void dial_free_own(struct dial *dial)
{
	if (!dial->own)
		return;
	chooser_free(dial->own);
	dial->own = dial->choice.chooser = NULL;
}

static void dial_finish(struct dial *dial, int error, uint32_t events)
{
	loop_timer_stop(dial->loop, &dial->patience);
	dial_free_own(dial);
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

/* ---- which names there are ---- */

static bool is_named(const struct backend *backend)
{
	return backend->name != BACKEND_NO_NAME;
}

static const struct backend *dial_backend(const struct dial *dial)
{
	return &dial->target->connect.backends[dial->backend];
}

/* The address that is tried: who is to see the client's address takes it as it is, not mapped into IPv6. */
static struct address dial_address(const struct dial *dial)
{
	return dial->from ? address_unmapped(&dial->choice.taken.address) : dial->choice.taken.address;
}

/* Changes with any answer. */
static uint32_t dial_edition(const struct dial *dial)
{
	const struct target *target = dial->target;
	uint32_t sum = 0;

	for (size_t i = 0; target->connect.has_names && i < target->connect.n_backends; i++)
		if (is_named(&target->connect.backends[i]))
			sum += lookup_version(dial->lookup, target->connect.backends[i].name);
	return sum;
}

static bool dial_awaits_news(const struct dial *dial)
{
	const struct target *target = dial->target;

	for (size_t i = 0; target->connect.has_names && i < target->connect.n_backends; i++)
		if (is_named(&target->connect.backends[i]) &&
			lookup_is_awaited(dial->lookup, target->connect.backends[i].name, dial->loop->now_us))
			return true;
	return false;
}

/* Names without an answer: they are asked for, and may have one in a moment. */
static void dial_ask_for_unknown(struct dial *dial)
{
	const struct target *target = dial->target;

	for (size_t i = 0; target->connect.has_names && i < target->connect.n_backends; i++) {
		const struct backend *backend = &target->connect.backends[i];
		if (!is_named(backend) || lookup_version(dial->lookup, backend->name) > 0)
			continue;
		lookup_ask(dial->lookup, backend->name, dial->loop->now_us);
		dial->try_again = true;
		dial->error = -EHOSTUNREACH;
	}
}

/* ---- one after the other ---- */

static bool dial_is_last_of_name(struct dial *dial)
{
	return is_named(dial_backend(dial)) && !choose_has_other(&dial->choice, dial->loop->now_us);
}

/* Until the address has had its share; with the last one of a name, until it is time to ask or to look for another. */
static void dial_arm(struct dial *dial)
{
	uint64_t due_us = dial->share_due_us, ask_us = dial->loop->now_us + ASK_AFTER_US;
	bool asks = ask_us < due_us && dial_is_last_of_name(dial);

	loop_timer(dial->loop, &dial->patience, asks ? ask_us : due_us);
}

/* An address that hangs must not eat the time of those behind it; nor may there be so many that each has hardly any. */
static void dial_be_patient(struct dial *dial)
{
	uint64_t now_us = dial->loop->now_us;
	uint64_t left_us = dial->due_us > now_us ? dial->due_us - now_us : 0;
	unsigned n_left = choose_left(&dial->choice, now_us, SHARES_MAX);

	dial->step = DIAL_CONNECTS;
	dial->share_due_us = now_us + left_us / (n_left ? n_left : 1);
	dial_arm(dial);
}

/* Looks again soon, less often the longer it takes. */
static int dial_pause(struct dial *dial)
{
	int error = loop_timer(dial->loop, &dial->patience, dial->loop->now_us + dial->pause_us);
	dial->pause_us = dial->pause_us * 2 < RETRY_US ? dial->pause_us * 2 : RETRY_US;
	return error;
}

/* Where every connection asks: names up to this one of the list, when it is their turn. True while an answer may come. */
static bool dial_freshens(struct dial *dial, size_t upto)
{
	const struct target *target = dial->target;

	for (; dial->freshened < target->connect.n_backends && dial->freshened <= upto; dial->freshened++) {
		const struct backend *backend = &target->connect.backends[dial->freshened];
		if (!is_named(backend))
			continue;
		if (!dial->asked_anew && !lookup_is_fresh(dial->lookup, backend->name))
			lookup_ask(dial->lookup, backend->name, dial->loop->now_us);
		dial->asked_anew = true;
		dial->step = DIAL_FRESHENS;
		if (lookup_is_awaited(dial->lookup, backend->name, dial->loop->now_us) && dial_pause(dial) == 0)
			return true;
		dial->asked_anew = false;
		dial->pause_us = LOOK_US;
	}
	return false;
}

static void dial_all_failed(struct dial *dial)
{
	dial_ask_for_unknown(dial);
	dial->pause_us = dial->is_coming ? COMING_US : dial->try_again ? RETRY_US : LOOK_US;
	dial->step = dial->try_again || dial_edition(dial) != dial->edition ? DIAL_PAUSES : DIAL_AWAITS_NEWS;
	bool goes_on = dial->step == DIAL_PAUSES || dial_awaits_news(dial);
	if (!goes_on || dial_pause(dial) < 0)
		dial_finish(dial, dial->error, 0);
}

/* The first in the line looks now and then: whoever makes room may be another worker. */
static void dial_wait_in_line(struct dial *dial)
{
	dial->step = DIAL_IN_LINE;
	if (!choose_wait(&dial->choice) ||
		(choose_is_next(&dial->choice) &&
			loop_timer(dial->loop, &dial->patience, dial->loop->now_us + RETRY_US) < 0)) {
		choose_leave(&dial->choice, dial->loop->now_us);
		dial_finish(dial, -EBUSY, 0);
	}
}

static void dial_called(struct choice *choice)
{
	struct dial *dial = container_of(choice, struct dial, choice);

	if (dial->step == DIAL_IN_LINE)
		loop_timer(dial->loop, &dial->patience, dial->loop->now_us);
}

static void dial_connected(struct dial *dial, uint32_t events)
{
	choose_connected(&dial->choice, dial->loop->now_us);
	dial_finish(dial, 0, events);
}

static void dial_failed(struct dial *dial, int error)
{
	dial->error = error;
	if (dial->absent && (error == -ECONNREFUSED || error == -ENOENT) && dial->absent(dial) == 0) {
		dial->is_coming = true;
		error = -EAGAIN;
	}
	dial->try_again |= error == -EAGAIN;
	choose_failed(&dial->choice, error, dial->loop->now_us);
	if (dial_is_last_of_name(dial))
		lookup_ask(dial->lookup, dial_backend(dial)->name, dial->loop->now_us);
}

/* The one that was chosen, once names up to it are as fresh as they are to be. 0; -EINPROGRESS: they are waited for; else as choose_next(). */
static int dial_choose(struct dial *dial)
{
	const struct target *target = dial->target;
	bool in_order = target->connect.balance == BALANCE_FIRST;

	for (;;) {
		size_t known = dial->freshened;
		int error = choose_next(&dial->choice, dial->loop->now_us);
		size_t upto = error == 0 && in_order ? dial->choice.taken.backend : target->connect.n_backends;
		if (!dial->fresh || (error < 0 && error != -EHOSTUNREACH) || known > upto ||
			known == target->connect.n_backends)
			return error;
		choose_leave(&dial->choice, dial->loop->now_us);
		if (dial_freshens(dial, upto))
			return -EINPROGRESS;
	}
}

static void dial_advance(struct dial *dial)
{
	int error;

	while ((error = dial_choose(dial)) == 0) {
		dial->backend = dial->choice.taken.backend;
		struct address to = dial_address(dial);
		error = dial_try(dial, &to);
		if (error == -EINPROGRESS) {
			dial_be_patient(dial);
			return;
		}
		if (error == 0) {
			dial_connected(dial, EPOLLOUT);
			return;
		}
		dial_failed(dial, error);
	}
	if (error == -EINPROGRESS)
		return;
	if (error == -EBUSY) {
		dial_wait_in_line(dial);
		return;
	}
	if (dial->error == 0) /* others say more */
		dial->error = error;
	dial_all_failed(dial);
}

static void dial_from_start(struct dial *dial)
{
	choose_again(&dial->choice);
	dial->freshened = 0;
	dial->asked_anew = false;
	dial->try_again = dial->is_coming = false;
	dial->pause_us = LOOK_US;
	dial->edition = dial_edition(dial);
	dial_advance(dial);
}

/* ---- a name that the client asked for ---- */

static int dial_choose_among(struct dial *dial, struct name_cached *found)
{
	struct address usable[NAME_CACHE_ADDRESSES];
	size_t n = 0;

	if (found->n == 0)
		return NAME_NOT_KNOWN;
	for (size_t i = 0; i < found->n; i++) {
		if (!dial->reaches(dial, &found->addresses[i]))
			continue;
		usable[n] = found->addresses[i];
		address_set_port(&usable[n++], dial->target->connect.backends[0].port);
	}
	if (n == 0)
		return NAME_NOT_REACHED;
	dial->own = dial->choice.chooser = chooser_new_of(dial->target, usable, n);
	return dial->own ? 0 : -ENOMEM;
}

static void dial_look_up(struct dial *dial)
{
	uint64_t now_us = dial->loop->now_us;
	struct name_cached found;
	int error = 0;

	if (lookup_find(dial->lookup, dial->name, &found)) {
		error = dial_choose_among(dial, &found);
		if (error == 0)
			dial_from_start(dial);
	} else {
		if (dial->asked_us == 0 || now_us - dial->asked_us >= ASK_AFTER_US) {
			lookup_ask_for(dial->lookup, dial->name, dial->source);
			dial->asked_us = now_us;
		}
		dial->step = DIAL_LOOKS_UP;
		error = dial_pause(dial);
	}
	if (error < 0)
		dial_finish(dial, error, 0);
}

static void dial_next_address(struct dial *dial, int error)
{
	socket_pool_cancel(&dial->waiter);
	fd_close(loop_unwatch_to_close(dial->loop, dial->socket));
	dial_failed(dial, error);
	dial_advance(dial);
}

/* The address may be one where nobody is any more. */
static void dial_look_again(struct dial *dial)
{
	if (dial->loop->now_us >= dial->share_due_us) {
		dial_next_address(dial, -ETIMEDOUT);
		return;
	}
	if (!choose_is_there(&dial->choice, dial->loop->now_us)) {
		socket_pool_cancel(&dial->waiter);
		fd_close(loop_unwatch_to_close(dial->loop, dial->socket));
		dial->error = -ETIMEDOUT;
		choose_leave(&dial->choice, dial->loop->now_us);
		dial_from_start(dial);
		return;
	}
	lookup_ask(dial->lookup, dial_backend(dial)->name, dial->loop->now_us);
	dial_arm(dial);
}

static void dial_out_of_patience(struct timer *timer)
{
	struct dial *dial = container_of(timer, struct dial, patience);

	switch (dial->step) {
	case DIAL_CONNECTS:
		dial_look_again(dial);
		break;
	case DIAL_FRESHENS:
	case DIAL_IN_LINE:
		dial_advance(dial);
		break;
	case DIAL_PAUSES:
		dial_from_start(dial);
		break;
	case DIAL_LOOKS_UP:
		dial_look_up(dial);
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
	int error = fd;

	if (fd >= 0 && choose_is_there(&dial->choice, dial->loop->now_us)) {
		struct address to = dial_address(dial);
		error = dial_use(dial, fd, &to);
	} else if (fd >= 0) { /* names have changed meanwhile */
		fd_close(fd);
		error = -EHOSTUNREACH;
	}
	if (error == 0)
		dial_connected(dial, EPOLLOUT);
	else if (error != -EINPROGRESS)
		dial_next_address(dial, error);
}

/* or after a quarter of the time for all, where that is less. */
static uint64_t patient_us(const struct dial *dial)
{
	uint64_t quarter_us =
		dial->due_us > dial->loop->now_us ? (dial->due_us - dial->loop->now_us) / SHARES_MAX : 0;
	return quarter_us < HANGS_US ? quarter_us : HANGS_US;
}

void dial_start(struct dial *dial)
{
	dial->error = 0;
	dial->step = DIAL_CONNECTS;
	dial->waiter = (struct socket_pool_waiter){ .ready = dial_supplied };
	dial->patience = (struct timer){ .fired = dial_out_of_patience };
	dial->backend = 0;
	dial->choice.called = dial_called;
	if (dial->from)
		dial->choice.family = address_is_ip(dial->from) ? address_unmapped(dial->from).sa.sa_family : AF_MAX;
	dial->choice.patient_us = patient_us(dial);
	dial->pause_us = LOOK_US;
	if (dial->name)
		dial_look_up(dial);
	else
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
		dial_connected(dial, events);
	else
		dial_next_address(dial, -error);
}

void dial_cancel(struct dial *dial)
{
	loop_timer_stop(dial->loop, &dial->patience);
	socket_pool_cancel(&dial->waiter);
	fd_close(loop_unwatch_to_close(dial->loop, dial->socket));
	choose_leave(&dial->choice, dial->loop->now_us);
	dial_free_own(dial);
}

int dial_expire(struct dial *dial)
{
	bool in_line = dial->step == DIAL_IN_LINE;

	if (dial->step == DIAL_CONNECTS)
		choose_failed(&dial->choice, -ETIMEDOUT, dial->loop->now_us);
	dial_cancel(dial);
	return in_line ? -EBUSY : -ETIMEDOUT;
}
