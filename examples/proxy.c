/* usher-proxy: receives connections that usher hands over, connects each to a server and relays bytes both
 * ways.
 *
 * One loop, one thread. A direction has one buffer: it is read into only when it is empty and written out
 * before anything else, so memory is bounded and a slow reader stops its sender. EOF becomes a half-close
 * once all before it is written, a reset becomes a reset, and so does a server that cannot be reached. At its
 * limit of connections it receives no more: further ones wait in usher, under its timeout.
 * The server's name is looked up once, at the start.
 *
 * A pair owns both its sockets and lives in one place: pair_new() to pair_free(), always at the end of a
 * turn. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <usher/handover.h>

#define BUFFER_SIZE     16384
#define PAIRS_MAX       4096
#define PAIRS_DEFAULT   1000
#define OTHER_FDS       64 /* beside two a pair: the receiver, its channels, the three standard ones */
#define EVENTS_PER_TURN 256
#define PAUSE_MS        100 /* when there is no descriptor or memory left */
#define SYN_TRIES       3   /* about seven seconds for an address that does not answer */

struct flow {
	/* 0 .. at -- written, at .. len -- to write before anything is read */
	size_t at, len;
	bool ended;    /* the source said EOF */
	bool finished; /* and the sink was told */
	uint8_t buffer[BUFFER_SIZE];
};

struct pair;

struct end {
	struct pair *pair;
	int fd;
	bool readable, writable; /* since the last EAGAIN */
	bool failed;             /* an error is pending on it */
};

struct pair {
	struct end client, server;
	struct flow up, down;           /* client to server, server to client */
	const struct addrinfo *address; /* being tried, or connected to */
	bool connected;
	bool queued; /* in the list of pairs with something to do */
	bool dead;
	struct pair *next;
	struct pair *next_of_all, **link_of_all;
};

struct proxy {
	int epoll_fd;
	struct usher_receiver *receiver;
	bool receiving; /* the receiver is watched */
	bool pausing;   /* no descriptor or memory: watched again a little later */
	bool told;      /* of the pause, until something is received again */
	struct addrinfo *addresses;
	struct pair *all;
	size_t n_pairs, pairs_max;
	struct pair *first, **last; /* with something to do */
	uint64_t refused;
};

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
	stopping = 1;
}

static void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void complain(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	fputs("usher-proxy: ", stderr);
	vfprintf(stderr, format, list);
	fputc('\n', stderr);
	va_end(list);
}

static void pair_queue(struct proxy *proxy, struct pair *pair)
{
	if (pair->queued)
		return;
	pair->queued = true;
	pair->next = NULL;
	*proxy->last = pair;
	proxy->last = &pair->next;
}

static int end_close(struct end *end, bool reset)
{
	const struct linger now = { .l_onoff = 1 };

	if (end->fd < 0)
		return -1;
	if (reset)
		(void)setsockopt(end->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(end->fd);
	return -1;
}

/* Closes both ends; the memory stays until the turn is over, for an event may still point to it. */
static void pair_end(struct proxy *proxy, struct pair *pair, bool reset)
{
	if (pair->dead)
		return;
	pair->client.fd = end_close(&pair->client, reset);
	pair->server.fd = end_close(&pair->server, reset);
	pair->dead = true;
	pair_queue(proxy, pair);
}

static int end_watch(struct proxy *proxy, struct end *end)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = end };

	return epoll_ctl(proxy->epoll_fd, EPOLL_CTL_ADD, end->fd, &event) < 0 ? -errno : 0;
}

static void end_set_options(const struct end *end)
{
	const int on = 1;

	/* Harmless where the socket is not TCP. */
	(void)setsockopt(end->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(end->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

static int server_connect(struct proxy *proxy, struct pair *pair)
{
	const struct addrinfo *a = pair->address;
	const int tries = SYN_TRIES;
	struct end *server = &pair->server;
	int error;

	*server = (struct end){ .pair = pair,
		.fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) };
	if (server->fd < 0)
		return -errno;
	(void)setsockopt(server->fd, IPPROTO_TCP, TCP_SYNCNT, &tries, sizeof(tries));
	end_set_options(server);
	error = connect(server->fd, a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS ? -errno : 0;
	if (!error)
		error = end_watch(proxy, server);
	if (error < 0)
		server->fd = end_close(server, false);
	return error;
}

/* The address before did not answer: the next one, or the end. */
static void server_failed(struct proxy *proxy, struct pair *pair, int error)
{
	pair->server.fd = end_close(&pair->server, false);
	while (error < 0 && pair->address->ai_next) {
		pair->address = pair->address->ai_next;
		error = server_connect(proxy, pair);
	}
	if (error == 0)
		return;
	complain("cannot connect to the server: %s", strerror(-error));
	pair_end(proxy, pair, true);
}

static int pair_new(struct proxy *proxy, int client_fd)
{
	struct pair *pair = malloc(sizeof(*pair));
	int error;

	if (!pair)
		return -ENOMEM;
	/* The buffers are left as they are: memory that is never used is never touched. */
	pair->client = (struct end){ .pair = pair, .fd = client_fd };
	pair->up.at = pair->up.len = pair->down.at = pair->down.len = 0;
	pair->up.ended = pair->up.finished = pair->down.ended = pair->down.finished = false;
	pair->address = proxy->addresses;
	pair->connected = pair->queued = pair->dead = false;
	error = end_watch(proxy, &pair->client);
	if (error < 0) {
		free(pair);
		return error;
	}
	proxy->n_pairs++;
	pair->next_of_all = proxy->all;
	pair->link_of_all = &proxy->all;
	if (pair->next_of_all)
		pair->next_of_all->link_of_all = &pair->next_of_all;
	proxy->all = pair;
	end_set_options(&pair->client);
	error = server_connect(proxy, pair);
	if (error < 0)
		server_failed(proxy, pair, error);
	return 0;
}

static void pair_free(struct proxy *proxy, struct pair *pair)
{
	*pair->link_of_all = pair->next_of_all;
	if (pair->next_of_all)
		pair->next_of_all->link_of_all = pair->link_of_all;
	free(pair);
	proxy->n_pairs--;
}

static int flow_read(struct flow *flow, struct end *from)
{
	ssize_t n = recv(from->fd, flow->buffer, sizeof(flow->buffer), 0);

	if (n < 0) {
		if (errno == EAGAIN)
			from->readable = false;
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	}
	flow->at = 0;
	flow->len = (size_t)n;
	flow->ended = n == 0;
	return 0;
}

static int flow_write(struct flow *flow, struct end *to)
{
	ssize_t n = send(to->fd, flow->buffer + flow->at, flow->len - flow->at, MSG_NOSIGNAL);

	if (n < 0) {
		if (errno == EAGAIN)
			to->writable = false;
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	}
	flow->at += (size_t)n;
	return 0;
}

static bool flow_can_read(const struct flow *flow, const struct end *from)
{
	return from->readable && !flow->ended && flow->at == flow->len;
}

static bool flow_can_write(const struct flow *flow, const struct end *to)
{
	return to->writable && flow->at < flow->len;
}

/* One read and one write at most. 0 or -errno: the pair's end. */
static int flow_step(struct flow *flow, struct end *from, struct end *to)
{
	int error = 0;

	if (flow_can_read(flow, from))
		error = flow_read(flow, from);
	if (!error && flow_can_write(flow, to))
		error = flow_write(flow, to);
	if (!error && flow->ended && flow->at == flow->len && !flow->finished) {
		/* ENOTCONN: `to` is gone already, which its own events tell. */
		if (shutdown(to->fd, SHUT_WR) < 0 && errno != ENOTCONN)
			return -errno;
		flow->finished = true;
	}
	return error;
}

static bool pair_has_more(const struct pair *pair)
{
	return flow_can_read(&pair->up, &pair->client) || flow_can_write(&pair->up, &pair->server) ||
		flow_can_read(&pair->down, &pair->server) || flow_can_write(&pair->down, &pair->client);
}

/* 0 where there is none after all. */
static int end_error(struct end *end)
{
	socklen_t len = sizeof(int);
	int error = 0;

	end->failed = false;
	(void)getsockopt(end->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	return -error;
}

static void pair_step(struct proxy *proxy, struct pair *pair)
{
	int error = 0;

	if (!pair->connected && (pair->server.failed || pair->server.writable)) {
		error = end_error(&pair->server);
		if (error < 0) {
			server_failed(proxy, pair, error);
			return;
		}
		pair->connected = true;
	}
	if (pair->client.failed)
		error = end_error(&pair->client);
	if (!error && pair->server.failed)
		error = end_error(&pair->server);
	if (!error && pair->connected) {
		error = flow_step(&pair->up, &pair->client, &pair->server);
		if (!error)
			error = flow_step(&pair->down, &pair->server, &pair->client);
	}
	if (error < 0)
		pair_end(proxy, pair, true);
	else if (pair->up.finished && pair->down.finished)
		pair_end(proxy, pair, false);
	else if (pair->connected && pair_has_more(pair))
		pair_queue(proxy, pair);
}

/* Each pair that has something to do gets one step a turn: a fast one keeps none waiting. */
static void proxy_run_pairs(struct proxy *proxy)
{
	struct pair *pair = proxy->first;

	proxy->first = NULL;
	proxy->last = &proxy->first;
	while (pair) {
		struct pair *next = pair->next;

		pair->queued = false;
		if (pair->dead)
			pair_free(proxy, pair);
		else
			pair_step(proxy, pair);
		pair = next;
	}
}

static int proxy_receive_events(struct proxy *proxy, bool on)
{
	struct epoll_event event = { .events = EPOLLIN };

	if (on == proxy->receiving)
		return 0;
	if (epoll_ctl(proxy->epoll_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, usher_receiver_fd(proxy->receiver),
		    &event) < 0)
		return -errno;
	proxy->receiving = on;
	return 0;
}

static void proxy_pause(struct proxy *proxy, int error)
{
	if (!proxy->told)
		complain("connections wait: %s", strerror(-error));
	proxy->told = true;
	proxy->pausing = true;
}

static void proxy_receive(struct proxy *proxy)
{
	struct usher_connection c;
	int error = 0;

	for (int i = 0; i < EVENTS_PER_TURN && proxy->n_pairs < proxy->pairs_max; i++) {
		error = usher_accept4(proxy->receiver, &c, SOCK_NONBLOCK);
		if (error < 0)
			break;
		error = pair_new(proxy, c.fd);
		if (error < 0) {
			close(c.fd);
			break;
		}
		proxy->told = false;
	}
	if (error < 0 && error != -EAGAIN)
		proxy_pause(proxy, error);
	if (usher_refused(proxy->receiver) != proxy->refused) {
		proxy->refused = usher_refused(proxy->receiver);
		complain("a malformed handover message came (%llu so far)", (unsigned long long)proxy->refused);
	}
}

static void proxy_event(struct proxy *proxy, const struct epoll_event *event)
{
	struct end *end = event->data.ptr;

	if (!end) {
		proxy_receive(proxy);
		return;
	}
	if (end->pair->dead)
		return;
	end->readable |= (event->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0;
	end->writable |= (event->events & EPOLLOUT) != 0;
	end->failed |= (event->events & EPOLLERR) != 0;
	pair_queue(proxy, end->pair);
}

static int proxy_run(struct proxy *proxy, const sigset_t *waiting_mask)
{
	while (!stopping) {
		struct epoll_event events[EVENTS_PER_TURN];
		int error = proxy_receive_events(proxy, !proxy->pausing && proxy->n_pairs < proxy->pairs_max);
		int timeout_ms = -1;
		int n;

		if (error < 0)
			return error;
		if (proxy->first)
			timeout_ms = 0;
		else if (proxy->pausing)
			timeout_ms = PAUSE_MS;
		n = epoll_pwait(proxy->epoll_fd, events, EVENTS_PER_TURN, timeout_ms, waiting_mask);
		if (n < 0 && errno != EINTR)
			return -errno;
		proxy->pausing = false;
		for (int i = 0; i < n; i++)
			proxy_event(proxy, &events[i]);
		proxy_run_pairs(proxy);
	}
	for (struct pair *pair = proxy->all; pair; pair = pair->next_of_all)
		pair_end(proxy, pair, true);
	proxy_run_pairs(proxy);
	return 0;
}

static int limit_raise(size_t pairs_max)
{
	const rlim_t wanted = 2 * pairs_max + OTHER_FDS;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	if (limit.rlim_cur >= wanted)
		return 0;
	if (limit.rlim_max < wanted)
		return -EMFILE;
	limit.rlim_cur = wanted;
	return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -errno : 0;
}

/* Signals come only while the loop sleeps: none is missed between a look at `stopping` and the sleep. */
static int signals_set(sigset_t *ret_waiting_mask)
{
	const struct sigaction stop = { .sa_handler = on_signal };
	sigset_t blocked;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGINT);
	sigaddset(&blocked, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &blocked, ret_waiting_mask) < 0 || sigaction(SIGINT, &stop, NULL) < 0 ||
		sigaction(SIGTERM, &stop, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return -errno;
	return 0;
}

static int usage(FILE *to)
{
	fprintf(to,
		"usage: usher-proxy [-d] [-m MODE] [-n MAX] -l /path.sock -a HOST -p PORT\n"
		"  -l  where usher hands connections over (handover = \"/path.sock\")\n"
		"  -m  its permissions, octal, default 660: usher's workers must be able to write to it\n"
		"  -a, -p  the server that each is connected to\n"
		"  -n  connections at a time, 1 to %d; default %d\n"
		"  -d  in the background\n",
		PAIRS_MAX, PAIRS_DEFAULT);
	return 2;
}

struct settings {
	const char *path, *host, *port;
	bool background;
	unsigned long pairs_max;
	unsigned long mode;
};

static bool number_read(unsigned long *ret, const char *text, int base, unsigned long least, unsigned long most)
{
	char *end;

	*ret = strtoul(text, &end, base);
	return *text >= '0' && *text <= '9' && !*end && *ret >= least && *ret <= most;
}

/* -1 to go on, or an exit status. */
static int settings_read(struct settings *s, int argc, char **argv)
{
	int option;

	*s = (struct settings){ .pairs_max = PAIRS_DEFAULT, .mode = 0660 };
	while ((option = getopt(argc, argv, "dl:a:p:n:m:h")) != -1) {
		switch (option) {
		case 'd':
			s->background = true;
			break;
		case 'l':
			s->path = optarg;
			break;
		case 'a':
			s->host = optarg;
			break;
		case 'p':
			s->port = optarg;
			break;
		case 'n':
			if (!number_read(&s->pairs_max, optarg, 10, 1, PAIRS_MAX))
				return usage(stderr);
			break;
		case 'm':
			if (!number_read(&s->mode, optarg, 8, 0, 0777))
				return usage(stderr);
			break;
		case 'h':
			(void)usage(stdout);
			return 0;
		default:
			return usage(stderr);
		}
	}
	return optind < argc || !s->path || !s->host || !s->port ? usage(stderr) : -1;
}

static int fail(const char *what, const char *about, int error)
{
	complain("%s%s%s: %s", what, about ? " " : "", about ? about : "", strerror(-error));
	return EXIT_FAILURE;
}

static int proxy_start(struct proxy *proxy, const struct settings *s)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	int error = getaddrinfo(s->host, s->port, &hints, &proxy->addresses);

	if (error != 0) {
		complain("cannot resolve %s port %s: %s", s->host, s->port, gai_strerror(error));
		return EXIT_FAILURE;
	}
	error = limit_raise(s->pairs_max);
	if (error < 0)
		return fail("cannot have descriptors for so many connections", NULL, error);
	proxy->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (proxy->epoll_fd < 0)
		return fail("epoll", NULL, -errno);
	error = usher_listen(s->path, (mode_t)s->mode, &proxy->receiver);
	return error < 0 ? fail("cannot listen at", s->path, error) : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct proxy proxy = { .epoll_fd = -1 };
	struct settings s;
	sigset_t waiting_mask;
	int status = settings_read(&s, argc, argv);
	int error = 0;

	if (status >= 0)
		return status;
	proxy.pairs_max = s.pairs_max;
	proxy.last = &proxy.first;
	status = proxy_start(&proxy, &s);
	if (status != EXIT_SUCCESS)
		goto out;
	/* From here on usher can connect: whoever started this in the background may go on. Relative paths
	 * stay valid. */
	if (s.background && daemon(1, 0) < 0)
		error = -errno;
	if (!error)
		error = signals_set(&waiting_mask);
	if (!error)
		error = proxy_run(&proxy, &waiting_mask);
	if (error < 0)
		status = fail("ended", NULL, error);
out:
	usher_close(proxy.receiver);
	if (proxy.addresses)
		freeaddrinfo(proxy.addresses);
	if (proxy.epoll_fd >= 0)
		close(proxy.epoll_fd);
	return status;
}
