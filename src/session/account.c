/* Counts a session: where it came in, for which service, how it ended, and which limit refused it. Refuses to look a name up
 * twice for one listener or service of a worker. Owns nothing: counters are the worker's part of the shared ones. */
#include "account.h"
#include "counters.h"

void account_accepted(struct session *session, struct counter *listener)
{
	session->came_in = listener;
	counter_open(session->came_in);
}

static void account_close(struct counter **counter)
{
	if (*counter)
		counter_close(*counter);
	*counter = NULL;
}

static struct counter *account_open_again(const struct session *session, enum counter_kind kind, const char *name)
{
	const struct context *context = session->context;
	struct counter *counter = counter_get(context->shared->counters, context->slot, kind, name);

	counter_open_again(counter);
	return counter;
}

void account_arrived(struct session *session)
{
	const char *service = session_service_name(session);

	session->came_in = account_open_again(session, COUNTER_LISTENER, session->listener);
	if (service)
		session->counted = account_open_again(session, COUNTER_SERVICE, service);
}

void account_left(struct session *session)
{
	account_close(&session->counted);
	account_close(&session->came_in);
}

static struct counter *service_counter(struct context *context, uint32_t service)
{
	struct counter **counter = &context->service_counters[service];

	if (!*counter)
		*counter = counter_get(context->shared->counters, context->slot, COUNTER_SERVICE,
			context->policy->services[service].name);
	return *counter;
}

void account_service(struct session *session, uint32_t service)
{
	account_close(&session->counted);
	session->counted = service_counter(session->context, service);
	counter_open(session->counted);
}

void account_failed(struct session *session)
{
	if (session->counted)
		counter_add(&session->counted->failed, 1);
}

static void count_named(struct context *context, enum counter_kind kind, const char *name)
{
	counter_add(&counter_get(context->shared->counters, context->slot, kind, name)->total, 1);
}

void account_end(struct session *session, enum session_end end)
{
	struct context *context = session->context;
	struct session_progress progress;

	count_named(context, COUNTER_END, session_end_names[end]);
	if (end == END_REFUSED)
		count_named(context, COUNTER_RULE, session->refused);
	if (end == END_SHED)
		count_named(context, COUNTER_LIMIT, session->refused);
	session->transport->progress(session, &progress);
	if (session->counted && progress.moved_us) {
		counter_add(&session->counted->bytes_up, progress.bytes_up);
		counter_add(&session->counted->bytes_down, progress.bytes_down);
	}
	account_left(session);
}
