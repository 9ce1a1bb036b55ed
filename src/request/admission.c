/* Admits sessions by the rules of their services. Refuses to end one: the transport does, with the rule's name. The access program is the
 * master's, which first says that it runs, and then, in a message of its own, what it decided. */
#include "admission.h"
#include "account.h"
#include "hash.h"
#include "log.h"
#include "session_log.h"
#include <time.h>

/* Behind the time that the master gives a program. Only a verdict that was lost with its master comes to that. */
#define VERDICT_US 3000000

uint64_t admission_due_us(const struct session *session)
{
	const struct context *context = session->context;

	return context->loop.now_us + context->policy->access_timeout_us + VERDICT_US;
}

/* ---- the program ---- */

static void admission_conclude(struct admission **link, bool admits)
{
	struct session *session = (*link)->session;

	*link = (*link)->next;
	loop_timer_stop(&session->context->loop, &session->deadline);
	if (session->context->state == WORKER_STOPPING)
		session->transport->end(session, END_SHUTDOWN);
	else
		session->transport->admitted(session, admits ? NULL : "access");
}

void admission_answered(struct context *context, uint64_t number, bool admits)
{
	struct admission **link = &context->asking;

	while (*link && (*link)->request.number != number)
		link = &(*link)->next;
	if (*link)
		admission_conclude(link, admits);
}

void admission_orphaned(struct context *context)
{
	while (context->asking)
		admission_conclude(&context->asking, false);
}

/* One whose program has not even been begun is still in the line for it. */
void admission_out_of_time(struct session *session)
{
	struct admission **link = &session->context->asking;

	session_enter(session, PHASE_ASKING);
	while (*link && (*link)->session != session)
		link = &(*link)->next;
	if (*link)
		admission_conclude(link, false);
}

static void admission_begun(struct request *request, const struct message_answer *answer, int fds[IPC_FDS_MAX])
{
	struct admission *admission = container_of(request, struct admission, request);
	struct session *session = admission->session;

	if (answer->error < 0) {
		session->transport->admitted(session, "access");
	} else {
		admission->next = session->context->asking;
		session->context->asking = admission;
	}
}

static void admission_ask(struct admission *admission, struct session *session)
{
	struct message message;

	session_enter(session, PHASE_ASKING);
	session_describe(session, PROGRAM_ACCESS, &message);
	*admission = (struct admission){ .request = { .answered = admission_begun }, .session = session };
	if (requester_ask(session->context->requester, &admission->request, &message, -1) < 0)
		session->transport->admitted(session, "access");
}

/* ---- the rules ---- */

const char *admission_judge(struct session *session, const struct service *service)
{
	struct context *context = session->context;
	uint64_t name = hash_name(service->name), now_us = context->loop.now_us;
	bool is_open = service->access && live_list_has(context->shared->live, name, &session->client, now_us);
	const char *rule = access_judge(service->access, &session->client, is_open, time(NULL));

	return rule ? rule
		    : limits_enter(context->shared->limits, context->slot, service->access, name,
			      session_source(session), now_us, &session->ticket);
}

void admission_begin(struct admission *admission, struct session *session)
{
	const struct service *service = session_service(session);
	const char *rule = admission_judge(session, service);

	if (!rule && service->asks)
		admission_ask(admission, session);
	else
		session->transport->admitted(session, rule);
}

void admission_fall_back(struct admission *admission, struct session *session, uint32_t fallback, int error)
{
	struct context *context = session->context;

	if (log_wants(LEVEL_NOTICE))
		log_notice("connection %lu: service %s failed (%s), falling back to %s", (unsigned long)session->id,
			session_service(session)->name, session_error_text(error),
			context->policy->services[fallback].name);
	limits_leave(context->shared->limits, context->slot, &session->ticket);
	session->service = fallback;
	account_fallback(session, fallback);
	admission_begin(admission, session);
}
