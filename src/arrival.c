/* Makes a connection what it was in another worker. It counts here as it did there, under the names that this policy has as well; a
 * rate is not charged again and no limit refuses it. The message was checked (migrant.h). */
#include "arrival.h"
#include "account.h"
#include "connection.h"
#include "fd.h"
#include "past.h"
#include "proxied.h"
#include "relay_pool.h"
#include "report.h"
#include "worker.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct listener_policy *listener_of(const struct policy *policy, const char *text)
{
	for (size_t i = 0; i < policy->n_listeners; i++)
		if (strcmp(policy->listeners[i].text, text) == 0)
			return &policy->listeners[i];
	return NULL;
}

/* The one that has the name here; NULL: none. */
static const struct service *service_of(const struct policy *policy, const char *name)
{
	for (size_t i = 0; name && i < policy->n_services; i++)
		if (strcmp(policy->services[i].name, name) == 0)
			return &policy->services[i];
	return NULL;
}

uint64_t arrival_idle_us(const struct policy *policy, const struct migrant_parts *parts)
{
	const struct service *service = service_of(policy, parts->text[MIGRANT_SERVICE]);

	return service ? service->idle_timeout_us : policy->idle_timeout_us;
}

static void arrival_enter(struct connection *connection, const struct listener_policy *listener)
{
	const struct worker *worker = connection->worker;
	struct limits *limits = worker->shared->limits;
	const char *name = connection_service_name(connection);
	const struct service *service = service_of(worker->policy, name);

	connection->listener_place = LIMITS_NONE;
	limits_enter_all(limits, worker->slot, 0);
	if (listener && listener->max_connections)
		limits_enter_listener(limits, worker->slot, limits_service(listener->text), UINT32_MAX,
			&connection->listener_place);
	if (name)
		limits_enter_again(limits, worker->slot, service ? service->access : NULL, limits_service(name),
			&connection->client, &connection->ticket);
}

static void arrival_name(
	struct connection *connection, const struct migrant_parts *parts, const struct listener_policy *listener)
{
	const char *const *text = parts->text;

	connection->past = parts->head->state == MIGRANT_RELAYING ? past_new(parts) : NULL;
	if (connection->past)
		text = connection->past->text;
	connection->sni = connection->past ? text[MIGRANT_SNI] : NULL;
	connection->alpn = connection->past ? text[MIGRANT_ALPN] : NULL;
	connection->host = connection->past ? text[MIGRANT_HOST] : NULL;
	connection->listener = connection->past ? text[MIGRANT_LISTENER] : listener ? listener->text : "";
	connection->decider = listener ? (size_t)(listener - connection->worker->policy->listeners) : 0;
}

static int flow_unpack(struct relay *relay, struct relay_flow *flow, const struct migrant_flow *from,
	const uint8_t *pending, int *fds)
{
	*flow = (struct relay_flow){
		.bytes = from->bytes,
		.uncounted = from->uncounted,
		.ended = from->ended,
		.told = from->told,
		.discard = from->discard,
		.copy_only = from->copy_only,
	};
	if (from->pending_len) {
		flow->pending = relay_pool_take_buffer(relay->pool);
		if (!flow->pending)
			return -ENOMEM;
		memcpy(flow->pending, pending, from->pending_len);
		flow->pending_len = from->pending_len;
	}
	if (fds[0] < 0)
		return 0;
	flow->pipe = relay_pool_adopt_pipe(relay->pool, fds[0], fds[1]);
	if (!flow->pipe)
		return -ENOMEM;
	fds[0] = fds[1] = -1;
	flow->in_pipe = from->in_pipe;
	return 0;
}

static int watch_take(struct loop *loop, struct watch *watch, int *fd, uint32_t events)
{
	if (*fd < 0)
		return 0;
	int error = loop_watch(loop, watch, *fd, events);
	if (error == 0)
		*fd = -1;
	return error;
}

static int side_take(struct loop *loop, struct relay_side *side, int *fd)
{
	side->is_unix = fd_is_unix(*fd);
	return watch_take(loop, &side->in, fd, RELAY_EVENTS);
}

static int relay_unpack(struct connection *connection, const struct migrant_parts *parts, int *fds)
{
	const struct migrant *head = parts->head;
	struct relay *relay = &connection->relay;

	relay->moved_us = head->moved_us;
	relay->lingering = head->lingering;
	relay->server.kind = (enum side_kind)head->server_kind;
	int error = flow_unpack(relay, &relay->up, &head->up, parts->up, &fds[MIGRANT_UP_OUT]);
	if (error == 0)
		error = flow_unpack(relay, &relay->down, &head->down, parts->down, &fds[MIGRANT_DOWN_OUT]);
	if (error == 0)
		error = side_take(relay->loop, &relay->server, &fds[MIGRANT_SERVER]);
	if (error == 0)
		error = watch_take(relay->loop, &relay->server.out, &fds[MIGRANT_INPUT], EPOLLOUT | EPOLLET);
	return error;
}

/* The header was read by the other worker. */
static int proxied_unpack(struct connection *connection, const struct migrant_parts *parts)
{
	const struct migrant *head = parts->head;

	if (head->header_len == 0)
		return 0;
	struct proxied *proxied = malloc(sizeof(*proxied) + head->header_len);
	if (!proxied)
		return -ENOMEM;
	*proxied = (struct proxied){ .peer = head->peer, .destination = head->destination, .len = head->header_len };
	memcpy(proxied->header, parts->header, head->header_len);
	connection->proxied = proxied;
	return 0;
}

int arrival_unpack(struct connection *connection, const struct migrant_parts *parts, int *fds)
{
	const struct migrant *head = parts->head;
	const struct listener_policy *listener =
		listener_of(connection->worker->policy, parts->text[MIGRANT_LISTENER]);
	bool relays = head->state == MIGRANT_RELAYING;

	connection->id = head->id;
	connection->accepted_us = head->accepted_us;
	connection->decided_us = head->decided_us;
	connection->client = head->client;
	connection->was_silent = head->was_silent;
	arrival_name(connection, parts, listener);
	arrival_enter(connection, listener);
	if (head->kept_len)
		report_keep(connection, parts->kept, head->kept_len);
	int error = side_take(&connection->worker->loop, &connection->relay.client, &fds[MIGRANT_CLIENT]);
	if (error == 0)
		error = proxied_unpack(connection, parts);
	if (error == 0 && relays)
		error = connection->past ? relay_unpack(connection, parts, fds) : -ENOMEM;
	if (error == 0 && !relays && !listener)
		error = -ENOENT; /* the other worker was told which there are */
	for (size_t i = 0; i < MIGRANT_FDS; i++)
		fds[i] = fd_close(fds[i]);
	return error;
}
