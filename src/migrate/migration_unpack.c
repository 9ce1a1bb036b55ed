/* Makes a session what it was in another worker. It counts here as it did there, under the names that this policy has as well; a
 * rate is not charged again and no limit refuses it. The message was checked (migrant.h); the transport checks what is its own
 * (transport_migration.h). */
#include "migration_unpack.h"
#include "account.h"
#include "backends.h"
#include "evidence_kept.h"
#include "former.h"
#include "hash.h"
#include "log.h"
#include "migrant.h"
#include "shed.h"
#include "transport_migration.h"
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

static void session_count(struct session *session, const struct listener_policy *listener, uint64_t backend)
{
	const struct context *context = session->context;
	struct limits *limits = context->shared->limits;
	const char *name = session_service_name(session);
	const struct service *service = session_service_here(session);

	limits_enter_all(limits, context->slot, 0);
	if (listener && listener->max_connections)
		limits_enter_listener(
			limits, context->slot, hash_name(listener->text), UINT32_MAX, &session->listener_place);
	if (name)
		limits_enter_again(limits, context->slot, service ? service->access : NULL, hash_name(name),
			session_source(session), &session->ticket);
	account_arrived(session);
	backends_arrived(session, backend);
	if (session_is_undecided(session))
		shed_count(session);
}

static void session_take_names(
	struct session *session, const struct migrant_parts *parts, const struct listener_policy *listener)
{
	const char *const *text = session->former ? session->former->text : parts->text;

	session->sni = session->former ? text[TEXT_SNI] : NULL;
	session->alpn = session->former ? text[TEXT_ALPN] : NULL;
	session->host = session->former ? text[TEXT_HOST] : NULL;
	session->listener = session->former ? text[TEXT_LISTENER] : listener ? listener->text : "";
	session->decider = listener ? (size_t)(listener - session->context->policy->listeners) : 0;
}

/* The header was read by the other worker. */
static int session_take_header(struct session *session, const struct migrant_parts *parts)
{
	const struct migrant *head = parts->head;

	if (head->header_len == 0)
		return 0;
	struct proxied *proxied = malloc(sizeof(*proxied) + head->header_len);
	if (!proxied)
		return -ENOMEM;
	*proxied = (struct proxied){ .peer = head->peer, .destination = head->destination, .len = head->header_len };
	memcpy(proxied->header, parts->header, head->header_len);
	session->proxied = proxied;
	return 0;
}

static int session_unpack(struct session *session, const struct migrant_parts *parts, struct migration_state *state)
{
	const struct migrant *head = parts->head;
	const struct listener_policy *listener = listener_of(session->context->policy, parts->text[TEXT_LISTENER]);
	uint64_t now_us = session->context->loop.now_us;

	session->id = head->id;
	session->accepted_us = migration_at_most(head->accepted_us, now_us);
	session->decided_us = migration_at_most(head->decided_us, now_us);
	session->client = head->client;
	session_take_names(session, parts, listener);
	session_count(session, listener, head->backend);
	if (head->kept_len)
		evidence_keep(session, parts->kept, head->kept_len);
	if (session_is_undecided(session) && !listener)
		return -ENOENT; /* the other worker was told which there are */
	int error = session_take_header(session, parts);
	return error < 0 ? error : session->transport->migration->unpack(session, state);
}

struct session *migration_unpack(
	struct context *context, const struct migrant_parts *parts, struct migration_state *state, int *ret_error)
{
	static const enum session_phase phases[MIGRANT_PHASES] = {
		[MIGRANT_PROXIED] = PHASE_PROXIED,
		[MIGRANT_DECIDING] = PHASE_DECIDING,
		[MIGRANT_RELAYING] = PHASE_RELAYING,
	};
	const struct migrant *head = parts->head;
	enum session_phase phase = phases[head->phase];
	const struct transport *transport = context->transports[head->transport];
	struct former *former = NULL;

	if (!transport || !transport->migration || !transport->migration->is_sound(phase, state)) {
		log_error("a connection that came from another worker is refused: its state or its descriptors are "
			  "wrong");
		return NULL;
	}
	if (phase == PHASE_RELAYING) {
		former = former_new(parts->text, (enum delivery)head->delivery, (enum log_level)head->log_level);
		if (!former)
			return NULL;
	}
	struct session *session = transport->migration->arrive(context, phase);
	if (!session) {
		free(former);
		return NULL;
	}
	session->former = former;
	*ret_error = session_unpack(session, parts, state);
	return session;
}
