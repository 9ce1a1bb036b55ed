/* The one log line of a session: who, what, where to, how much, how long, how it ended. usher(8) explains every key. */
#include "session_log.h"
#include "former.h"
#include "log.h"
#include <errno.h>
#include <string.h>

const char *session_error_text(int error)
{
	switch (error) {
	case -EDEADLK:
		return "Leads back to usher itself";
	case -EBUSY:
		return "All backends are full";
	default:
		return strerrordesc_np(-error);
	}
}

/* Of who came and left without a byte, as load balancers do to see whether the port is there: as the log says of them, else as the
 * service says that they would have had for their silence. */
static enum log_level level_of_empty(const struct session *session)
{
	const struct policy *policy = session->context->policy;
	const struct listener_policy *listener = &policy->listeners[session->decider];
	uint32_t silent = listener->on_silence;

	if (listener->empty_level >= 0)
		return (enum log_level)listener->empty_level;
	if (policy->empty_level >= 0)
		return (enum log_level)policy->empty_level;
	return silent == SERVICE_NONE ? LEVEL_INFO : policy->services[silent].log_level;
}

/* A service or a listener may keep what went well quiet; whom it failed or refused is told of all the same. */
enum log_level session_log_level(const struct session *session, enum session_end end)
{
	if (session->former)
		return session->former->log_level;
	if (!session->has_spoken && (end == END_CLIENT_GONE || end == END_CLIENT_RESET))
		return level_of_empty(session);
	if (session->service == SERVICE_NONE || end == END_REFUSED || end == END_DELIVERY_FAILED)
		return LEVEL_INFO;
	int of_listener = session->context->policy->listeners[session->decider].log_level;
	return of_listener >= 0 ? (enum log_level)of_listener : session_service(session)->log_level;
}

void session_log(const struct session *session, enum log_level level, enum session_end end)
{
	struct session_progress progress;
	struct record record;

	session->transport->progress(session, &progress);
	record_begin(&record, level, "connection");
	record_number(&record, "id", session->id);
	record_address(&record, "client", &session->client);
	if (session_via(session))
		record_address(&record, "via", session_via(session));
	record_text(&record, "listener", session->listener);
	if (session_protocol(session))
		record_text(&record, "protocol", session_protocol(session));
	if (progress.known_by)
		record_text(&record, "known_by", progress.known_by);
	if (session->sni)
		record_text(&record, "sni", session->sni);
	if (session->alpn)
		record_text(&record, "alpn", session->alpn);
	if (session->host)
		record_text(&record, "host", session->host);
	if (session_service_name(session)) {
		const char *backend = session_backend(session);
		record_text(&record, "service", session_service_name(session));
		record_text(&record, "delivery", delivery_names[session_delivery(session)]);
		if (backend)
			record_text(&record, "to", backend);
		record_ms(&record, "decided_ms", session->decided_us - session->accepted_us);
	}
	if (progress.n_sent > 1)
		record_number(&record, "sent", progress.n_sent);
	if (progress.moved_us) {
		record_number(&record, "bytes_up", progress.bytes_up);
		record_number(&record, "bytes_down", progress.bytes_down);
	}
	if (progress.datagrams_up) {
		record_number(&record, "datagrams_up", progress.datagrams_up);
		record_number(&record, "datagrams_down", progress.datagrams_down);
	}
	record_ms(&record, "total_ms", clock_monotonic_us() - session->accepted_us);
	record_text(&record, "end", session_end_names[end]);
	if (session->refused)
		record_text(&record, "rule", session->refused);
	if (session->error)
		record_text(&record, "error", session_error_text(session->error));
	record_write(&record);
}
