/* Makes a session what it was in another worker. It counts here as it did there, under the names that this policy has as well; a
 * rate is not charged again and no limit refuses it. The message was checked (migrant.h). */
#include "migration_unpack.h"
#include "account.h"
#include "evidence_kept.h"
#include "fd.h"
#include "former.h"
#include "hash.h"
#include "log.h"
#include "migrant.h"
#include "proxied.h"
#include "relay_pool.h"
#include "stream.h"
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

static void enter_limits(struct stream *stream, const struct listener_policy *listener)
{
	const struct context *context = stream->session.context;
	struct limits *limits = context->shared->limits;
	const char *name = session_service_name(&stream->session);
	const struct service *service = service_of(context->policy, name);

	stream->session.listener_place = LIMITS_NONE;
	limits_enter_all(limits, context->slot, 0);
	if (listener && listener->max_connections)
		limits_enter_listener(limits, context->slot, hash_name(listener->text), UINT32_MAX,
			&stream->session.listener_place);
	if (name)
		limits_enter_again(limits, context->slot, service ? service->access : NULL, hash_name(name),
			&stream->session.client, &stream->session.ticket);
}

static void take_names(
	struct stream *stream, const struct migrant_parts *parts, const struct listener_policy *listener)
{
	const char *const *text = parts->text;

	if (parts->head->state == MIGRANT_RELAYING)
		stream->session.former = former_new(
			parts->text, (enum delivery)parts->head->delivery, (enum log_level)parts->head->log_level);
	if (stream->session.former)
		text = stream->session.former->text;
	stream->session.sni = stream->session.former ? text[TEXT_SNI] : NULL;
	stream->session.alpn = stream->session.former ? text[TEXT_ALPN] : NULL;
	stream->session.host = stream->session.former ? text[TEXT_HOST] : NULL;
	stream->session.listener = stream->session.former ? text[TEXT_LISTENER] : listener ? listener->text : "";
	stream->session.decider = listener ? (size_t)(listener - stream->session.context->policy->listeners) : 0;
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

static int relay_unpack(struct stream *stream, const struct migrant_parts *parts, int *fds)
{
	const struct migrant *head = parts->head;
	struct relay *relay = &stream->relay;

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
static int proxied_unpack(struct stream *stream, const struct migrant_parts *parts)
{
	const struct migrant *head = parts->head;

	if (head->header_len == 0)
		return 0;
	struct proxied *proxied = malloc(sizeof(*proxied) + head->header_len);
	if (!proxied)
		return -ENOMEM;
	*proxied = (struct proxied){ .peer = head->peer, .destination = head->destination, .len = head->header_len };
	memcpy(proxied->header, parts->header, head->header_len);
	stream->session.proxied = proxied;
	return 0;
}

static int stream_unpack(struct stream *stream, const struct migrant_parts *parts, int *fds)
{
	const struct migrant *head = parts->head;
	const struct listener_policy *listener =
		listener_of(stream->session.context->policy, parts->text[TEXT_LISTENER]);
	bool relays = head->state == MIGRANT_RELAYING;

	stream->session.id = head->id;
	stream->session.accepted_us = head->accepted_us;
	stream->session.decided_us = head->decided_us;
	stream->session.client = head->client;
	stream->was_silent = head->was_silent;
	take_names(stream, parts, listener);
	enter_limits(stream, listener);
	if (head->kept_len)
		evidence_keep(&stream->session, parts->kept, head->kept_len);
	int error = side_take(&stream->session.context->loop, &stream->relay.client, &fds[MIGRANT_CLIENT]);
	if (error == 0)
		error = proxied_unpack(stream, parts);
	if (error == 0 && relays)
		error = stream->session.former ? relay_unpack(stream, parts, fds) : -ENOMEM;
	if (error == 0 && !relays && !listener)
		error = -ENOENT; /* the other worker was told which there are */
	for (size_t i = 0; i < MIGRANT_FDS; i++)
		fds[i] = fd_close(fds[i]);
	return error;
}

/* How long it may be idle here: by the service of its name, if there is one. */
static uint64_t idle_us_of(const struct policy *policy, const struct migrant_parts *parts)
{
	const struct service *service = service_of(policy, parts->text[TEXT_SERVICE]);

	return service ? service->idle_timeout_us : policy->idle_timeout_us;
}

void migration_unpack(struct context *context, const struct migrant_parts *parts, int *fds)
{
	bool relays = parts->head->state == MIGRANT_RELAYING;
	struct stream *stream = stream_arrive(context, relays ? idle_us_of(context->policy, parts) : 0);

	if (!stream) {
		for (size_t i = 0; i < MIGRANT_FDS; i++)
			fd_close(fds[i]);
		return;
	}
	int error = stream_unpack(stream, parts, fds);
	stream_arrived(stream, error, parts->head->state == MIGRANT_PROXIED ? PROXIED_BY_TRUSTED : PROXIED_BY_NOBODY);
}
