/* A dial to backends that are not there: connect(), bind() and what a socket says of its connection are the test's, as the clock is: no packet is
 * sent. Included once a program. */
#pragma once
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

static inline void address_take(struct address *ret, const struct sockaddr *sa, socklen_t len)
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
static struct target target;
static struct chooser *chooser;
static unsigned asked[2], pool_asked;
static int n_done, done_error;
static uint32_t done_events;
static bool ours;
static int fds_before;

static inline int ask(void *context, uint32_t name)
{
	asked[name]++;
	return 0;
}

static const struct lookup_calls lookup_calls = { .ask = ask };

static inline int pool_ask(void *context, sa_family_t family)
{
	pool_asked++;
	return 0;
}

static inline void done(struct dial *which, int error, uint32_t events)
{
	assert_ptr_equal(which, &dial);
	n_done++;
	done_error = error;
	done_events = events;
}

static inline bool is_ours(const struct dial *which, int fd)
{
	assert_ptr_equal(which->context, &ours);
	assert_true(fd >= 0);
	return ours;
}

/* What the kernel says of a socket that was never connected is of no interest: the test says what happens. */
static inline void unheard(struct watch *watch, uint32_t events)
{
}

static inline int setup(void **state)
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
	assert_non_null(lookup = lookup_new(table, &lookup_calls, NULL));
	assert_non_null(pool = socket_pool_new(pool_ask, NULL));
	watched = (struct watch){ .fd = -1, .ready = unheard };
	target = (struct target){ .delivery = DELIVERY_CONNECT, .connect.backends = backends };
	chooser = chooser_new(&(struct chooser_of){ .service = "test", .target = &target, .lookup = lookup });
	assert_non_null(chooser);
	memset(&dial, 0xff, sizeof(dial)); /* whatever the memory had */
	dial = (struct dial){
		.loop = &loop,
		.lookup = lookup,
		.target = &target,
		.choice.chooser = chooser,
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

static inline int teardown(void **state)
{
	dial_cancel(&dial);
	assert_int_equal(watched.fd, -1);
	assert_int_equal(loop.timers.count, 0);
	chooser_free(chooser);
	lookup_free(lookup);
	resolved_free(table);
	socket_pool_free(pool);
	loop_fini(&loop);
	assert_int_equal(fds_open(), fds_before);
	return 0;
}

/* Others follow. */
static inline void forget_backends(void)
{
	chooser_free(chooser);
	target.connect.n_backends = 0;
	chooser = chooser_new(&(struct chooser_of){ .service = "test", .target = &target, .lookup = lookup });
	assert_non_null(chooser);
	dial.choice = (struct choice){ .chooser = chooser };
}

static inline void add_address(const char *text)
{
	struct backend *backend = &backends[target.connect.n_backends++];

	*backend = (struct backend){ .text = text, .name = BACKEND_NO_NAME, .weight = 1 };
	assert_int_equal(address_parse(&backend->address, text), 0);
}

static inline void add_name(uint32_t name)
{
	backends[target.connect.n_backends++] =
		(struct backend){ .text = names[name], .name = name, .port = 80, .weight = 1 };
	target.connect.has_names = true;
}

static inline void answer(uint32_t name, const char *first, const char *second)
{
	struct resolved_address addresses[2] = { { .weight = 1 }, { .weight = 1 } };
	size_t n = 0;

	if (first)
		assert_int_equal(address_parse(&addresses[n++].address, first), 0);
	if (second)
		assert_int_equal(address_parse(&addresses[n++].address, second), 0);
	for (size_t i = 0; i < n; i++)
		address_set_port(&addresses[i].address, 0);
	resolved_write(table, name, addresses, n);
	resolved_end(table, name, false);
}

static inline void start(void)
{
	loop.now_us = clock_us;
	dial_start(&dial);
}

static inline void assert_tried(size_t n, const char *last)
{
	char text[ADDRESS_TEXT_MAX];

	assert_int_equal(n_tried, n);
	assert_string_equal(address_format(&tried[n - 1], text), last);
}

static inline void assert_under_way(void)
{
	assert_int_equal(n_done, 0);
}

static inline void assert_connected(uint32_t events)
{
	assert_int_equal(n_done, 1);
	assert_int_equal(done_error, 0);
	assert_int_equal(done_events, events);
	assert_true(watched.fd >= 0);
	assert_true(watched.listed);
	assert_int_equal(loop.timers.count, 0);
}

static inline void assert_failed(int error)
{
	assert_int_equal(n_done, 1);
	assert_int_equal(done_error, error);
	assert_int_equal(done_events, 0);
	assert_int_equal(watched.fd, -1);
	assert_int_equal(loop.timers.count, 0);
}

static inline int option_value(int level, int option)
{
	for (size_t i = 0; i < n_options; i++)
		if (options[i].level == level && options[i].option == option)
			return options[i].value;
	return -1;
}
