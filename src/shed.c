/* Holds the undecided connections of a worker to their limits. Refuses nobody who comes: it ends who has waited longest. Owns nothing;
 * a connection's place among the undecided is the connection's. */
#include "shed.h"
#include "connection.h"
#include "log.h"
#include "undecided.h"
#include "worker.h"

/* Not without a last look: of who has just come in nothing was seen yet, and it may have said everything. */
static void shed_connection(struct connection *connection, const char *limit)
{
	undecided_ready(connection, true);
	if (!connection->place.source)
		return;
	connection->refused = limit;
	connection_end(connection, END_SHED);
}

static void shed_place(struct crowd_place *place, const char *limit)
{
	shed_connection(container_of(place, struct connection, place), limit);
}

bool shed_one(struct worker *worker, const char *limit)
{
	struct crowd_place *victim = crowd_victim(worker->undecided, NULL);

	if (victim)
		shed_place(victim, limit);
	return victim;
}

static void shed_tell(struct told *told, const struct connection *newest, const char *limit, unsigned most)
{
	char text[ADDRESS_TEXT_MAX];
	unsigned n = told_again(told, newest->worker->loop.now_us);

	if (n)
		log_warning("%s reached (%u): %u undecided connections shed, now that %s has come", limit, most, n,
			address_format(&newest->client, text));
}

/* One more has come. The newest itself stays, however few there may be. */
static void shed_excess(struct connection *newest)
{
	static const char in_all[] = "max_undecided", of_one[] = "max_undecided_per_source";
	struct worker *worker = newest->worker;
	const struct limits *limits = worker->shared->limits;
	const struct capacity *most = &worker->capacity;
	struct crowd_place *place = &newest->place, *victim;

	while (limits_over_undecided_here(limits, worker->slot, place->counted, most->of_one_source) &&
		(victim = crowd_victim_beside(place))) {
		shed_place(victim, of_one);
		shed_tell(&worker->told_of_one_source, newest, of_one, most->of_one_source);
	}
	while (limits_over_undecided(limits, worker->slot, most->undecided) &&
		(victim = crowd_victim(worker->undecided, place))) {
		shed_place(victim, in_all);
		shed_tell(&worker->told_undecided, newest, in_all, most->undecided);
	}
}

void shed_leave(struct connection *connection)
{
	struct worker *worker = connection->worker;

	if (!connection->place.source)
		return;
	crowd_leave(worker->undecided, &connection->place);
	limits_leave_undecided(worker->shared->limits, worker->slot, &connection->place.counted);
}

void shed_enter(struct connection *connection)
{
	struct worker *worker = connection->worker;
	uint64_t source = connection->phase == PHASE_PROXIED ? 0 : access_source(&connection->client);

	shed_leave(connection);
	crowd_enter(worker->undecided, &connection->place, source);
	limits_enter_undecided(worker->shared->limits, worker->slot, source, &connection->place.counted);
	shed_excess(connection);
}
