/* A dial: which address is tried when, for how long, from where, and what the caller hears. The clock is the test's, and connect(), bind() and
 * what a socket says of its connection are as well: no packet is sent. */
#include "dial.h"
#include "relay.h"
#include "turn.h"
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/un.h>

#define DUE_US   (10 * SECOND_US)
#define MILLI_US 1000ULL

/* ---- between the dial and the kernel ------------------------------------------------------------------------------------ */

static struct script connects, binds, sockets, adds, reallocs;
static struct address tried[32], bound[8]; /* in this order */
static size_t n_tried, n_bound;
static int socket_error; /* SO_ERROR */
static unsigned n_asked_for_error;

static struct {
	int level, option, value;
} options[32];
static size_t n_options;

static void address_take(struct address *ret, const struct sockaddr *sa, socklen_t len)
{
	*ret = (struct address){ .len = len };
	memcpy(&ret->sa, sa, len);
}

int __wrap_connect(int fd, const struct sockaddr *to, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t len)
{
	ssize_t r;

	if (to->sa_family == AF_UNSPEC)
		return 0; /* fd_reset() */
	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	address_take(&tried[n_tried++], to, len);
	if (script_answers(&connects, &r))
		return (int)r;
	errno = EINPROGRESS;
	return -1;
}

int __wrap_bind(int fd, const struct sockaddr *to, socklen_t len);
int __wrap_bind(int fd, const struct sockaddr *to, socklen_t len)
{
	ssize_t r = 0;

	address_take(&bound[n_bound++], to, len);
	(void)script_answers(&binds, &r);
	return (int)r;
}

int __real_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol)
{
	ssize_t r;
	return script_answers(&sockets, &r) ? (int)r : __real_socket(family, type, protocol);
}

int __real_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
	ssize_t r;

	if (what == EPOLL_CTL_ADD) {
		assert_int_equal(event->events, RELAY_EVENTS);
		if (script_answers(&adds, &r))
			return (int)r;
	}
	return __real_epoll_ctl(epoll, what, fd, event);
}

int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t len);
int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
	options[n_options].level = level;
	options[n_options].option = option;
	options[n_options++].value = *(const int *)value;
	return 0;
}

int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
	assert_int_equal(level, SOL_SOCKET);
	assert_int_equal(option, SO_ERROR);
	*(int *)value = socket_error;
	n_asked_for_error++;
	return 0;
}

void *__real_reallocarray(void *old, size_t n, size_t size);
void *__wrap_reallocarray(void *old, size_t n, size_t size);
void *__wrap_reallocarray(void *old, size_t n, size_t size)
{
	ssize_t r;
	return script_answers(&reallocs, &r) ? NULL : __real_reallocarray(old, n, size);
}

/* ---- the world ----------------------------------------------------------------------------------------------------------- */

static const char *const names[] = { "one.test", "two.test" };

static struct loop loop;
static struct dial dial;
static struct watch watched;
static struct resolved *table;
static struct lookup *lookup;
static struct socket_pool *pool;
static struct backend backends[4];
static struct address from;
static unsigned asked[2], pool_asked;
static int n_done, done_error;
static uint32_t done_events;
static bool ours;
static int fds_before;

static int ask(void *context, uint32_t name)
{
	asked[name]++;
	return 0;
}

static int pool_ask(void *context, sa_family_t family)
{
	pool_asked++;
	return 0;
}

static void done(struct dial *which, int error, uint32_t events)
{
	assert_ptr_equal(which, &dial);
	n_done++;
	done_error = error;
	done_events = events;
}

static bool is_ours(const struct dial *which, int fd)
{
	assert_ptr_equal(which->context, &ours);
	assert_true(fd >= 0);
	return ours;
}

/* What the kernel says of a socket that was never connected is of no interest: the test says what happens. */
static void unheard(struct watch *watch, uint32_t events)
{
}

static int setup(void **state)
{
	fds_before = fds_open();
	connects = binds = sockets = adds = reallocs = (struct script){ 0 };
	n_tried = n_bound = n_options = 0;
	socket_error = 0;
	n_asked_for_error = 0;
	asked[0] = asked[1] = pool_asked = 0;
	n_done = done_error = 0;
	ours = false;
	clock_us += 100 * SECOND_US;
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(resolved_new(&table, names, 2), 0);
	assert_non_null(lookup = lookup_new(table, ask, NULL));
	assert_non_null(pool = socket_pool_new(pool_ask, NULL));
	watched = (struct watch){ .fd = -1, .ready = unheard };
	memset(&dial, 0xff, sizeof(dial)); /* whatever the memory had */
	dial = (struct dial){
		.loop = &loop,
		.lookup = lookup,
		.backends = backends,
		.keepalive_s = KEEPALIVE_AFAR,
		.socket_pool = pool,
		.due_us = clock_us + DUE_US,
		.socket = &watched,
		.is_ours = is_ours,
		.context = &ours,
		.done = done,
	};
	return 0;
}

static int teardown(void **state)
{
	dial_cancel(&dial);
	assert_int_equal(watched.fd, -1);
	assert_int_equal(loop.timers.count, 0);
	lookup_free(lookup);
	resolved_free(table);
	socket_pool_free(pool);
	loop_fini(&loop);
	assert_int_equal(fds_open(), fds_before);
	return 0;
}

static void add_address(const char *text)
{
	struct backend *backend = &backends[dial.n_backends++];

	*backend = (struct backend){ .text = text, .name = BACKEND_NO_NAME };
	assert_int_equal(address_parse(&backend->address, text), 0);
}

static void add_name(uint32_t name)
{
	backends[dial.n_backends++] = (struct backend){ .text = names[name], .name = name, .port = 80 };
}

static void answer(uint32_t name, const char *first, const char *second)
{
	struct address addresses[2];
	size_t n = 0;

	if (first)
		assert_int_equal(address_parse(&addresses[n++], first), 0);
	if (second)
		assert_int_equal(address_parse(&addresses[n++], second), 0);
	resolved_write(table, name, addresses, n);
	resolved_end(table, name, false);
}

static void start(void)
{
	loop.now_us = clock_us;
	dial_start(&dial);
}

static void assert_tried(size_t n, const char *last)
{
	char text[ADDRESS_TEXT_MAX];

	assert_int_equal(n_tried, n);
	assert_string_equal(address_format(&tried[n - 1], text), last);
}

static void assert_under_way(void)
{
	assert_int_equal(n_done, 0);
}

static void assert_connected(uint32_t events)
{
	assert_int_equal(n_done, 1);
	assert_int_equal(done_error, 0);
	assert_int_equal(done_events, events);
	assert_true(watched.fd >= 0);
	assert_true(watched.listed);
	assert_int_equal(loop.timers.count, 0);
}

static void assert_failed(int error)
{
	assert_int_equal(n_done, 1);
	assert_int_equal(done_error, error);
	assert_int_equal(done_events, 0);
	assert_int_equal(watched.fd, -1);
	assert_int_equal(loop.timers.count, 0);
}

static int option_value(int level, int option)
{
	for (size_t i = 0; i < n_options; i++)
		if (options[i].level == level && options[i].option == option)
			return options[i].value;
	return -1;
}

/* ---- one address --------------------------------------------------------------------------------------------------------- */

static void a_connection_that_is_made_is_told(void **state)
{
	add_address("192.0.2.1:80");
	start();
	assert_tried(1, "192.0.2.1:80");
	assert_under_way();
	dial_ready(&dial, EPOLLIN | EPOLLRDHUP);
	assert_under_way();
	dial_ready(&dial, EPOLLOUT | EPOLLIN);
	assert_connected(EPOLLOUT | EPOLLIN);
	assert_int_equal(n_asked_for_error, 0);
	assert_true(watched.sole);
	assert_int_equal(dial.backend, 0);
	assert_false(dial_is_unix(&dial));
}

static void a_connection_that_is_made_at_once_is_told_at_once(void **state)
{
	SCRIPT(&connects, 0);
	add_address("unix:/run/server");
	start();
	assert_connected(EPOLLOUT);
	assert_true(dial_is_unix(&dial));
}

static void an_error_is_looked_for_before_it_counts_as_made(void **state)
{
	add_address("192.0.2.1:80");
	start();
	dial_ready(&dial, EPOLLHUP);
	assert_under_way();
	assert_int_equal(n_asked_for_error, 1);
	dial_ready(&dial, EPOLLERR);
	assert_under_way();
	dial_ready(&dial, EPOLLHUP | EPOLLOUT);
	assert_connected(EPOLLHUP | EPOLLOUT);
	assert_int_equal(n_asked_for_error, 3);
}

static void a_refusal_is_told(void **state)
{
	add_address("192.0.2.1:80");
	start();
	socket_error = ECONNREFUSED;
	dial_ready(&dial, EPOLLERR | EPOLLOUT);
	assert_failed(-ECONNREFUSED);
}

static void one_that_leads_back_to_ourselves_is_none(void **state)
{
	ours = true;
	SCRIPT(&connects, 0);
	add_address("192.0.2.1:80");
	add_address("192.0.2.2:80");
	start();
	assert_tried(2, "192.0.2.2:80");
	dial_ready(&dial, EPOLLOUT);
	assert_failed(-EDEADLK);
}

static void without_a_descriptor_it_fails(void **state)
{
	SCRIPT(&sockets, -EMFILE);
	add_address("192.0.2.1:80");
	start();
	assert_failed(-EMFILE);
	assert_int_equal(n_tried, 0);
}

static void a_socket_that_cannot_be_watched_is_closed(void **state)
{
	SCRIPT(&adds, -ENOSPC, -ENOMEM);
	add_address("192.0.2.1:80");
	add_address("192.0.2.2:80");
	start();
	assert_failed(-ENOMEM);
}

static void a_dial_that_is_cancelled_says_nothing(void **state)
{
	add_address("192.0.2.1:80");
	start();
	dial_cancel(&dial);
	assert_int_equal(watched.fd, -1);
	assert_int_equal(loop.timers.count, 0);
	dial_cancel(&dial);
	turn_after(&loop, 2 * DUE_US);
	assert_under_way();
}

/* ---- options of its socket ----------------------------------------------------------------------------------------------- */

static void dial_with(int keepalive_s, const char *text)
{
	n_options = 0;
	dial.n_backends = 0;
	dial.keepalive_s = keepalive_s;
	add_address(text);
	start();
	dial_cancel(&dial);
}

static void keepalive_is_as_it_was_asked_for(void **state)
{
	dial_with(0, "192.0.2.1:80");
	assert_int_equal(n_options, 1);
	assert_int_equal(option_value(SOL_SOCKET, SO_KEEPALIVE), 0);
	dial_with(KEEPALIVE_SYSTEM, "127.0.0.1:80");
	assert_int_equal(n_options, 1);
	assert_int_equal(option_value(SOL_SOCKET, SO_KEEPALIVE), 1);
	dial_with(1, "192.0.2.1:80");
	assert_int_equal(n_options, 4);
	assert_int_equal(option_value(SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option_value(IPPROTO_TCP, TCP_KEEPIDLE), 1);
	assert_int_equal(option_value(IPPROTO_TCP, TCP_KEEPINTVL), 1);
	assert_int_equal(option_value(IPPROTO_TCP, TCP_KEEPCNT), 5);
	dial_with(76, "192.0.2.1:80");
	assert_int_equal(option_value(IPPROTO_TCP, TCP_KEEPIDLE), 76);
	assert_int_equal(option_value(IPPROTO_TCP, TCP_KEEPINTVL), 75);
	dial_with(74, "192.0.2.1:80");
	assert_int_equal(option_value(IPPROTO_TCP, TCP_KEEPINTVL), 74);
	dial_with(74, "unix:/run/server");
	assert_int_equal(n_options, 0);
}

static void a_peer_on_this_machine_does_not_vanish(void **state)
{
	dial.patience_ms = 5000;
	dial_with(KEEPALIVE_AFAR, "127.0.0.1:80");
	assert_int_equal(n_options, 0);
	dial_with(KEEPALIVE_AFAR, "192.0.2.1:80");
	assert_int_equal(n_options, 2);
	assert_int_equal(option_value(SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option_value(IPPROTO_TCP, TCP_USER_TIMEOUT), 5000);
	dial_with(60, "127.0.0.1:80");
	assert_int_equal(option_value(IPPROTO_TCP, TCP_USER_TIMEOUT), 5000);
	dial_with(60, "unix:/run/server");
	assert_int_equal(n_options, 0);
	dial.patience_ms = 0;
	dial_with(60, "192.0.2.1:80");
	assert_int_equal(option_value(IPPROTO_TCP, TCP_USER_TIMEOUT), -1);
}

static void the_last_ack_comes_with_the_bytes_that_are_there(void **state)
{
	dial.talks = true;
	dial_with(KEEPALIVE_AFAR, "127.0.0.1:80");
	assert_int_equal(n_options, 1);
	assert_int_equal(option_value(IPPROTO_TCP, TCP_QUICKACK), 0);
	dial_with(KEEPALIVE_AFAR, "unix:/run/server");
	assert_int_equal(n_options, 0);
}

/* ---- one after the other ------------------------------------------------------------------------------------------------- */

static void backends_are_tried_in_order(void **state)
{
	SCRIPT(&connects, -ECONNREFUSED, -EINPROGRESS, -ENETUNREACH, -EINPROGRESS);
	add_address("192.0.2.1:80");
	add_address("192.0.2.2:80");
	add_address("192.0.2.3:80");
	add_address("192.0.2.4:80");
	start();
	assert_tried(2, "192.0.2.2:80");
	socket_error = ETIMEDOUT;
	dial_ready(&dial, EPOLLERR);
	assert_tried(4, "192.0.2.4:80");
	assert_under_way();
	socket_error = 0;
	dial_ready(&dial, EPOLLOUT);
	assert_connected(EPOLLOUT);
	assert_int_equal(dial.backend, 3);
}

static void the_last_error_is_told(void **state)
{
	SCRIPT(&connects, -ECONNREFUSED, -ENETUNREACH);
	add_address("192.0.2.1:80");
	add_address("192.0.2.2:80");
	start();
	assert_failed(-ENETUNREACH);
}

static void each_address_has_an_equal_share_of_the_time(void **state)
{
	add_address("192.0.2.1:80");
	add_address("192.0.2.2:80");
	add_address("192.0.2.3:80");
	start();
	turn_after(&loop, DUE_US / 3 - 1);
	assert_int_equal(n_tried, 1);
	turn_after(&loop, 1);
	assert_tried(2, "192.0.2.2:80");
	socket_error = ECONNREFUSED;
	turn_after(&loop, SECOND_US);
	dial_ready(&dial, EPOLLERR);
	assert_tried(3, "192.0.2.3:80"); /* it has all that is left */
	turn_after(&loop, DUE_US - DUE_US / 3 - SECOND_US - 1);
	assert_under_way();
	turn_after(&loop, 1);
	assert_failed(-ETIMEDOUT);
}

static void behind_the_deadline_there_is_no_time(void **state)
{
	dial.due_us = clock_us - 1;
	add_address("192.0.2.1:80");
	start();
	assert_under_way();
	turn_after(&loop, 0);
	assert_failed(-ETIMEDOUT);
}

/* A UNIX socket says EAGAIN where its backlog is full. */
static void a_backlog_that_is_full_is_tried_again_soon(void **state)
{
	SCRIPT(&connects, -EAGAIN, -ECONNREFUSED, -EAGAIN, -ECONNREFUSED, 0);
	add_address("unix:/run/server");
	add_address("192.0.2.1:80");
	start();
	assert_int_equal(n_tried, 2);
	turn_after(&loop, 20 * MILLI_US - 1);
	assert_int_equal(n_tried, 2);
	turn_after(&loop, 1);
	assert_int_equal(n_tried, 4);
	assert_under_way();
	turn_after(&loop, 20 * MILLI_US);
	assert_connected(EPOLLOUT);
	assert_int_equal(dial.backend, 0);
}

static void what_was_full_once_is_not_tried_for_ever(void **state)
{
	SCRIPT(&connects, -EAGAIN, -ECONNREFUSED);
	add_address("unix:/run/server");
	start();
	turn_after(&loop, 20 * MILLI_US);
	assert_failed(-ECONNREFUSED);
}

static void without_memory_for_a_pause_it_fails(void **state)
{
	SCRIPT(&connects, -EAGAIN);
	SCRIPT(&reallocs, -1);
	add_address("unix:/run/server");
	start();
	assert_failed(-EAGAIN);
}

/* ---- names --------------------------------------------------------------------------------------------------------------- */

static void the_addresses_of_a_name_are_tried_in_order(void **state)
{
	answer(0, "192.0.2.1:1", "192.0.2.2:1");
	SCRIPT(&connects, -ECONNREFUSED);
	add_name(0);
	add_address("192.0.2.9:80");
	start();
	assert_tried(2, "192.0.2.2:80");
	assert_int_equal(asked[0], 0);
	/* The second address and the other backend share what is left. */
	socket_error = ECONNREFUSED;
	dial_ready(&dial, EPOLLERR);
	assert_tried(3, "192.0.2.9:80");
	assert_int_equal(asked[0], 1); /* none of its addresses takes the connection */
	assert_int_equal(asked[1], 0);
}

static void addresses_of_names_count_for_the_shares(void **state)
{
	answer(0, "192.0.2.1:1", "192.0.2.2:1");
	answer(1, "192.0.2.3:1", "192.0.2.4:1");
	add_name(0);
	add_name(1);
	start();
	assert_int_equal(dial.share_due_us, clock_us + DUE_US / 4);
	turn_after(&loop, DUE_US / 4);
	assert_tried(2, "192.0.2.2:80");
	assert_int_equal(dial.share_due_us, clock_us + DUE_US / 4);
}

static void a_name_without_an_answer_is_waited_for(void **state)
{
	add_name(0);
	start();
	assert_int_equal(n_tried, 0);
	assert_int_equal(asked[0], 1);
	turn_after(&loop, 20 * MILLI_US - 1);
	answer(0, "192.0.2.1:1", NULL);
	turn(&loop);
	assert_int_equal(n_tried, 0);
	turn_after(&loop, 1);
	assert_tried(1, "192.0.2.1:80");
	assert_under_way();
}

static void a_name_without_an_answer_does_not_keep_others_waiting(void **state)
{
	SCRIPT(&connects, 0);
	add_name(0);
	add_address("192.0.2.1:80");
	start();
	assert_connected(EPOLLOUT);
	assert_int_equal(dial.backend, 1);
}

static void where_all_fail_a_new_answer_is_awaited(void **state)
{
	uint64_t pause = MILLI_US;

	SCRIPT(&connects, -ECONNREFUSED, 0);
	answer(0, "192.0.2.1:1", NULL);
	add_name(0);
	start();
	assert_int_equal(asked[0], 1);
	for (uint64_t waited = 0; waited < SECOND_US / 2;
		waited += pause, pause = pause * 2 < 20 * MILLI_US ? pause * 2 : 20 * MILLI_US) {
		assert_int_equal(loop.timers.heap[1]->due_us, clock_us + pause); /* less often the longer it takes */
		turn_after(&loop, pause);
		assert_int_equal(n_tried, 1);
		assert_under_way();
	}
	answer(0, "192.0.2.2:1", NULL);
	turn_after(&loop, pause);
	assert_tried(2, "192.0.2.2:80");
	assert_connected(EPOLLOUT);
}

static void an_answer_that_brings_no_news_ends_the_wait(void **state)
{
	SCRIPT(&connects, -ECONNREFUSED);
	answer(0, "192.0.2.1:1", NULL);
	add_name(0);
	start();
	assert_under_way();
	resolved_end(table, 0, false);
	turn_after(&loop, MILLI_US);
	assert_failed(-ECONNREFUSED);
}

static void an_answer_is_awaited_for_a_second(void **state)
{
	SCRIPT(&connects, -ECONNREFUSED);
	answer(0, "192.0.2.1:1", NULL);
	add_name(0);
	start();
	turn_after(&loop, SECOND_US - 1);
	assert_under_way();
	turn_after(&loop, 20 * MILLI_US);
	assert_failed(-ECONNREFUSED);
}

static void addresses_alone_bring_no_news(void **state)
{
	SCRIPT(&connects, -ECONNREFUSED, -ECONNREFUSED);
	answer(0, "192.0.2.1:1", NULL);
	add_name(0);
	start();
	assert_under_way();
	dial_cancel(&dial);
	dial.n_backends = 0;
	add_address("192.0.2.1:80");
	start();
	assert_failed(-ECONNREFUSED);
}

static void an_answer_that_came_meanwhile_is_tried_at_once(void **state)
{
	answer(1, "192.0.2.1:1", NULL);
	add_name(1);
	start();
	answer(1, "192.0.2.2:1", NULL);
	socket_error = ECONNREFUSED;
	dial_ready(&dial, EPOLLERR);
	assert_int_equal(n_tried, 1);
	turn_after(&loop, MILLI_US - 1);
	assert_int_equal(n_tried, 1);
	turn_after(&loop, 1);
	assert_tried(2, "192.0.2.2:80");
}

static void a_wait_for_news_without_memory_ends(void **state)
{
	SCRIPT(&connects, -ECONNREFUSED);
	SCRIPT(&reallocs, -1);
	answer(0, "192.0.2.1:1", NULL);
	add_name(0);
	start();
	assert_failed(-ECONNREFUSED);
}

/* ---- an address where nobody is any more --------------------------------------------------------------------------------- */

static void a_name_that_does_not_answer_is_asked_for_after_a_second(void **state)
{
	answer(0, "192.0.2.1:1", NULL);
	add_name(0);
	start();
	turn_after(&loop, SECOND_US - 1);
	assert_int_equal(asked[0], 0);
	turn_after(&loop, 1);
	assert_int_equal(asked[0], 1);
	turn_after(&loop, SECOND_US);
	assert_int_equal(asked[0], 2);
	assert_int_equal(n_tried, 1);
	resolved_end(table, 0, false);
	for (int i = 0; i < 7; i++)
		turn_after(&loop, SECOND_US);
	assert_under_way();
	turn_after(&loop, SECOND_US - 1);
	assert_under_way();
	turn_after(&loop, 1);
	assert_int_equal(asked[0], 10); /* behind its last address, once more: that answer is awaited */
	assert_int_equal(watched.fd, -1);
	resolved_end(table, 0, false);
	turn_after(&loop, MILLI_US);
	assert_failed(-ETIMEDOUT);
}

static void an_address_that_is_not_the_names_any_more_is_given_up(void **state)
{
	answer(0, "192.0.2.1:1", NULL);
	add_name(0);
	start();
	turn_after(&loop, SECOND_US);
	answer(0, "192.0.2.2:1", "192.0.2.3:1");
	turn_after(&loop, SECOND_US);
	assert_tried(2, "192.0.2.2:80");
	assert_under_way();
	/* It has half of what is left of the time, and the second one is not asked for yet. */
	assert_int_equal(dial.share_due_us, clock_us + 4 * SECOND_US);
	assert_int_equal(loop.timers.heap[1]->due_us, clock_us + 4 * SECOND_US);
}

static void an_address_that_still_is_the_names_is_not_given_up(void **state)
{
	answer(0, "192.0.2.1:1", NULL);
	add_name(0);
	start();
	turn_after(&loop, SECOND_US);
	answer(0, "192.0.2.2:1", "192.0.2.1:1");
	turn_after(&loop, SECOND_US);
	assert_int_equal(n_tried, 1);
}

static void a_plain_address_has_no_answer_to_look_for(void **state)
{
	add_address("192.0.2.1:80");
	start();
	assert_int_equal(loop.timers.heap[1]->due_us, clock_us + DUE_US);
}

static void a_share_of_a_second_is_not_interrupted(void **state)
{
	dial.due_us = clock_us + SECOND_US;
	answer(0, "192.0.2.1:1", NULL);
	add_name(0);
	start();
	turn_after(&loop, SECOND_US);
	assert_int_equal(asked[0], 1); /* because all have failed */
	assert_int_equal(watched.fd, -1);
}

/* ---- asked for each time ------------------------------------------------------------------------------------------------- */

static void a_name_can_be_asked_for_first(void **state)
{
	answer(0, "192.0.2.1:1", NULL);
	clock_us += SECOND_US;
	dial.due_us += SECOND_US;
	dial.fresh = true;
	add_name(0);
	start();
	assert_int_equal(asked[0], 1);
	assert_int_equal(n_tried, 0);
	turn_after(&loop, MILLI_US);
	turn_after(&loop, 2 * MILLI_US - 1);
	assert_int_equal(n_tried, 0);
	answer(0, "192.0.2.2:1", NULL);
	turn_after(&loop, 1);
	assert_tried(1, "192.0.2.2:80");
	assert_int_equal(asked[0], 1);
}

static void an_answer_that_is_fresh_needs_no_question(void **state)
{
	answer(0, "192.0.2.1:1", NULL);
	clock_us += SECOND_US - MILLI_US;
	dial.fresh = true;
	add_name(0);
	start();
	assert_tried(1, "192.0.2.1:80");
	assert_int_equal(asked[0], 0);
}

static void a_name_that_was_never_answered_is_not_fresh(void **state)
{
	uint64_t before_us = clock_us;

	clock_us = SECOND_US / 2; /* the machine has just been started */
	assert_false(lookup_is_fresh(lookup, 0));
	clock_us = before_us;
}

static void a_name_that_is_not_answered_is_tried_as_it_was(void **state)
{
	answer(0, "192.0.2.1:1", NULL);
	clock_us += 10 * SECOND_US;
	dial.due_us += 10 * SECOND_US;
	dial.fresh = true;
	add_name(0);
	start();
	for (int i = 0; i < 100 && n_tried == 0; i++)
		turn_after(&loop, 20 * MILLI_US);
	assert_tried(1, "192.0.2.1:80");
	assert_int_equal(asked[0], 1);
}

static void each_name_is_asked_for_when_it_has_its_turn(void **state)
{
	answer(0, "192.0.2.1:1", "192.0.2.2:1");
	answer(1, "192.0.2.3:1", NULL);
	clock_us += SECOND_US;
	dial.due_us += SECOND_US;
	dial.fresh = true;
	add_name(0);
	add_name(1);
	start();
	assert_int_equal(asked[1], 0);
	resolved_end(table, 0, false);
	turn_after(&loop, MILLI_US);
	assert_tried(1, "192.0.2.1:80");
	socket_error = ECONNREFUSED;
	dial_ready(&dial, EPOLLERR);
	assert_tried(2, "192.0.2.2:80"); /* not for each address */
	dial_ready(&dial, EPOLLERR);
	assert_int_equal(asked[1], 1);
	assert_int_equal(n_tried, 2);
	resolved_end(table, 1, false);
	turn_after(&loop, 20 * MILLI_US);
	assert_tried(3, "192.0.2.3:80");
}

static void addresses_are_not_asked_for(void **state)
{
	dial.fresh = true;
	add_address("192.0.2.1:80");
	start();
	assert_tried(1, "192.0.2.1:80");
}

/* ---- from the client's address ------------------------------------------------------------------------------------------- */

static int pool_socket(void)
{
	int fd = __real_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	return fd;
}

static void supply(size_t n)
{
	int fds[4];

	for (size_t i = 0; i < n; i++)
		fds[i] = pool_socket();
	socket_pool_supply(pool, AF_INET, fds, n, 0);
}

static void come_from(const char *text)
{
	assert_int_equal(address_parse(&from, text), 0);
	dial.from = &from;
}

static void assert_bound(size_t n, const char *last)
{
	char text[ADDRESS_TEXT_MAX];

	assert_int_equal(n_bound, n);
	assert_string_equal(address_format(&bound[n - 1], text), last);
}

static void it_comes_from_the_address_and_the_port_of_the_client(void **state)
{
	supply(1);
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	start();
	assert_bound(1, "198.51.100.7:4000");
	assert_int_equal(option_value(SOL_SOCKET, SO_REUSEADDR), 1);
	assert_int_equal(option_value(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT), -1);
	assert_tried(1, "192.0.2.1:80");
	assert_false(watched.sole); /* the master has it too, for a moment */
	assert_int_equal(sockets.calls, 0);
}

static void a_mapped_address_is_the_other_one(void **state)
{
	supply(1);
	come_from("[::ffff:198.51.100.7]:4000");
	add_address("[::ffff:192.0.2.1]:80");
	start();
	assert_bound(1, "198.51.100.7:4000");
	assert_int_equal(tried[0].sa.sa_family, AF_INET);
}

static void a_port_that_is_taken_is_another_one(void **state)
{
	static const int errors[] = { EADDRINUSE, EACCES };

	for (int i = 0; i < 2; i++) {
		n_bound = n_options = dial.n_backends = 0;
		supply(1);
		SCRIPT(&binds, -errors[i], 0);
		come_from("198.51.100.7:80");
		add_address("192.0.2.1:80");
		start();
		assert_bound(2, "198.51.100.7:0");
		assert_int_equal(option_value(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT), 1);
		assert_under_way();
		dial_cancel(&dial);
	}
}

static void an_address_that_is_not_for_us_is_told(void **state)
{
	supply(1);
	SCRIPT(&binds, -EADDRNOTAVAIL);
	come_from("198.51.100.7:80");
	add_address("192.0.2.1:80");
	start();
	assert_failed(-EPERM);
	assert_int_equal(n_bound, 1);
	assert_int_equal(n_tried, 0);
}

static void an_error_behind_the_first_is_told(void **state)
{
	supply(1);
	SCRIPT(&binds, -EADDRINUSE, -ENOBUFS);
	come_from("198.51.100.7:80");
	add_address("192.0.2.1:80");
	start();
	assert_failed(-ENOBUFS);
}

/* From that port to that server there is a connection already. */
static void a_pair_that_is_taken_is_tried_with_another_port(void **state)
{
	supply(2);
	SCRIPT(&connects, -EADDRNOTAVAIL, -EINPROGRESS);
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	start();
	assert_int_equal(n_tried, 2);
	assert_bound(2, "198.51.100.7:0");
	assert_under_way();
}

static void without_any_port_the_next_backend_is_tried(void **state)
{
	supply(3);
	SCRIPT(&connects, -EADDRNOTAVAIL, -EADDRNOTAVAIL, -EINPROGRESS);
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	add_address("192.0.2.2:80");
	start();
	assert_tried(3, "192.0.2.2:80");
	assert_bound(3, "198.51.100.7:4000"); /* there the port may be free */
}

static void without_an_address_of_the_client_there_is_no_other_port(void **state)
{
	SCRIPT(&connects, -EADDRNOTAVAIL);
	add_address("192.0.2.1:80");
	start();
	assert_failed(-EADDRNOTAVAIL);
	assert_int_equal(n_tried, 1);
}

static void a_socket_is_waited_for(void **state)
{
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	add_address("192.0.2.2:80");
	start();
	assert_int_equal(n_tried, 0);
	assert_int_not_equal(pool_asked, 0);
	turn_after(&loop, SECOND_US);
	supply(1);
	assert_tried(1, "192.0.2.1:80");
	assert_under_way();
	dial_ready(&dial, EPOLLOUT);
	assert_connected(EPOLLOUT);
}

static void a_connection_with_a_socket_that_came_may_be_made_at_once(void **state)
{
	SCRIPT(&connects, 0);
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	start();
	supply(1);
	assert_connected(EPOLLOUT);
}

static void a_socket_may_have_any_number(void **state)
{
	int in = dup(0), made = pool_socket();

	assert_int_equal(dup2(made, 0), 0);
	fcntl(0, F_SETFD, FD_CLOEXEC);
	close(made);
	socket_pool_supply(pool, AF_INET, &(int){ 0 }, 1, 0);
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	start();
	assert_tried(1, "192.0.2.1:80");
	dial_cancel(&dial);
	if (in >= 0)
		dup2(in, 0);
	close(in);
}

static void a_socket_that_does_not_come_in_time_is_not_waited_for(void **state)
{
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	start();
	turn_after(&loop, DUE_US);
	assert_failed(-ETIMEDOUT);
	supply(1); /* for somebody else */
	assert_int_equal(n_tried, 0);
}

static void a_socket_that_cannot_be_had_is_told(void **state)
{
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	start();
	socket_pool_supply(pool, AF_INET, NULL, 0, -EMFILE);
	assert_failed(-EMFILE);
}

static void a_socket_that_fails_moves_on(void **state)
{
	SCRIPT(&connects, -ECONNREFUSED, -EINPROGRESS);
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	add_address("192.0.2.2:80");
	start();
	supply(2);
	assert_tried(2, "192.0.2.2:80");
	assert_under_way();
}

static void a_socket_for_a_name_that_has_fewer_addresses_now_is_closed(void **state)
{
	answer(0, "192.0.2.1:1", "192.0.2.2:1");
	come_from("198.51.100.7:4000");
	add_name(0);
	start();
	supply(1);
	socket_error = ECONNREFUSED;
	dial_ready(&dial, EPOLLERR);
	assert_int_equal(n_tried, 1); /* waits for another socket */
	answer(0, "192.0.2.1:1", NULL);
	supply(1);
	assert_int_equal(n_tried, 1);
	assert_under_way();
	assert_int_equal(dial.error, -EHOSTUNREACH);
}

static void a_cancelled_dial_takes_no_socket(void **state)
{
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	start();
	dial_cancel(&dial);
	supply(1);
	assert_int_equal(n_tried, 0);
	assert_under_way();
}

static void only_backends_of_the_clients_family_are_tried(void **state)
{
	come_from("198.51.100.7:4000");
	add_address("[2001:db8::1]:80");
	add_address("unix:/run/server");
	start();
	assert_failed(-EAFNOSUPPORT);
	assert_int_equal(n_tried, 0);
}

static void another_error_says_more_than_the_family(void **state)
{
	supply(1);
	SCRIPT(&connects, -ECONNREFUSED);
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	add_address("[2001:db8::1]:80");
	start();
	assert_failed(-ECONNREFUSED);
}

static void a_client_of_a_unix_socket_has_no_address_to_come_from(void **state)
{
	come_from("unix:/run/client");
	add_address("unix:/run/server");
	start();
	assert_failed(-EAFNOSUPPORT);
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(a_connection_that_is_made_is_told),
		UNIT(a_connection_that_is_made_at_once_is_told_at_once),
		UNIT(an_error_is_looked_for_before_it_counts_as_made),
		UNIT(a_refusal_is_told),
		UNIT(one_that_leads_back_to_ourselves_is_none),
		UNIT(without_a_descriptor_it_fails),
		UNIT(a_socket_that_cannot_be_watched_is_closed),
		UNIT(a_dial_that_is_cancelled_says_nothing),
		UNIT(keepalive_is_as_it_was_asked_for),
		UNIT(a_peer_on_this_machine_does_not_vanish),
		UNIT(the_last_ack_comes_with_the_bytes_that_are_there),
		UNIT(backends_are_tried_in_order),
		UNIT(the_last_error_is_told),
		UNIT(each_address_has_an_equal_share_of_the_time),
		UNIT(behind_the_deadline_there_is_no_time),
		UNIT(a_backlog_that_is_full_is_tried_again_soon),
		UNIT(what_was_full_once_is_not_tried_for_ever),
		UNIT(without_memory_for_a_pause_it_fails),
		UNIT(the_addresses_of_a_name_are_tried_in_order),
		UNIT(addresses_of_names_count_for_the_shares),
		UNIT(a_name_without_an_answer_is_waited_for),
		UNIT(a_name_without_an_answer_does_not_keep_others_waiting),
		UNIT(where_all_fail_a_new_answer_is_awaited),
		UNIT(an_answer_that_brings_no_news_ends_the_wait),
		UNIT(an_answer_is_awaited_for_a_second),
		UNIT(addresses_alone_bring_no_news),
		UNIT(an_answer_that_came_meanwhile_is_tried_at_once),
		UNIT(a_wait_for_news_without_memory_ends),
		UNIT(a_name_that_does_not_answer_is_asked_for_after_a_second),
		UNIT(an_address_that_is_not_the_names_any_more_is_given_up),
		UNIT(an_address_that_still_is_the_names_is_not_given_up),
		UNIT(a_plain_address_has_no_answer_to_look_for),
		UNIT(a_share_of_a_second_is_not_interrupted),
		UNIT(a_name_can_be_asked_for_first),
		UNIT(an_answer_that_is_fresh_needs_no_question),
		UNIT(a_name_that_was_never_answered_is_not_fresh),
		UNIT(a_name_that_is_not_answered_is_tried_as_it_was),
		UNIT(each_name_is_asked_for_when_it_has_its_turn),
		UNIT(addresses_are_not_asked_for),
		UNIT(it_comes_from_the_address_and_the_port_of_the_client),
		UNIT(a_mapped_address_is_the_other_one),
		UNIT(a_port_that_is_taken_is_another_one),
		UNIT(an_address_that_is_not_for_us_is_told),
		UNIT(an_error_behind_the_first_is_told),
		UNIT(a_pair_that_is_taken_is_tried_with_another_port),
		UNIT(without_any_port_the_next_backend_is_tried),
		UNIT(without_an_address_of_the_client_there_is_no_other_port),
		UNIT(a_socket_is_waited_for),
		UNIT(a_connection_with_a_socket_that_came_may_be_made_at_once),
		UNIT(a_socket_may_have_any_number),
		UNIT(a_socket_that_does_not_come_in_time_is_not_waited_for),
		UNIT(a_socket_that_cannot_be_had_is_told),
		UNIT(a_socket_that_fails_moves_on),
		UNIT(a_socket_for_a_name_that_has_fewer_addresses_now_is_closed),
		UNIT(a_cancelled_dial_takes_no_socket),
		UNIT(only_backends_of_the_clients_family_are_tried),
		UNIT(another_error_says_more_than_the_family),
		UNIT(a_client_of_a_unix_socket_has_no_address_to_come_from),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
