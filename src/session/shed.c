/* Holds the undecided sessions of a worker to their limits. Refuses nobody who comes: it ends who has waited longest. Owns nothing;
 * a session's place among the undecided is the session's. */
#include "shed.h"
#include "log.h"
#include "session.h"

static bool is_of_tarpit(const struct session *session)
{
	return session->phase == PHASE_TARPIT;
}

/* Not without a last look: of who has just come in nothing was seen yet, and it may have said everything. */
static void shed_session(struct session *session, const char *limit)
{
	if (!is_of_tarpit(session))
		session->transport->look(session);
	if (!session->place.source)
		return;
	session->refused = limit;
	session->transport->end(session, END_SHED);
}

static void shed_place(struct undecided_place *place, const char *limit)
{
	shed_session(container_of(place, struct session, place), limit);
}

static bool is_flow(const struct session *session)
{
	return session->transport->kind == TRANSPORT_DATAGRAM;
}

static struct undecided_registry *registry_of(const struct session *session)
{
	struct context *context = session->context;

	if (session->is_unproven)
		return context->unproven;
	if (is_of_tarpit(session))
		return context->tarpit;
	return is_flow(session) ? context->undecided_flows : context->undecided;
}

static struct undecided_place *victim_in(
	const struct undecided_registry *registry, const struct undecided_place *spared)
{
	return registry ? undecided_registry_victim(registry, spared) : NULL;
}

bool shed_one_flow(struct context *context, const char *limit)
{
	struct undecided_place *victim = victim_in(context->unproven, NULL);

	if (!victim)
		victim = victim_in(context->undecided_flows, NULL);
	if (victim)
		shed_place(victim, limit);
	return victim;
}

bool shed_one_of_tarpit(struct context *context, const char *limit)
{
	struct undecided_place *victim = victim_in(context->tarpit, NULL);

	if (victim)
		shed_place(victim, limit);
	return victim;
}

bool shed_one(struct context *context, const char *limit)
{
	if (shed_one_of_tarpit(context, limit) || shed_one_flow(context, limit))
		return true;
	struct undecided_place *victim = victim_in(context->undecided, NULL);
	if (victim)
		shed_place(victim, limit);
	return victim;
}

static void shed_tell(struct log_limit *told, const struct session *newest, const char *limit, unsigned most)
{
	char text[ADDRESS_TEXT_MAX];
	unsigned n = log_limit_count(told, LOG_LIMIT_US, newest->context->loop.now_us);

	if (n)
		log_warning("%s reached (%u): %u undecided connections shed, the last when %s connected", limit, most,
			n, address_format(&newest->client, text));
}

/* Flows go first, and for a flow nothing else. */
static struct undecided_place *undecided_victim(const struct session *newest)
{
	struct context *context = newest->context;
	struct undecided_place *victim = victim_in(context->undecided_flows, &newest->place);

	return victim || is_flow(newest) ? victim : victim_in(context->undecided, &newest->place);
}

/* One more has come. The newest itself stays, however few there may be. */
static void shed_excess(struct session *newest)
{
	static const char in_all[] = "max_undecided", of_one[] = "max_undecided_per_source";
	struct context *context = newest->context;
	const struct limits *limits = context->shared->limits;
	const struct capacity *most = &context->capacity;
	struct undecided_place *place = &newest->place, *victim;

	while (limits_over_undecided_here(limits, context->slot, place->counted, most->of_one_source) &&
		(victim = undecided_registry_victim_beside(place))) {
		shed_place(victim, of_one);
		shed_tell(&context->told_of_one_source, newest, of_one, most->of_one_source);
	}
	while (limits_over_undecided(limits, context->slot, most->undecided) && (victim = undecided_victim(newest))) {
		shed_place(victim, in_all);
		shed_tell(&context->told_undecided, newest, in_all, most->undecided);
	}
}

void shed_leave(struct session *session)
{
	struct context *context = session->context;

	if (!session->place.source)
		return;
	undecided_registry_leave(registry_of(session), &session->place);
	if (!session->is_unproven && !is_of_tarpit(session))
		limits_leave_undecided(context->shared->limits, context->slot, &session->place.counted);
	session->is_unproven = false;
}

/* One that is there already counts under its new source before it leaves the old one: at no moment it counts nowhere. */
void shed_count(struct session *session)
{
	struct context *context = session->context;
	struct limits_source source = { 0 };
	bool was_there = session->place.source;
	uint32_t before = session->place.counted;

	if (session->phase != PHASE_PROXIED)
		source = session_source(session);
	undecided_registry_leave(registry_of(session), &session->place);
	undecided_registry_enter(registry_of(session), &session->place, source.number);
	limits_enter_undecided(context->shared->limits, context->slot, source, &session->place.counted);
	if (was_there)
		limits_leave_undecided(context->shared->limits, context->slot, &before);
}

void shed_enter(struct session *session)
{
	shed_count(session);
	shed_excess(session);
}

void shed_enter_unproven(struct session *session)
{
	struct context *context = session->context;

	shed_leave(session);
	undecided_registry_enter(context->unproven, &session->place, access_source(&session->client));
	session->is_unproven = true;
}

void shed_enter_tarpit(struct session *session)
{
	undecided_registry_enter(session->context->tarpit, &session->place, access_source(&session->client));
}
