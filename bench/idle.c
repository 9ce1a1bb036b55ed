/* Opens many connections and lets them be. Each has sent one request and read its answer, so it stands through to the
 * server, with whatever the mux keeps for a connection that has seen traffic. Each line of its standard input is a number:
 * when so many stand, it prints a line. When its input ends it prints how many are still there.
 *
 * Refuses to go on when one fails. Owns the array of descriptors. */
#include "client.h"
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MAX 2048
#define WAIT_MS    5000
#define AT_A_TIME  32

struct idle {
	in_port_t port;
	const char *body;
	char request[256];
	size_t request_len;
	struct errors errors;
};

/* Waits for `events`: 0 or errno. */
static int socket_wait(int fd, short events)
{
	struct pollfd wait = { .fd = fd, .events = events };
	int count = poll(&wait, 1, WAIT_MS);

	if (count < 0)
		return errno;
	return count == 0 ? ETIMEDOUT : 0;
}

/* Reads one answer, which ends with the body: 0 or errno. */
static int socket_read_answer(int fd, const char *body)
{
	char answer[ANSWER_MAX + 1];
	size_t len = 0, body_len = strlen(body);

	while (len < ANSWER_MAX) {
		int error = socket_wait(fd, POLLIN);
		ssize_t got;

		if (error != 0)
			return error;
		got = recv(fd, answer + len, ANSWER_MAX - len, 0);
		if (got <= 0)
			return got < 0 ? errno : ECONNRESET;
		len += (size_t)got;
		if (len > body_len && memcmp(answer + len - body_len, body, body_len) == 0)
			return strncmp(answer, "HTTP/1.1 200 ", 13) == 0 ? 0 : EPROTO;
	}
	return EMSGSIZE;
}

static void idle_failed(struct idle *idle, const char *what, int error, int fd)
{
	errors_add(&idle->errors, what, error);
	if (fd >= 0)
		close(fd);
}

/* A connection that has sent its request, or -1. */
static int idle_begin(struct idle *idle, unsigned long index)
{
	int fd = client_connect(idle->port, index), error = fd < 0 ? errno : socket_wait(fd, POLLOUT);

	if (error == 0)
		error = client_error(fd);
	if (error == 0)
		error = client_send(fd, idle->request, idle->request_len);
	if (error == 0)
		return fd;
	idle_failed(idle, "connect", error, fd);
	return -1;
}

/* From `open` to `count`, some at a time; returns how many there are then. */
static size_t idle_open_more(struct idle *idle, int *fds, size_t open, size_t count)
{
	while (open < count && idle->errors.count == 0) {
		size_t begun = open, until = open + AT_A_TIME < count ? open + AT_A_TIME : count;

		while (begun < until && (fds[begun] = idle_begin(idle, begun)) >= 0)
			begun++;
		for (; open < begun; open++) {
			int error = socket_read_answer(fds[open], idle->body);
			if (error == 0)
				continue;
			for (; begun > open; begun--)
				idle_failed(idle, "a connection's first answer", error, fds[begun - 1]);
			break;
		}
	}
	return open;
}

/* How many neither ended nor got unrequested bytes. */
static size_t idle_count_quiet(const int *fds, size_t count)
{
	size_t quiet = 0;
	char byte;

	for (size_t i = 0; i < count; i++)
		if (recv(fds[i], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN)
			quiet++;
	return quiet;
}

static void idle_print(const struct idle *idle, size_t open)
{
	printf("{\"open\": %zu, ", open);
	errors_print(&idle->errors);
	puts("}");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct idle idle = { 0 };
	size_t most, open = 0;
	char line[32];
	int *fds;

	if (argc != 5) {
		fputs("usage: idle PORT MOST PATH BODY\n", stderr);
		return 2;
	}
	most = number_parse(argv[2], "MOST", 1000000);
	fds = calloc(most, sizeof(*fds));
	if (fds == NULL)
		err(1, "calloc");
	idle.port = (in_port_t)number_parse(argv[1], "PORT", 65535);
	idle.body = argv[4];
	idle.request_len = (size_t)snprintf(
		idle.request, sizeof(idle.request), "GET %s HTTP/1.1\r\nHost: bench\r\n\r\n", argv[3]);
	if (idle.request_len >= sizeof(idle.request))
		errx(2, "PATH is too long");
	files_raise_limit();
	while (fgets(line, sizeof(line), stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		open = idle_open_more(&idle, fds, open, number_parse(line, "a number of connections", most));
		idle_print(&idle, open);
	}
	idle_print(&idle, idle_count_quiet(fds, open));
	free(fds);
	return 0;
}
