/* Counts a session: where it came in, for which service, how long that took, how it ended, and which limit refused it. Refuses to look a name up
 * twice for one listener or service of a worker. Owns nothing: counters are the worker's part of the shared ones. */
#include "account.h"
#include "backends.h"
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

static struct measures *service_measures(struct context *context, size_t service)
{
	struct measures **measures = &context->service_measures[service];

	if (!*measures && service < COUNTERS_SERVICES_MEASURED)
		*measures = counters_measures(
			context->shared->counters, context->slot, context->policy->services[service].name);
	return *measures;
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
	const struct service *here = session_service_here(session);
	const char *service = session_service_name(session);

	session->came_in = account_open_again(session, COUNTER_LISTENER, session->listener);
	if (service)
		session->counted = account_open_again(session, COUNTER_SERVICE, service);
	if (here)
		session->measured =
			service_measures(session->context, (size_t)(here - session->context->policy->services));
}

void account_left(struct session *session)
{
	account_close(&session->counted);
	account_close(&session->came_in);
	backends_release(session);
}

static struct counter *service_counter(struct context *context, uint32_t service)
{
	struct counter **counter = &context->service_counters[service];

	if (!*counter)
		*counter = counter_get(context->shared->counters, context->slot, COUNTER_SERVICE,
			context->policy->services[service].name);
	return *counter;
}

static void account_measure(const struct session *session, enum histogram_kind kind, uint64_t value)
{
	if (session->measured)
		histogram_observe(&session->measured->of[kind], kind, value);
}

static void account_service(struct session *session, uint32_t service)
{
	account_close(&session->counted);
	session->counted = service_counter(session->context, service);
	session->measured = service_measures(session->context, service);
	counter_open(session->counted);
}

void account_decided(struct session *session, uint32_t service)
{
	account_service(session, service);
	account_measure(session, HISTOGRAM_DECISION, session->decided_us - session->accepted_us);
}

void account_fallback(struct session *session, uint32_t service)
{
	account_service(session, service);
}

/* The loop's time is that of the turn, which the decision may be a little ahead of. */
static uint64_t since_decided_us(const struct session *session)
{
	uint64_t now_us = session->context->loop.now_us;
	return now_us > session->decided_us ? now_us - session->decided_us : 0;
}

void account_connected(struct session *session)
{
	account_measure(session, HISTOGRAM_CONNECT, since_decided_us(session));
}

void account_answered(struct session *session)
{
	account_measure(session, HISTOGRAM_ANSWER, since_decided_us(session));
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
		account_measure(session, HISTOGRAM_BYTES, progress.bytes_up + progress.bytes_down);
	}
	account_measure(session, HISTOGRAM_SESSION, context->loop.now_us - session->accepted_us);
	account_left(session);
}
