/* The one log line of a connection: who, what, where to, how much, how long, how it ended. usher(8) explains every key. */
#include "connection.h"
#include "log.h"
#include "past.h"
#include "proxied.h"
#include "worker.h"
#include <errno.h>
#include <string.h>

const struct service *connection_service(const struct connection *connection)
{
	return &connection->worker->policy->services[connection->service];
}

int connection_socket(const struct connection *connection)
{
	return connection->relay.client.in.fd;
}

const char *connection_service_name(const struct connection *connection)
{
	if (connection->past)
		return connection->past->text[MIGRANT_SERVICE];
	return connection->service == SERVICE_NONE ? NULL : connection_service(connection)->name;
}

enum delivery connection_delivery(const struct connection *connection)
{
	return connection->past ? connection->past->delivery : connection_service(connection)->target.delivery;
}

const char *connection_protocol(const struct connection *connection)
{
	if (connection->past)
		return connection->past->text[MIGRANT_PROTOCOL];
	if (connection->protocol == PROTOCOL_NONE)
		return NULL;
	return connection->worker->policy->protocols[connection->protocol].name;
}

const char *const connection_end_names[END_COUNT] = {
	[END_FINISHED] = "finished",
	[END_CLIENT_GONE] = "client-gone",
	[END_CLIENT_RESET] = "client-reset",
	[END_SERVER_RESET] = "server-reset",
	[END_IDLE] = "idle",
	[END_NO_SERVICE] = "no-service",
	[END_REJECTED] = "rejected",
	[END_REFUSED] = "refused",
	[END_PROXY_HEADER] = "proxy-header",
	[END_HANDED_OVER] = "handed-over",
	[END_PROGRAM] = "program-started",
	[END_DELIVERY_FAILED] = "delivery-failed",
	[END_SHUTDOWN] = "shutdown",
	[END_NO_MEMORY] = "no-memory",
	[END_CLOSED] = "closed",
	[END_SHED] = "shed",
};

const char *connection_error_text(int error)
{
	return error == -EDEADLK ? "Leads back to usher itself" : strerrordesc_np(-error);
}

const char *connection_backend(const struct connection *connection)
{
	if (connection->past)
		return connection->past->text[MIGRANT_BACKEND];
	const struct target *target = &connection_service(connection)->target;
	switch (target->delivery) {
	case DELIVERY_CONNECT:
		if (connection->phase != PHASE_RELAYING && connection->phase != PHASE_CONNECTING)
			return NULL;
		/* Behind the last one where all have failed. */
		return target->connect
			.backends[connection->dial.backend < target->connect.n_backends
					? connection->dial.backend
					: target->connect.n_backends - 1]
			.text;
	case DELIVERY_HANDOVER:
		return target->handover.text;
	case DELIVERY_EXEC:
		return target->exec.argv[0];
	default:
		return NULL;
	}
}

/* Of who came and left without a byte, as load balancers do to see whether the port is there: as the log says of them, else as the
 * service says that they would have had for their silence. */
static enum log_level level_of_empty(const struct connection *connection)
{
	const struct policy *policy = connection->worker->policy;
	uint32_t silent = policy->listeners[connection->decider].on_silence;

	if (policy->empty_level >= 0)
		return (enum log_level)policy->empty_level;
	return silent == SERVICE_NONE ? LEVEL_INFO : policy->services[silent].log_level;
}

/* A service may keep what went well quiet; whom it failed or refused is told of all the same. */
enum log_level connection_log_level(const struct connection *connection, enum connection_end end)
{
	if (connection->past)
		return connection->past->log_level;
	if (!connection->has_spoken && (end == END_CLIENT_GONE || end == END_CLIENT_RESET))
		return level_of_empty(connection);
	if (connection->service == SERVICE_NONE || end == END_REFUSED || end == END_DELIVERY_FAILED)
		return LEVEL_INFO;
	return connection_service(connection)->log_level;
}

void connection_log(const struct connection *connection, enum log_level level, enum connection_end end)
{
	struct record record;

	record_begin(&record, level, "connection");
	record_number(&record, "id", connection->id);
	record_address(&record, "client", &connection->client);
	if (proxied_via(connection))
		record_address(&record, "via", proxied_via(connection));
	record_text(&record, "listener", connection->listener);
	if (connection_protocol(connection))
		record_text(&record, "protocol", connection_protocol(connection));
	if (connection->sni)
		record_text(&record, "sni", connection->sni);
	if (connection->alpn)
		record_text(&record, "alpn", connection->alpn);
	if (connection->host)
		record_text(&record, "host", connection->host);
	if (connection_service_name(connection)) {
		const char *backend = connection_backend(connection);
		record_text(&record, "service", connection_service_name(connection));
		record_text(&record, "delivery", delivery_names[connection_delivery(connection)]);
		if (backend)
			record_text(&record, "to", backend);
		record_ms(&record, "decided_ms", connection->decided_us - connection->accepted_us);
	}
	if (connection->phase == PHASE_HANDING_OVER && connection->handing.request.n_sent > 1)
		record_number(&record, "sent", connection->handing.request.n_sent);
	if (connection->phase == PHASE_RELAYING) {
		record_number(&record, "bytes_up", connection->relay.up.bytes);
		record_number(&record, "bytes_down", connection->relay.down.bytes);
	}
	record_ms(&record, "total_ms", clock_monotonic_us() - connection->accepted_us);
	record_text(&record, "end", connection_end_names[end]);
	if (connection->refused)
		record_text(&record, "rule", connection->refused);
	if (connection->error)
		record_text(&record, "error", connection_error_text(connection->error));
	record_write(&record);
}
