/* One look at the evidence of a flow: its first datagrams. Asks the decider, and identifiers where only their answer is missing. Decides
 * nothing about delivery, and owns nothing. */
#include "flow_examine.h"
#include "decider.h"
#include "evidence_kept.h"
#include "flow.h"
#include "session_names.h"

enum flow_look flow_look_at_first(struct context *context, size_t decider, const uint8_t *bytes, size_t len,
	uint32_t *ret_service, uint32_t *ret_protocol)
{
	static uint64_t serial = UINT64_C(1) << 63; /* of what has no number yet */
	const uint32_t end = len < EVIDENCE_MAX ? (uint32_t)len : EVIDENCE_MAX;
	struct evidence evidence = {
		.bytes = bytes,
		.len = end,
		.ends = &end,
		.n_datagrams = 1,
		.serial = serial,
		.may_be_named = context->identifiers,
	};
	struct outcome outcome;

	serial++;
	if (len == 0)
		return FLOW_UNKNOWN;
	decider_decide(context->policy->deciders[decider], &evidence, context->findings, context->scratch, &outcome);
	*ret_service = outcome.yes;
	*ret_protocol = outcome.protocol;
	if (outcome.more != SERVICE_NONE)
		return FLOW_WAITS;
	return outcome.yes == SERVICE_NONE ? FLOW_UNKNOWN : FLOW_SERVICE;
}

/* Once, about the first datagram, as the user's own protocols are. */
static void ask_identifiers(struct flow *flow, const struct evidence *evidence)
{
	const struct evidence first = evidence_first(evidence);
	struct flow_opening *opening = flow->opening;

	if (opening->was_asked)
		return;
	opening->was_asked = true;
	opening->identification = identify(flow->session.context->identifiers, &first, true, flow_identified, flow);
}

enum flow_look flow_examine(struct flow *flow, bool last, uint32_t *ret_service, uint32_t *ret_protocol)
{
	struct context *context = flow->session.context;
	struct flow_opening *opening = flow->opening;
	uint32_t ends[EVIDENCE_DATAGRAMS_MAX];
	size_t n;
	struct evidence evidence = {
		.bytes = context->peeked,
		.len = flow_kept_gather(&opening->kept, context->peeked, EVIDENCE_MAX, ends, &n),
		.ends = ends,
		.serial = flow->session.id,
		.named = opening->named + 1, /* none is 0 */
		.may_be_named = context->identifiers && opening->named == PROTOCOL_NONE &&
			(opening->identification || !opening->was_asked),
	};
	struct outcome outcome;

	evidence.n_datagrams = n;
	opening->n_looked = opening->kept.n;
	if (n == 0)
		return last ? FLOW_UNKNOWN : FLOW_WAITS;
	decider_decide(context->policy->deciders[flow->session.decider], &evidence, context->findings,
		context->scratch, &outcome);
	bool settled = outcome.more == SERVICE_NONE;
	if (!settled && !last && outcome.ask)
		ask_identifiers(flow, &evidence);
	if (!settled && !last)
		return FLOW_WAITS;
	session_keep_names(&flow->session, context->findings);
	evidence_keep(&flow->session, evidence.bytes, evidence.len);
	*ret_service = outcome.yes;
	*ret_protocol = outcome.protocol;
	return outcome.yes == SERVICE_NONE ? FLOW_UNKNOWN : FLOW_SERVICE;
}
