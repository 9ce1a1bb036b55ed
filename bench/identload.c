/* Connections that an identifier must name, a second: a fixed number of clients, each connects, sends one line, waits for
 * the end and begins anew. usher closes orderly the clients that it could name and resets the others, so that every answer is
 * checked. Refuses to go on after an error: the figure is lost. Owns one array of clients. */
#include "client.h"
#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINE "EHLO there\r\n"

struct client {
	int fd;
	bool sent;
};

struct load {
	in_port_t port;
	int epoll;
	bool closing; /* the time is up: no new connections */
	unsigned long begun, named, open;
};

static void client_begin(struct load *load, struct client *client)
{
	client->sent = false;
	client->fd = client_connect(load->port, load->begun++);
	if (client->fd < 0)
		err(1, "connect");
	load->open++;
	poll_add(load->epoll, client->fd, client);
}

static void client_event(struct load *load, struct client *client, uint32_t events)
{
	char byte;

	if (!client->sent && events & EPOLLOUT) {
		errno = client_send(client->fd, LINE, sizeof(LINE) - 1);
		if (errno != 0)
			err(1, "send");
		client->sent = true;
	}
	ssize_t n = recv(client->fd, &byte, 1, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n != 0)
		err(1, n > 0 ? "a byte came back" : "a client was not named");
	close(client->fd);
	load->open--;
	load->named++;
	if (!load->closing)
		client_begin(load, client);
}

int main(int argc, char **argv)
{
	struct load load = { 0 };
	struct epoll_event events[256];

	if (argc != 4) {
		fputs("usage: identload PORT MILLISECONDS CLIENTS\n", stderr);
		return 2;
	}
	load.port = (in_port_t)number_parse(argv[1], "PORT", 65535);
	uint64_t begin_ns = clock_ns();
	uint64_t end_ns = begin_ns + 1000000 * number_parse(argv[2], "MILLISECONDS", 3600000);
	size_t n_clients = number_parse(argv[3], "CLIENTS", 100000);
	struct client *clients = calloc(n_clients, sizeof(*clients));
	if (!clients)
		err(1, "calloc");
	files_raise_limit();
	load.epoll = poll_new();
	for (size_t i = 0; i < n_clients; i++)
		client_begin(&load, &clients[i]);
	while (load.open) {
		int count = epoll_wait(load.epoll, events, 256, -1);
		load.closing = clock_ns() >= end_ns;
		for (int i = 0; i < count; i++)
			client_event(&load, events[i].data.ptr, events[i].events);
	}
	printf("%.1f\n", (double)load.named / ((double)(clock_ns() - begin_ns) / 1e9));
	free(clients);
	return 0;
}
