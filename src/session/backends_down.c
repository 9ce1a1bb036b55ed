/* Looks twice a second whether checks took a backend down, and then at every session. Sessions that began later stay: where all backends are
 * down, clients are sent to them. Owns nothing. */
#include "backends_down.h"
#include "session.h"

#define LOOK_EACH_US 500000

static bool closes_on_down(const struct service *service)
{
	return service && service->target.delivery == DELIVERY_CONNECT && service->target.connect.closes_on_down;
}

static bool is_to_end(const struct session *session)
{
	if (session->phase == PHASE_ENDED || !session->backend_key)
		return false;
	const struct backend_check *check =
		backend_table_check_look(session->context->shared->backends, session->backend_place);

	return atomic_load_explicit(&check->down_us, memory_order_relaxed) > session->decided_us &&
		closes_on_down(session_service_here(session));
}

static void look(struct timer *timer)
{
	struct context *context = container_of(timer, struct context, backends_down.again);
	uint32_t downs = backend_table_downs(context->shared->backends);

	for (struct session *one = session_first(context), *next; one && downs != context->backends_down.seen;
		one = next) {
		next = session_next(one);
		if (is_to_end(one))
			one->transport->stop(one, END_BACKEND_DOWN);
	}
	context->backends_down.seen = downs;
	loop_timer(&context->loop, timer, context->loop.now_us + LOOK_EACH_US);
}

void backends_down_watch(struct context *context)
{
	const struct policy *policy = context->policy;
	bool wanted = false;

	for (size_t i = 0; i < policy->n_services; i++)
		wanted |= closes_on_down(&policy->services[i]);
	context->backends_down.again = (struct timer){ .fired = look };
	context->backends_down.seen = backend_table_downs(context->shared->backends);
	if (wanted)
		loop_timer(&context->loop, &context->backends_down.again, context->loop.now_us + LOOK_EACH_US);
}
