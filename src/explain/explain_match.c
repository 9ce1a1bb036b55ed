/* Asks matchers one by one, at ever other lengths: a verdict is never taken back, so the byte that brought it is found by halves. A
 * service is asked through a decider of its rules alone.
 *
 * Refuses to ask identifiers. Owns the findings that the answers leave behind, which are nobody's business. */
#include "explain_match.h"

#include "module.h"

#include <errno.h>

static struct findings findings = { .wanted = UINT32_MAX };

/* The question to one matcher. */
struct question {
	const struct explanation *explanation;
	const struct protocol *protocol; /* or */
	const struct decider *decider;
	struct decider_scratch *scratch;
};

static enum verdict ask(const struct question *question, size_t len)
{
	static uint64_t serial = UINT64_MAX; /* far from those of the explainer's own looks */
	struct outcome outcome;
	struct evidence evidence = {
		.bytes = question->explanation->bytes,
		.len = len,
		.ends = question->explanation->ends,
		.n_datagrams = explanation_datagrams(question->explanation, len),
		.serial = serial,
	};

	serial--;
	if (question->protocol)
		return protocol_match(question->protocol, &evidence, &findings);
	decider_decide(question->decider, &evidence, &findings, question->scratch, &outcome);
	if (outcome.more != SERVICE_NONE)
		return VERDICT_MORE;
	return outcome.yes != SERVICE_NONE ? VERDICT_YES : VERDICT_NO;
}

/* Of datagrams few enough are there to be asked about one after the other. */
static void datagrams_answer(const struct question *question, struct matched *ret)
{
	for (size_t i = 0; i < question->explanation->n_datagrams && ret->verdict == VERDICT_MORE; i++) {
		ret->verdict = ask(question, question->explanation->ends[i]);
		if (ret->verdict != VERDICT_MORE)
			ret->at = question->explanation->ends[i];
	}
}

static void question_answer(const struct question *question, struct matched *ret)
{
	size_t open = 0, settled = question->explanation->len;

	*ret = (struct matched){ VERDICT_MORE, 0 };
	if (settled == 0)
		return;
	if (question->explanation->is_datagram) {
		datagrams_answer(question, ret);
		return;
	}
	ret->verdict = ask(question, settled);
	if (ret->verdict == VERDICT_MORE)
		return;
	while (settled - open > 1) {
		size_t middle = open + (settled - open) / 2;
		if (ask(question, middle) == VERDICT_MORE)
			open = middle;
		else
			settled = middle;
	}
	ret->at = settled;
}

void explain_match_protocol(
	const struct explanation *explanation, const struct protocol *protocol, struct matched *ret)
{
	question_answer(&(struct question){ .explanation = explanation, .protocol = protocol }, ret);
}

int explain_match_service(const struct explainer *explainer, const struct explanation *explanation, uint32_t service,
	struct matched *ret)
{
	const struct policy *policy = explainer_policy(explainer);
	const struct rule_list *list = &policy->rule_lists[explainer_listener(explainer)];
	struct question question = { .explanation = explanation, .scratch = decider_scratch_new() };
	struct decider *decider = NULL;
	size_t first = 0, end;

	while (first < list->n_rules && list->rules[first].service != service)
		first++;
	for (end = first; end < list->n_rules && list->rules[end].service == service;)
		end++;
	int r = first == end ? -ENOENT : question.scratch ? 0 : -ENOMEM;
	if (r == 0)
		r = decider_new(
			&decider, NULL, policy->protocols, policy->n_protocols, list->rules + first, end - first);
	if (r == 0)
		r = decider_scratch_fit(question.scratch, decider);
	if (r == 0) {
		question.decider = decider;
		question_answer(&question, ret);
	}
	decider_free(decider);
	decider_scratch_free(question.scratch);
	return r;
}

static bool protocol_learns(const struct protocol *protocol, uint32_t attributes)
{
	uint32_t learns = protocol->probe ? protocol->probe->attributes
		: protocol->module        ? protocol->module->attributes
					  : 0;

	return learns & attributes;
}

static void rule_asks(const struct rule *rule, const struct protocol *protocols, size_t n_protocols, bool *ret)
{
	uint32_t attributes = 0;

	for (size_t i = 0; i < rule->n_protocols; i++)
		ret[rule->protocols[i]] = true;
	for (int i = 0; i < ATTRIBUTE_COUNT; i++)
		if (rule->attribute[i].count > 0)
			attributes |= 1U << i;
	for (size_t i = 0; i < n_protocols && attributes; i++)
		ret[i] |= protocol_learns(&protocols[i], attributes);
}

void explain_protocols_asked(const struct explainer *explainer, bool is_datagram, bool *ret)
{
	const struct policy *policy = explainer_policy(explainer);
	size_t n;
	const struct protocol *protocols = explainer_protocols(explainer, &n);
	const struct rule_list *list = policy ? &policy->rule_lists[explainer_listener(explainer)] : NULL;

	for (size_t i = 0; i < n; i++)
		ret[i] = !policy && explainer_asks_probe(protocols[i].probe);
	for (size_t i = 0; list && i < list->n_rules; i++)
		rule_asks(&list->rules[i], protocols, n, ret);
	for (size_t i = 0; i < n; i++)
		ret[i] &= protocol_is_spoken(&protocols[i], is_datagram ? TRANSPORT_DATAGRAM : TRANSPORT_STREAM);
}
