/* New connections a second: a fixed number of clients, each connects, sends one small HTTP request, reads the
 * whole answer to its end and begins anew. Every answer is compared with the expected status and body.
 *
 * The server is asked to close first, so TIME_WAIT stays on its side and a client's port is free again at
 * once. Refuses answers of more than ANSWER_MAX bytes. Owns one array of clients and the histogram. */
#include "client.h"
#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MAX  2048
#define LATENCY_MAX 2000000    /* microseconds; what takes longer is filed here */
#define DRAIN_NS    3000000000 /* for the last ones to finish after the deadline */
#define ERRORS_MAX  1000       /* a figure with as many is lost anyway: end early instead of spinning */

struct client {
	int fd; /* -1: at rest */
	bool sent;
	uint64_t begin_ns;
	size_t len;
	char answer[ANSWER_MAX];
};

struct load {
	in_port_t port;
	const char *body;
	size_t body_len;
	char request[256];
	size_t request_len;
	int epoll;
	bool closing; /* past the deadline: no new connections */
	unsigned long begun, done, open;
	struct errors errors;
	uint32_t latency[LATENCY_MAX + 1]; /* connections by microseconds */
};

static void client_begin(struct load *load, struct client *client)
{
	client->sent = false;
	client->len = 0;
	client->begin_ns = clock_ns();
	client->fd = client_connect(load->port, load->begun++);
	if (client->fd < 0) {
		errors_add(&load->errors, "connect", errno);
		return;
	}
	load->open++;
	poll_add(load->epoll, client->fd, client);
}

/* Closes one connection, counts it, and begins the next unless the time is up. */
static void client_end(struct load *load, struct client *client, const char *wrong, int error)
{
	uint64_t us = (clock_ns() - client->begin_ns) / 1000;

	close(client->fd);
	client->fd = -1;
	load->open--;
	if (wrong != NULL) {
		errors_add(&load->errors, wrong, error);
	} else {
		load->done++;
		load->latency[us < LATENCY_MAX ? us : LATENCY_MAX]++;
	}
	if (!load->closing && load->errors.count < ERRORS_MAX)
		client_begin(load, client);
}

/* What is wrong with a whole answer, or NULL. */
static const char *answer_fault(const struct load *load, const struct client *client)
{
	static const char status[] = "HTTP/1.1 200 ";
	size_t status_len = sizeof(status) - 1;
	const char *body;

	if (client->len == 0)
		return "closed without an answer";
	if (client->len < status_len + 4 + load->body_len)
		return "closed in the middle of an answer";
	body = client->answer + client->len - load->body_len;
	if (memcmp(body - 4, "\r\n\r\n", 4) != 0)
		return "closed in the middle of an answer, or it is too long";
	if (memcmp(client->answer, status, status_len) != 0 || memcmp(body, load->body, load->body_len) != 0)
		return "wrong answer";
	return NULL;
}

/* Reads until there is nothing more for now, or to the end. */
static void client_read(struct load *load, struct client *client)
{
	ssize_t got;

	while ((got = recv(client->fd, client->answer + client->len, ANSWER_MAX - client->len, 0)) > 0)
		client->len += (size_t)got;
	if (got == 0)
		client_end(load, client, answer_fault(load, client), 0);
	else if (errno != EAGAIN)
		client_end(load, client, "reading the answer", errno);
}

static void client_event(struct load *load, struct client *client, uint32_t events)
{
	if (!client->sent) {
		int error = client_error(client->fd);

		if (error != 0)
			return client_end(load, client, "connecting", error);
		if ((events & EPOLLOUT) == 0)
			return;
		error = client_send(client->fd, load->request, load->request_len);
		if (error != 0)
			return client_end(load, client, "sending the request", error);
		client->sent = true;
	}
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
		client_read(load, client);
}

static void load_turn(struct load *load)
{
	struct epoll_event events[256];
	int count = epoll_wait(load->epoll, events, 256, 100);

	for (int i = 0; i < count; i++)
		client_event(load, events[i].data.ptr, events[i].events);
}

/* Returns the seconds that it took, the last connection's end included. */
static double load_run(struct load *load, struct client *clients, size_t n_clients, unsigned long milliseconds)
{
	uint64_t begin_ns = clock_ns(), deadline_ns = begin_ns + milliseconds * 1000000, now_ns;

	for (size_t i = 0; i < n_clients; i++)
		client_begin(load, &clients[i]);
	do {
		load_turn(load);
		now_ns = clock_ns();
		load->closing = now_ns >= deadline_ns;
	} while (load->open > 0 && now_ns < deadline_ns + DRAIN_NS);
	for (; load->open > 0; load->open--)
		errors_add(&load->errors, "an answer that never ended", 0);
	return (double)(now_ns - begin_ns) / 1e9;
}

static unsigned long load_percentile(const struct load *load, double part)
{
	unsigned long seen = 0, us = 0;

	for (; us < LATENCY_MAX; us++) {
		seen += load->latency[us];
		if ((double)seen >= part * (double)load->done)
			break;
	}
	return us;
}

static void load_print(const struct load *load, double seconds)
{
	printf("{\"connections\": %lu, \"seconds\": %.6f, \"per_second\": %.1f, \"p50_us\": %lu, \"p99_us\": "
	       "%lu, ",
		load->done, seconds, (double)load->done / seconds, load_percentile(load, 0.50),
		load_percentile(load, 0.99));
	errors_print(&load->errors);
	puts("}");
}

int main(int argc, char **argv)
{
	struct load *load = calloc(1, sizeof(*load));
	struct client *clients;
	size_t n_clients;
	double seconds;

	if (argc != 6) {
		fputs("usage: connload PORT MILLISECONDS CLIENTS PATH BODY\n", stderr);
		return 2;
	}
	n_clients = number_parse(argv[3], "CLIENTS", 100000);
	clients = calloc(n_clients, sizeof(*clients));
	if (load == NULL || clients == NULL)
		err(1, "calloc");
	load->port = (in_port_t)number_parse(argv[1], "PORT", 65535);
	load->body = argv[5];
	load->body_len = strlen(argv[5]);
	load->request_len = (size_t)snprintf(load->request, sizeof(load->request),
		"GET %s HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n", argv[4]);
	if (load->request_len >= sizeof(load->request))
		errx(2, "PATH is too long");
	files_raise_limit();
	load->epoll = poll_new();
	seconds = load_run(load, clients, n_clients, number_parse(argv[2], "MILLISECONDS", 3600000));
	load_print(load, seconds);
	free(clients);
	free(load);
	return 0;
}
