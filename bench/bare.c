/* bare PORT SERVER_PORT: the least that a relay can do, to show what of a mux's cost is TCP's own. One loop passes bytes, ends and nothing
 * else on between each client and 127.0.0.1:SERVER_PORT. No decision, no limits, no time-outs, no sandbox, no log; an error ends the
 * connection, and one that the machine has no room for ends the program. Copies what is small and splices what is large, as usher does. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER (64 << 10)
#define PIPE   (1 << 20)

/* What one side sends, on its way to the other. */
struct side {
	struct pair *pair;
	struct side *other;
	int fd;
	int pipe[2]; /* 0: none */
	size_t in_pipe;
	uint8_t *kept;
	size_t kept_at, kept_len;
	unsigned large; /* reads in a row */
	bool hung_up, ended, told;
};

struct pair {
	struct side client, server;
	struct pair *next; /* to be freed */
	bool over;
};

static uint8_t buffer[BUFFER];
static struct pair *dead;

static void must(bool it_went)
{
	if (it_went)
		return;
	perror("bare");
	exit(1);
}

static void set(int fd, int level, int option, int value)
{
	must(setsockopt(fd, level, option, &value, sizeof(value)) == 0);
}

static struct sockaddr_in loopback(const char *port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)atoi(port)) };
}

static void side_end(struct side *side)
{
	close(side->fd);
	if (side->pipe[1]) {
		close(side->pipe[0]);
		close(side->pipe[1]);
	}
	free(side->kept);
}

/* Freed once the events that were fetched are done with. */
static void pair_end(struct pair *pair)
{
	pair->over = true;
	pair->next = dead;
	dead = pair;
	side_end(&pair->client);
	side_end(&pair->server);
}

static bool would_block(ssize_t n)
{
	return n < 0 && errno == EAGAIN;
}

/* Returns whether all that was kept back has left; -1: it broke. */
static int deliver_kept(struct side *side)
{
	while (side->kept_at < side->kept_len) {
		ssize_t n = send(
			side->other->fd, side->kept + side->kept_at, side->kept_len - side->kept_at, MSG_NOSIGNAL);
		if (n < 0)
			return would_block(n) ? 0 : -1;
		side->kept_at += (size_t)n;
	}
	free(side->kept);
	side->kept = NULL;
	side->kept_at = side->kept_len = 0;
	while (side->in_pipe > 0) {
		ssize_t n = splice(
			side->pipe[0], NULL, side->other->fd, NULL, side->in_pipe, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (n <= 0)
			return would_block(n) ? 0 : -1;
		side->in_pipe -= (size_t)n;
	}
	return 1;
}

/* As read(): what it took is delivered or kept. */
static ssize_t copy(struct side *side)
{
	ssize_t got = recv(side->fd, buffer, BUFFER, 0);
	if (got <= 0)
		return got;
	side->large = got >= BUFFER / 2 ? side->large + 1 : 0;
	ssize_t put = send(side->other->fd, buffer, (size_t)got, MSG_NOSIGNAL);
	if (put < 0 && !would_block(put))
		return -1;
	put = put < 0 ? 0 : put;
	if (put < got) {
		side->kept_len = (size_t)(got - put);
		side->kept = malloc(side->kept_len);
		must(side->kept != NULL);
		memcpy(side->kept, buffer + put, side->kept_len);
	}
	return got;
}

static ssize_t take(struct side *side)
{
	if (side->large < 2)
		return copy(side);
	if (!side->pipe[1]) {
		must(pipe2(side->pipe, O_NONBLOCK | O_CLOEXEC) == 0);
		fcntl(side->pipe[1], F_SETPIPE_SZ, PIPE);
	}
	ssize_t n = splice(side->fd, NULL, side->pipe[1], NULL, PIPE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	side->in_pipe = n > 0 ? (size_t)n : 0;
	return n;
}

/* False: the pair has ended. */
static bool side_run(struct side *side)
{
	int delivered;

	while ((delivered = deliver_kept(side)) > 0 && !side->ended) {
		ssize_t n = take(side);
		if (would_block(n))
			return true;
		if (n < 0) {
			pair_end(side->pair);
			return false;
		}
		side->ended = n == 0;
		if (n > 0 && n < BUFFER && side->large < 2 && !side->kept && !side->hung_up)
			return true; /* empty: an event will tell of more */
	}
	if (delivered < 0 || (delivered && side->ended && side->other->told)) {
		pair_end(side->pair);
		return false;
	}
	if (delivered && side->ended && !side->told) {
		side->told = true;
		shutdown(side->other->fd, SHUT_WR);
	}
	return true;
}

static void side_begin(struct side *side, struct pair *pair, struct side *other, int epoll, int fd)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = side };

	*side = (struct side){ .pair = pair, .other = other, .fd = fd };
	must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
}

static void come_in(int epoll, int listener, const struct sockaddr_in *server)
{
	for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
		struct pair *pair = calloc(1, sizeof(*pair));
		int to = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		must(pair && to >= 0);
		set(to, IPPROTO_TCP, TCP_NODELAY, 1);
		set(to, IPPROTO_TCP, TCP_QUICKACK, 0);
		must(connect(to, (const struct sockaddr *)server, sizeof(*server)) == 0 || errno == EINPROGRESS);
		side_begin(&pair->client, pair, &pair->server, epoll, fd);
		side_begin(&pair->server, pair, &pair->client, epoll, to);
	}
}

static int listen_on(const char *port)
{
	struct sockaddr_in at = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	must(fd >= 0);
	set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);
	must(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 4096) == 0);
	return fd;
}

int main(int argc, char **argv)
{
	struct epoll_event events[256], event = { .events = EPOLLIN };
	struct rlimit files;

	if (argc != 3) {
		fputs("usage: bare PORT SERVER_PORT\n", stderr);
		return 2;
	}
	must(getrlimit(RLIMIT_NOFILE, &files) == 0);
	files.rlim_cur = files.rlim_max;
	must(setrlimit(RLIMIT_NOFILE, &files) == 0);
	const struct sockaddr_in server = loopback(argv[2]);
	int epoll = epoll_create1(EPOLL_CLOEXEC), listener = listen_on(argv[1]);
	must(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) == 0);
	for (;;) {
		int n = epoll_wait(epoll, events, 256, -1);
		for (int i = 0; i < n; i++) {
			struct side *side = events[i].data.ptr;
			if (!side) {
				come_in(epoll, listener, &server);
				continue;
			}
			side->hung_up |= (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
			if (!side->pair->over && side_run(side) && events[i].events & EPOLLOUT)
				side_run(side->other);
		}
		for (struct pair *next; dead; dead = next) {
			next = dead->next;
			free(dead);
		}
	}
}
