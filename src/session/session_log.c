/* The one log line of a session: who, what, where to, how much, how long, how it ended. usher(8) explains every key. */
#include "session_log.h"
#include "former.h"
#include "log.h"
#include "log_fields.h"
#include <errno.h>
#include <string.h>

const char *session_error_text(int error)
{
	switch (error) {
	case -EDEADLK:
		return "Leads back to usher itself";
	case -EBUSY:
		return "All backends are full";
	case -EPROTONOSUPPORT:
		return "The backend refuses TLS";
	case NAME_NOT_SAID:
		return "The client asks for no host name";
	case NAME_NOT_ALLOWED:
		return "The name is not in allow_names";
	case NAME_NOT_KNOWN:
		return "The name has no address";
	case NAME_NOT_REACHED:
		return "The name has no address that is public or in allow_addresses";
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

/* What a decision has found. */
static void decided_write(struct record *record, const struct session *session, enum log_field field)
{
	const char *service = session_service_name(session);

	if (!service)
		return;
	if (field == FIELD_SERVICE)
		record_text(record, "service", service);
	else if (field == FIELD_DELIVERY)
		record_text(record, "delivery", delivery_names[session_delivery(session)]);
	else if (field == FIELD_TO)
		record_text(record, "to", session_backend(session));
	else
		record_ms(record, "decided_ms", session->decided_us - session->accepted_us);
}

/* Whose counts are not there: nothing was relayed, or it is no flow. */
static void progress_write(struct record *record, const struct session_progress *progress, enum log_field field)
{
	if (field == FIELD_SENT && progress->n_sent > 1)
		record_number(record, "sent", progress->n_sent);
	else if (field == FIELD_BYTES_UP && progress->moved_us)
		record_number(record, "bytes_up", progress->bytes_up);
	else if (field == FIELD_BYTES_DOWN && progress->moved_us)
		record_number(record, "bytes_down", progress->bytes_down);
	else if (field == FIELD_DATAGRAMS_UP && progress->datagrams_up)
		record_number(record, "datagrams_up", progress->datagrams_up);
	else if (field == FIELD_DATAGRAMS_DOWN && progress->datagrams_up)
		record_number(record, "datagrams_down", progress->datagrams_down);
}

/* A text that there is not is left out. */
static void field_write(struct record *record, const struct session *session, const struct session_progress *progress,
	enum session_end end, enum log_field field)
{
	switch (field) {
	case FIELD_ID:
		record_number(record, "id", session->id);
		break;
	case FIELD_CLIENT:
		record_address(record, "client", &session->client);
		break;
	case FIELD_VIA:
		if (session_via(session))
			record_address(record, "via", session_via(session));
		break;
	case FIELD_LISTENER:
		record_text(record, "listener", session->listener);
		break;
	case FIELD_PROTOCOL:
		record_text(record, "protocol", session_protocol(session));
		break;
	case FIELD_KNOWN_BY:
		record_text(record, "known_by", progress->known_by);
		break;
	case FIELD_SNI:
		record_text(record, "sni", session->sni);
		break;
	case FIELD_ALPN:
		record_text(record, "alpn", session->alpn);
		break;
	case FIELD_HOST:
		record_text(record, "host", session->host);
		break;
	case FIELD_SERVICE:
	case FIELD_DELIVERY:
	case FIELD_TO:
	case FIELD_DECIDED_MS:
		decided_write(record, session, field);
		break;
	case FIELD_TOTAL_MS:
		record_ms(record, "total_ms", clock_monotonic_us() - session->accepted_us);
		break;
	case FIELD_END:
		record_text(record, "end", session_end_names[end]);
		break;
	case FIELD_RULE:
		record_text(record, "rule", session->refused);
		break;
	case FIELD_ERROR:
		record_text(record, "error", session->error ? session_error_text(session->error) : NULL);
		break;
	default:
		progress_write(record, progress, field);
	}
}

void session_log(const struct session *session, enum log_level level, enum session_end end)
{
	const struct policy *policy = session->context->policy;
	struct session_progress progress;
	struct record record;

	session->transport->progress(session, &progress);
	record_begin(&record, level, "connection");
	for (size_t i = 0; i < policy->n_log_fields; i++)
		field_write(&record, session, &progress, end, (enum log_field)policy->log_fields[i]);
	record_write(&record);
}
