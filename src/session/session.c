/* What holds for a session by whatever transport it came: its place among the others, and the names of what became of it. Refuses to
 * know sockets. Owns its names, the header of its proxy and what it was called in another worker. */
#include "session.h"
#include "evidence_kept.h"
#include "former.h"
#include <stdlib.h>
#include <string.h>

const char *const session_phase_names[SESSION_PHASES] = {
	[PHASE_PROXIED] = "proxy-header",
	[PHASE_DECIDING] = "deciding",
	[PHASE_ASKING] = "asking",
	[PHASE_CONNECTING] = "connecting",
	[PHASE_SPAWNING] = "spawning",
	[PHASE_HANDING_OVER] = "handing-over",
	[PHASE_RELAYING] = "relaying",
	[PHASE_TARPIT] = "tarpit",
	[PHASE_ENDED] = "ended",
};

static void session_out_of_time(struct timer *timer)
{
	struct session *session = container_of(timer, struct session, deadline);

	session->transport->deadlines[session->phase].passed(session);
}

static struct session *session_of(struct list_item *item)
{
	return list_of(item, struct session, item);
}

struct session *session_new(
	const struct transport *transport, struct context *context, size_t size, struct list *spare)
{
	struct session *session = session_of(spare->first);

	if (session)
		list_remove(spare, &session->item);
	else
		session = malloc(size);
	if (!session)
		return NULL;
	memset(session, 0, size);
	session->transport = transport;
	session->context = context;
	session->service = SERVICE_NONE;
	session->protocol = PROTOCOL_NONE;
	session->ticket = (struct limits_ticket){ LIMITS_NONE, LIMITS_NONE };
	session->listener_place = LIMITS_NONE;
	session->deadline = (struct timer){ .fired = session_out_of_time };
	list_prepend(&context->sessions, &session->item);
	context->n_sessions++;
	return session;
}

int session_enter(struct session *session, enum session_phase phase)
{
	const struct session_deadline *deadline = &session->transport->deadlines[phase];
	struct loop *loop = &session->context->loop;
	uint64_t due_us = deadline->due_us ? deadline->due_us(session) : UINT64_MAX;

	session->phase = phase;
	if (due_us != UINT64_MAX)
		return loop_timer(loop, &session->deadline, due_us);
	loop_timer_stop(loop, &session->deadline);
	return 0;
}

void session_leave_limits(struct session *session)
{
	struct context *context = session->context;
	struct limits *limits = context->shared->limits;

	limits_leave(limits, context->slot, &session->ticket);
	limits_leave_listener(limits, context->slot, &session->listener_place);
	limits_leave_all(limits, context->slot);
	loop_timer_stop(&context->loop, &session->deadline);
}

void session_free(struct session *session, struct list *spare)
{
	struct context *context = session->context;

	string_pool_give(&context->strings, session->names);
	evidence_kept_end(session);
	free(session->former);
	free(session->proxied);
	list_remove(&context->sessions, &session->item);
	context->n_sessions--;
	list_prepend(spare, &session->item);
}

void session_free_spare(struct list *spare)
{
	for (struct list_item *item = spare->first, *next; item; item = next) {
		next = item->next;
		free(session_of(item));
	}
	*spare = (struct list){ 0 };
}

struct session *session_first(const struct context *context)
{
	return session_of(context->sessions.first);
}

struct session *session_next(const struct session *session)
{
	return session_of(session->item.next);
}

struct session *session_find(const struct context *context, uint64_t id)
{
	struct session *session = session_first(context);

	while (session && (session->id != id || session->phase == PHASE_ENDED))
		session = session_next(session);
	return session;
}

void session_look_again(struct context *context)
{
	for (struct session *session = session_first(context); session; session = session_next(session))
		if (session_is_undecided(session))
			session->transport->look(session);
}

const struct address *session_via(const struct session *session)
{
	return session->proxied && session->proxied->peer.len ? &session->proxied->peer : NULL;
}

struct limits_source session_source(const struct session *session)
{
	return (struct limits_source){ access_source(&session->client),
		session->transport->kind == TRANSPORT_DATAGRAM };
}

bool session_is_banned(const struct session *session)
{
	const struct context *context = session->context;

	return live_list_has(context->shared->live, LIVE_BAN, &session->client, context->loop.now_us);
}

bool session_is_undecided(const struct session *session)
{
	return session->phase == PHASE_PROXIED || session->phase == PHASE_DECIDING;
}

const struct service *session_service(const struct session *session)
{
	return &session->context->policy->services[session->service];
}

const struct service *session_service_here(const struct session *session)
{
	const struct policy *policy = session->context->policy;
	const char *name = session_service_name(session);

	for (size_t i = 0; name && i < policy->n_services; i++)
		if (strcmp(policy->services[i].name, name) == 0)
			return &policy->services[i];
	return NULL;
}

const char *session_service_name(const struct session *session)
{
	if (session->former)
		return session->former->text[TEXT_SERVICE];
	return session->service == SERVICE_NONE ? NULL : session_service(session)->name;
}

uint64_t session_idle_us(const struct session *session)
{
	const struct service *service = session_service_here(session);

	return service ? service->idle_timeout_us : session->context->policy->idle_timeout_us;
}

enum delivery session_delivery(const struct session *session)
{
	return session->former ? session->former->delivery : session_service(session)->target.delivery;
}

const char *session_protocol(const struct session *session)
{
	if (session->former)
		return session->former->text[TEXT_PROTOCOL];
	if (session->protocol == PROTOCOL_NONE)
		return NULL;
	return session->context->policy->protocols[session->protocol].name;
}

const char *session_backend(const struct session *session)
{
	struct session_progress progress;

	if (session->former)
		return session->former->text[TEXT_BACKEND];
	const struct target *target = &session_service(session)->target;
	switch (target->delivery) {
	case DELIVERY_CONNECT:
		session->transport->progress(session, &progress);
		return progress.backend == SESSION_NO_BACKEND ? NULL
							      : target->connect.backends[progress.backend].text;
	case DELIVERY_HANDOVER:
		return target->handover.text;
	case DELIVERY_EXEC:
		return target->exec.argv[0];
	default:
		return NULL;
	}
}

void session_describe(const struct session *session, enum message_program program, struct message *ret)
{
	const char *protocol = session_protocol(session);

	*ret = (struct message){
		.kind = MESSAGE_SPAWN,
		.spawn = {
			.program = program,
			.service = session->service,
			.connection = session->id,
			.client = session->client,
			.is_datagram = session->transport->kind == TRANSPORT_DATAGRAM,
		},
	};
	session->transport->local(session, &ret->spawn.local);
	if (protocol)
		strncpy(ret->spawn.protocol, protocol, sizeof(ret->spawn.protocol) - 1);
	if (session->sni)
		strncpy(ret->spawn.sni, session->sni, sizeof(ret->spawn.sni) - 1);
}
