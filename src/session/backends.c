/* Sessions and their backends. Says in the log when a backend goes down or is up again, which the worker says whose client found it.
 * Owns the choosers of its worker. */
#include "backends.h"
#include "access.h"
#include "hash.h"
#include "log.h"
#include "session_log.h"
#include <stdlib.h>

static void backend_changed(
	void *context, const struct chooser *chooser, const struct candidate *candidate, int error)
{
	const struct chooser_of *of = chooser_is_of(chooser);
	char buf[CHOOSER_TEXT_MAX];
	const char *text = chooser_text(chooser, candidate, buf);

	if (error == 0)
		log_notice("service %s: backend %s is up again", of->service, text);
	else
		log_notice("service %s: backend %s is down (%s): others are tried first", of->service, text,
			session_error_text(error));
}

static size_t chooser_number(uint32_t service, enum transport_kind transport)
{
	return (size_t)service * TRANSPORT_COUNT + transport;
}

struct chooser *backends_chooser(struct context *context, uint32_t service, enum transport_kind transport)
{
	struct chooser **chooser = &context->choosers[chooser_number(service, transport)];
	const struct service *policy = &context->policy->services[service];

	if (!*chooser)
		*chooser = chooser_new(&(struct chooser_of){
			.service = policy->name,
			.transport = transport,
			.target = &policy->target,
			.lookup = context->lookup,
			.table = context->shared->backends,
			.limits = context->shared->limits,
			.slot = context->slot,
			.changed = backend_changed,
		});
	return *chooser;
}

void backends_free(struct context *context)
{
	size_t n = chooser_number((uint32_t)context->policy->n_services, TRANSPORT_STREAM);

	for (size_t i = 0; context->choosers && i < n; i++)
		chooser_free(context->choosers[i]);
	free(context->choosers);
	context->choosers = NULL;
}

/* ---- told apart ---- */

uint64_t backends_hash_bytes(const void *bytes, size_t len)
{
	return balance_mix(hash_bytes(bytes, len));
}

/* A name has no case. */
static uint64_t hash_folded(const char *name)
{
	uint64_t hash = HASH_START;

	for (; *name; name++)
		hash = hash_byte(hash, (uint8_t)(*name >= 'A' && *name <= 'Z' ? *name + ('a' - 'A') : *name));
	return balance_mix(hash);
}

uint64_t backends_hash(const struct session *session, const struct target *target)
{
	enum hash_by by = target->connect.hash_by;
	const char *name = by == HASH_BY_SNI ? session->sni : by == HASH_BY_HOST ? session->host : NULL;

	if (!balances[target->connect.balance]->hashes)
		return session->id;
	return name ? hash_folded(name) : balance_mix(access_source(&session->client));
}

/* ---- counted ---- */

void backends_hold(struct session *session, struct choice *choice)
{
	if (!choice->is_counted)
		return;
	session->backend_place = choice->taken.place;
	session->backend_key = choice->taken.key;
	choose_hand_on(choice);
}

void backends_release(struct session *session)
{
	struct context *context = session->context;

	if (!session->backend_key)
		return;
	backend_table_leave(context->shared->backends, context->slot, session->backend_place);
	session->backend_key = 0;
	if (session->service == SERVICE_NONE)
		return;
	struct chooser *chooser = context->choosers[chooser_number(session->service, session->transport->kind)];
	if (chooser)
		chooser_call(chooser);
}

bool backends_choice(const struct session *session, struct choice *ret)
{
	if (!session->backend_key || session->service == SERVICE_NONE)
		return false;
	struct chooser *chooser =
		session->context->choosers[chooser_number(session->service, session->transport->kind)];
	return chooser && choose_held(ret, chooser, session->backend_key);
}

void backends_arrived(struct session *session, uint64_t key)
{
	struct context *context = session->context;
	const char *service = session_service_name(session);

	if (!key || !service)
		return;
	uint32_t place = backend_table_place(context->shared->backends, context->slot, hash_name(service), key);
	if (place == BACKEND_NONE ||
		!backend_table_enter(
			context->shared->backends, context->shared->limits, context->slot, place, key, 0))
		return;
	session->backend_place = place;
	session->backend_key = key;
}
