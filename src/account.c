/* Counts a connection: where it came in, for which service, how it ended, and which limit refused it. Refuses to look a name up
 * twice for one listener or service of a worker. Owns nothing: counters are the worker's part of the shared ones. */
#include "account.h"
#include "counters.h"
#include "listener.h"
#include "worker.h"

void account_accepted(struct connection *connection, const struct listener *listener)
{
	connection->came_in = listener->counter;
	counter_open(connection->came_in);
}

static struct counter *service_counter(struct worker *worker, uint32_t service)
{
	struct counter **counter = &worker->service_counters[service];

	if (!*counter)
		*counter = counter_get(worker->shared->counters, worker->slot, COUNTER_SERVICE,
			worker->policy->services[service].name);
	return *counter;
}

static void account_leave(struct connection *connection)
{
	if (connection->counted)
		counter_close(connection->counted);
	connection->counted = NULL;
}

void account_service(struct connection *connection, uint32_t service)
{
	account_leave(connection);
	connection->counted = service_counter(connection->worker, service);
	counter_open(connection->counted);
}

void account_failed(struct connection *connection)
{
	if (connection->counted)
		counter_add(&connection->counted->failed, 1);
}

static void count_named(struct worker *worker, enum counter_kind kind, const char *name)
{
	counter_add(&counter_get(worker->shared->counters, worker->slot, kind, name)->total, 1);
}

void account_end(struct connection *connection, enum connection_end end)
{
	struct worker *worker = connection->worker;

	count_named(worker, COUNTER_END, connection_end_names[end]);
	if (end == END_REFUSED)
		count_named(worker, COUNTER_RULE, connection->refused);
	if (connection->counted && connection->phase == PHASE_RELAYING) {
		counter_add(&connection->counted->bytes_up, connection->relay.up.bytes);
		counter_add(&connection->counted->bytes_down, connection->relay.down.bytes);
	}
	account_leave(connection);
	if (connection->came_in)
		counter_close(connection->came_in);
	connection->came_in = NULL;
}
