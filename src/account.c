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

static void account_close(struct counter **counter)
{
	if (*counter)
		counter_close(*counter);
	*counter = NULL;
}

static struct counter *account_open_again(
	const struct connection *connection, enum counter_kind kind, const char *name)
{
	const struct worker *worker = connection->worker;
	struct counter *counter = counter_get(worker->shared->counters, worker->slot, kind, name);

	counter_open_again(counter);
	return counter;
}

void account_arrived(struct connection *connection)
{
	const char *service = connection_service_name(connection);

	connection->came_in = account_open_again(connection, COUNTER_LISTENER, connection->listener);
	if (service)
		connection->counted = account_open_again(connection, COUNTER_SERVICE, service);
}

void account_left(struct connection *connection)
{
	account_close(&connection->counted);
	account_close(&connection->came_in);
}

static struct counter *service_counter(struct worker *worker, uint32_t service)
{
	struct counter **counter = &worker->service_counters[service];

	if (!*counter)
		*counter = counter_get(worker->shared->counters, worker->slot, COUNTER_SERVICE,
			worker->policy->services[service].name);
	return *counter;
}

void account_service(struct connection *connection, uint32_t service)
{
	account_close(&connection->counted);
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
	if (end == END_SHED)
		count_named(worker, COUNTER_LIMIT, connection->refused);
	if (connection->counted && connection->phase == PHASE_RELAYING) {
		counter_add(&connection->counted->bytes_up, connection->relay.up.bytes);
		counter_add(&connection->counted->bytes_down, connection->relay.down.bytes);
	}
	account_left(connection);
}
