/* HTTP by libmicrohttpd, on its own epoll set in the exporter's one thread.
 *
 * A client has one request, so much memory for it, and CLIENT_US from accept to the end, however slowly it sends and reads. When there are
 * many, the one that has been there longest without a whole request makes room. Refuses bodies: nothing reads them. */
#include "exporter_server.h"
#include "list.h"
#include "log.h"
#include "loop.h"
#include "policy.h"
#include "timer.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#define CLIENTS_MAX   64
#define CLIENTS_MANY  56 /* from here on somebody makes room */
#define CLIENT_MEMORY 16384
#define CLIENT_IDLE_S 10
#define CLIENT_US     30000000

struct client {
	struct list_item item; /* the oldest is the last */
	int fd;
	uint64_t since_us;
	bool answered, closing;
};

struct exporter_server {
	struct MHD_Daemon *daemon;
	struct exporter_answers answers;
	struct list clients;
	unsigned n_clients;
};

/* libmicrohttpd sees the end of a connection that was shut down, and closes it. */
static void client_close(struct client *client)
{
	client->closing = true;
	shutdown(client->fd, SHUT_RDWR);
}

static struct client *client_oldest(const struct exporter_server *server, bool answered)
{
	for (struct list_item *item = server->clients.last; item; item = item->previous) {
		struct client *client = container_of(item, struct client, item);
		if (!client->closing && client->answered == answered)
			return client;
	}
	return NULL;
}

static void make_room(struct exporter_server *server)
{
	struct client *client = client_oldest(server, false);

	if (!client)
		client = client_oldest(server, true);
	if (client)
		client_close(client);
}

static void client_changed(
	void *context, struct MHD_Connection *connection, void **own, enum MHD_ConnectionNotificationCode what)
{
	struct exporter_server *server = context;
	struct client *client = *own;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		client = calloc(1, sizeof(*client));
		*own = client;
		if (!client)
			return;
		client->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
		client->since_us = clock_monotonic_us();
		if (++server->n_clients > CLIENTS_MANY)
			make_room(server);
		list_prepend(&server->clients, &client->item);
	} else if (client) {
		list_remove(&server->clients, &client->item);
		server->n_clients--;
		free(client);
		*own = NULL;
	}
}

/* Once with the head of a request, and once more for each piece of a body and behind it. */
static enum MHD_Result requested(void *context, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *body, size_t *body_len, void **own)
{
	struct exporter_server *server = context;
	struct client *client =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
	const char *accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept");

	if (*body_len > 0 || !client)
		return MHD_NO;
	client->answered = true;
	return exporter_answer(&server->answers, connection,
		exporter_route(method, url, accept, server->answers.source.policy->metrics.page),
		clock_monotonic_us());
}

static void __attribute__((format(printf, 2, 0))) complained(void *context, const char *format, va_list arguments)
{
	char text[256];

	vsnprintf(text, sizeof(text), format, arguments);
	log_debug("exporter: %s", text);
}

struct exporter_server *exporter_server_new(int socket, const struct exporter_source *source)
{
	struct exporter_server *server = calloc(1, sizeof(*server));

	if (!server)
		return NULL;
	server->answers.source = *source;
	server->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, requested, server,
		MHD_OPTION_EXTERNAL_LOGGER, complained, NULL, MHD_OPTION_LISTEN_SOCKET, socket,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)CLIENTS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned)CLIENT_IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CLIENT_MEMORY,
		MHD_OPTION_NOTIFY_CONNECTION, client_changed, server, MHD_OPTION_END);
	if (server->daemon)
		return server;
	free(server);
	return NULL;
}

int exporter_server_fd(const struct exporter_server *server)
{
	return MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
}

int exporter_server_run(struct exporter_server *server, int most_ms)
{
	uint64_t now_us = clock_monotonic_us();
	MHD_UNSIGNED_LONG_LONG ms;

	for (struct list_item *item = server->clients.last; item; item = item->previous) {
		struct client *client = container_of(item, struct client, item);
		if (now_us - client->since_us < CLIENT_US)
			break;
		if (!client->closing)
			client_close(client);
	}
	MHD_run(server->daemon);
	if (MHD_get_timeout(server->daemon, &ms) == MHD_YES && ms < (unsigned)most_ms)
		return (int)ms;
	return most_ms;
}
