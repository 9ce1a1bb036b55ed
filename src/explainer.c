/* Feeds bytes to a decider piece by piece and finds the byte that settles the outcome: between a length at which it was open and
 * one at which it is settled, by halves, for verdicts are never taken back.
 *
 * Refuses to guess: what only the deadline, an identifier or a closing client would bring about is said to be so. Owns one buffer
 * of evidence and the findings about it; policies are the caller's. */
#include "explainer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct explainer {
	const struct policy *policy; /* NULL: only the built-in probes */
	uint32_t on_unknown, on_silence;
	const struct protocol *protocols;
	const struct decider *decider;
	struct protocol *own_protocols; /* without a policy, and so the decider */
	struct decider *own_decider;
	uint64_t serial;

	bool is_settled;
	struct outcome outcome; /* at `decided_at`, or of all bytes */
	struct outcome before;  /* with one byte less */
	struct findings findings;
	struct explanation explanation;
	uint8_t bytes[EVIDENCE_MAX];
};

/* Services have the numbers of their protocols. */
/* What takes anything, or any word on a line of its own, says nothing of what it is. */
static bool names_protocol(const struct probe *probe)
{
	return probe->stream != probe_any && probe->stream != probe_tcpmux;
}

static int built_in_compile(struct explainer *explainer)
{
	struct rule *rules = calloc(n_probes, sizeof(*rules));
	uint32_t *numbers = calloc(n_probes, sizeof(*numbers));
	size_t n_rules = 0;
	int r = -ENOMEM;

	explainer->protocols = explainer->own_protocols = calloc(n_probes, sizeof(*explainer->own_protocols));
	if (!rules || !numbers || !explainer->own_protocols)
		goto out;
	for (uint32_t i = 0; i < n_probes; i++) {
		explainer->own_protocols[i] = (struct protocol){ .name = probes[i].name, .probe = &probes[i] };
		numbers[i] = i;
		if (names_protocol(&probes[i]))
			rules[n_rules++] = (struct rule){ .service = i, .protocols = &numbers[i], .n_protocols = 1 };
	}
	r = decider_new(&explainer->own_decider, explainer->own_protocols, n_probes, rules, n_rules);
	explainer->decider = explainer->own_decider;
out:
	free(rules);
	free(numbers);
	return r;
}

int explainer_new(struct explainer **ret, const struct policy *policy, size_t listener)
{
	struct explainer *explainer = calloc(1, sizeof(*explainer));
	int r = 0;

	if (!explainer)
		return -ENOMEM;
	explainer->findings.wanted = UINT32_MAX;
	explainer->policy = policy;
	if (policy) {
		explainer->protocols = policy->protocols;
		explainer->decider = policy->deciders[listener];
		explainer->on_unknown = policy->on_unknown;
		explainer->on_silence = policy->on_silence;
	} else {
		r = built_in_compile(explainer);
	}
	if (r == 0)
		*ret = explainer;
	else
		explainer_free(explainer);
	return r;
}

void explainer_free(struct explainer *explainer)
{
	if (!explainer)
		return;
	decider_free(explainer->own_decider);
	free(explainer->own_protocols);
	free(explainer);
}

/* --- Deciding -------------------------------------------------------------------------- */

/* Each look has a number of its own: modules hold a connection to what they said of it, and here it goes back, too. */
static void decide(struct explainer *explainer, size_t len, bool may_be_named, struct outcome *ret)
{
	struct evidence evidence = {
		.bytes = explainer->bytes,
		.len = len,
		.is_datagram = explainer->explanation.is_datagram,
		.serial = ++explainer->serial,
		.may_be_named = may_be_named,
	};

	decider_decide(explainer->decider, &evidence, &explainer->findings, ret);
}

/* Open with `open` bytes, settled with `settled`: where is it in between? */
static void settled_find(struct explainer *explainer, size_t open, size_t settled)
{
	while (settled - open > 1) {
		size_t middle = open + (settled - open) / 2;
		struct outcome outcome;
		decide(explainer, middle, false, &outcome);
		if (outcome.more == SERVICE_NONE) {
			settled = middle;
			explainer->outcome = outcome;
		} else {
			open = middle;
			explainer->before = outcome;
		}
	}
	explainer->explanation.decided_at = settled;
}

static void segment_take(struct explainer *explainer, const void *bytes, size_t len)
{
	size_t old_len = explainer->explanation.len;

	if (len > EVIDENCE_MAX - old_len)
		len = EVIDENCE_MAX - old_len;
	if (len == 0)
		return;
	memcpy(explainer->bytes + old_len, bytes, len);
	explainer->explanation.len += len;
	if (explainer->is_settled)
		return;
	explainer->before = explainer->outcome;
	decide(explainer, old_len + len, false, &explainer->outcome);
	explainer->is_settled = explainer->outcome.more == SERVICE_NONE;
	if (explainer->is_settled)
		settled_find(explainer, old_len, old_len + len);
	else if (old_len + len == EVIDENCE_MAX)
		explainer->explanation.decided_at = EVIDENCE_MAX;
}

static void datagram_take(struct explainer *explainer, const void *bytes, size_t len)
{
	if (explainer->is_settled || len == 0)
		return;
	explainer->explanation.len = len < EVIDENCE_MAX ? len : EVIDENCE_MAX;
	explainer->explanation.decided_at = explainer->explanation.len;
	explainer->is_settled = true;
	memcpy(explainer->bytes, bytes, explainer->explanation.len);
	decide(explainer, explainer->explanation.len, false, &explainer->outcome);
}

void explainer_begin(struct explainer *explainer, bool is_datagram)
{
	explainer->is_settled = false;
	explainer->explanation = (struct explanation){
		.is_datagram = is_datagram,
		.decided_at = EXPLAIN_NEVER,
		.bytes = explainer->bytes,
		.findings = &explainer->findings,
	};
	decide(explainer, 0, false, &explainer->outcome);
}

void explainer_feed(struct explainer *explainer, const void *bytes, size_t len)
{
	if (explainer->explanation.is_datagram)
		datagram_take(explainer, bytes, len);
	else
		segment_take(explainer, bytes, len);
}

/* --- Words ----------------------------------------------------------------------------- */

static const char *service_name(const struct explainer *explainer, uint32_t service)
{
	return explainer->policy ? explainer->policy->services[service].name : explainer->protocols[service].name;
}

static void __attribute__((format(printf, 2, 3))) why_add(struct explanation *explanation, const char *format, ...)
{
	size_t used = strlen(explanation->why);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(explanation->why + used, sizeof(explanation->why) - used, format, arguments);
	va_end(arguments);
}

static void why_yes(struct explainer *explainer, bool closed)
{
	struct explanation *explanation = &explainer->explanation;
	const char *yes = service_name(explainer, explainer->outcome.yes);

	if (explanation->is_datagram) {
		why_add(explanation, "`%s' says YES to the datagram", yes);
	} else if (explainer->is_settled && explainer->before.yes == explainer->outcome.yes) {
		why_add(explanation, "`%s' has said YES before, and `%s' in front of it says NO with byte %zu", yes,
			service_name(explainer, explainer->before.more), explanation->decided_at);
	} else if (explainer->is_settled) {
		why_add(explanation, "`%s' says YES with byte %zu", yes, explanation->decided_at);
	} else {
		why_add(explanation, "`%s' says YES, and `%s' in front of it waits for more: ", yes,
			service_name(explainer, explainer->outcome.more));
		if (explanation->decided_at != EXPLAIN_NEVER)
			why_add(explanation, "which counts as NO with %d bytes", EVIDENCE_MAX);
		else if (closed)
			why_add(explanation, "the client has closed, so `%s' gets it at once", yes);
		else if (explainer->policy && explainer->policy->decide_timeout_us == 0)
			why_add(explanation, "without a `decide_timeout' for ever");
		else
			why_add(explanation, "`%s' gets it at the deadline", yes);
	}
}

static void why_otherwise(struct explainer *explainer, const char *key, uint32_t service)
{
	if (!explainer->policy)
		return;
	if (service == SERVICE_NONE)
		why_add(&explainer->explanation, "; without `%s' it is closed", key);
	else
		why_add(&explainer->explanation, "; `%s' is `%s'", key, service_name(explainer, service));
}

static void why_no(struct explainer *explainer)
{
	struct explanation *explanation = &explainer->explanation;
	const char *who = explainer->policy ? "service" : "protocol";

	if (explanation->is_datagram)
		why_add(explanation, "every %s says NO to the datagram", who);
	else if (!explainer->is_settled)
		why_add(explanation, "`%s' waits for more, which counts as NO with %d bytes",
			service_name(explainer, explainer->outcome.more), EVIDENCE_MAX);
	else if (explanation->decided_at == 1 || explainer->before.more == SERVICE_NONE)
		why_add(explanation, "every %s says NO with byte %zu", who, explanation->decided_at);
	else
		why_add(explanation, "every %s says NO, `%s' with byte %zu as one of the last", who,
			service_name(explainer, explainer->before.more), explanation->decided_at);
	why_otherwise(explainer, "on_unknown", explainer->on_unknown);
}

static void why_more(struct explainer *explainer, bool closed)
{
	struct explanation *explanation = &explainer->explanation;

	if (explanation->len == 0)
		why_add(explanation, "there are no bytes");
	else
		why_add(explanation, "the bytes end, and `%s' waits for more",
			service_name(explainer, explainer->outcome.more));
	if (closed)
		why_add(explanation, "; the client has closed, so nobody gets it");
	else if (explainer->policy && explainer->policy->decide_timeout_us == 0)
		why_add(explanation, "; without a `decide_timeout' for ever");
	else
		why_otherwise(explainer, "on_silence", explainer->on_silence);
}

/* Would an identifier be asked? It is not: nobody but a running usher may. */
static void why_identifiers(struct explainer *explainer)
{
	struct explanation *explanation = &explainer->explanation;
	size_t len = explanation->decided_at != EXPLAIN_NEVER ? explanation->decided_at : explanation->len;
	struct outcome outcome;

	if (!explainer->policy || explainer->policy->n_identifiers == 0 || len == 0)
		return;
	decide(explainer, len, true, &outcome);
	if (outcome.more != SERVICE_NONE && outcome.more < explainer->outcome.yes)
		why_add(explanation, "; first an identifier would be asked, and could name it for `%s'",
			service_name(explainer, outcome.more));
}

static void take_name(struct explainer *explainer, uint32_t service)
{
	if (explainer->policy && service != SERVICE_NONE)
		explainer->explanation.service = explainer->policy->services[service].name;
}

const struct explanation *explainer_end(struct explainer *explainer, bool closed)
{
	struct explanation *explanation = &explainer->explanation;
	const struct outcome *outcome = &explainer->outcome;
	bool is_final = explanation->decided_at != EXPLAIN_NEVER;
	struct outcome whole;

	if (outcome->yes != SERVICE_NONE) {
		explanation->verdict = VERDICT_YES;
		take_name(explainer, outcome->yes);
		if (outcome->protocol != PROTOCOL_NONE)
			explanation->protocol = explainer->protocols[outcome->protocol].name;
		why_yes(explainer, closed);
	} else if (is_final) {
		explanation->verdict = VERDICT_NO;
		take_name(explainer, explainer->on_unknown);
		why_no(explainer);
	} else {
		explanation->verdict = VERDICT_MORE;
		if (!closed)
			take_name(explainer, explainer->on_silence);
		why_more(explainer, closed);
	}
	why_identifiers(explainer);
	findings_reset(&explainer->findings);
	decide(explainer, explanation->len, false, &whole); /* for what is learned from all bytes */
	return explanation;
}
