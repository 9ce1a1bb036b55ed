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
	size_t listener;
	uint32_t on_unknown, on_silence, banner_service;
	const struct protocol *protocols;
	size_t n_protocols;
	const struct decider *decider;
	struct protocol *own_protocols; /* without a policy, and so the decider */
	bool any_listener;              /* whichever takes what comes */
	struct decider *own_decider;
	struct decider_scratch *scratch;
	uint64_t serial;

	/* Of a client that asks for TLS within a protocol: what it said to that end, and who takes what follows. */
	struct starttls starttls;
	bool asks, is_refused;
	size_t taken;
	const struct decider *hello_decider; /* NULL: it has not come to that */

	bool is_settled;
	bool is_full;           /* no further datagram would be looked at */
	bool search_over;       /* for the looks from here on */
	bool client_waited;     /* and it is the client that ended the search */
	struct outcome outcome; /* at `decided_at`, or of all bytes */
	struct outcome before;  /* with one byte less */
	struct findings findings;
	struct explanation explanation;
	uint8_t bytes[EVIDENCE_MAX];
};

bool explainer_asks_probe(const struct probe *probe)
{
	return probe->stream != probe_any && probe->stream != probe_tcpmux;
}

/* Services have the numbers of their protocols. */
static int built_in_compile(struct explainer *explainer)
{
	struct rule *rules = calloc(n_probes, sizeof(*rules));
	uint32_t *numbers = calloc(n_probes, sizeof(*numbers));
	size_t n_rules = 0;
	int r = -ENOMEM;

	explainer->protocols = explainer->own_protocols = calloc(n_probes, sizeof(*explainer->own_protocols));
	explainer->n_protocols = n_probes;
	if (!rules || !numbers || !explainer->own_protocols)
		goto out;
	for (uint32_t i = 0; i < n_probes; i++) {
		explainer->own_protocols[i] = (struct protocol){ .name = probes[i].name, .probe = &probes[i] };
		numbers[i] = i;
		if (explainer_asks_probe(&probes[i]))
			rules[n_rules++] = (struct rule){ .service = i, .protocols = &numbers[i], .n_protocols = 1 };
	}
	r = decider_new(&explainer->own_decider, NULL, explainer->own_protocols, n_probes, rules, n_rules);
	explainer->decider = explainer->own_decider;
out:
	free(rules);
	free(numbers);
	return r;
}

static void listener_take(struct explainer *explainer, size_t listener)
{
	const struct policy *policy = explainer->policy;

	explainer->listener = listener;
	explainer->decider = policy->deciders[listener];
	explainer->on_unknown = policy->listeners[listener].on_unknown;
	explainer->on_silence = policy->listeners[listener].on_silence;
	explainer->banner_service = policy->listeners[listener].banner_service;
}

/* The first one, where no listener has the transport. */
static void listener_choose(struct explainer *explainer, enum transport_kind transport)
{
	const struct policy *policy = explainer->policy;
	size_t listener = 0;

	for (size_t i = policy->n_listeners; i > 0; i--)
		if (policy->listeners[i - 1].transport == transport)
			listener = i - 1;
	listener_take(explainer, listener);
}

static int scratch_fit(struct explainer *explainer)
{
	int r = decider_scratch_fit(explainer->scratch, explainer->decider);

	for (size_t i = 0; explainer->policy && i < explainer->policy->n_listeners; i++)
		for (unsigned kind = 0; r == 0 && kind < STARTTLS_KINDS; kind++)
			if (explainer->policy->listeners[i].starttls_deciders[kind])
				r = decider_scratch_fit(
					explainer->scratch, explainer->policy->listeners[i].starttls_deciders[kind]);
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
	explainer->on_unknown = explainer->on_silence = explainer->banner_service = SERVICE_NONE;
	if (policy) {
		explainer->any_listener = listener == EXPLAIN_ANY_LISTENER;
		explainer->protocols = policy->protocols;
		explainer->n_protocols = policy->n_protocols;
		if (explainer->any_listener)
			listener_choose(explainer, TRANSPORT_STREAM);
		else
			listener_take(explainer, listener);
	} else {
		r = built_in_compile(explainer);
	}
	explainer->scratch = decider_scratch_new();
	if (r == 0)
		r = explainer->scratch ? scratch_fit(explainer) : -ENOMEM;
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
	decider_scratch_free(explainer->scratch);
	free(explainer->own_protocols);
	free(explainer);
}

const struct policy *explainer_policy(const struct explainer *explainer)
{
	return explainer->policy;
}

size_t explainer_listener(const struct explainer *explainer)
{
	return explainer->listener;
}

const struct protocol *explainer_protocols(const struct explainer *explainer, size_t *ret_n)
{
	*ret_n = explainer->n_protocols;
	return explainer->protocols;
}

/* ---- deciding ---- */

size_t explanation_datagrams(const struct explanation *explanation, size_t len)
{
	size_t n = 0;

	while (n < explanation->n_datagrams && explanation->ends[n] <= len)
		n++;
	return n;
}

/* Each look has a number of its own: modules hold a connection to what they said of it, and here it goes back, too. */
static void decide(struct explainer *explainer, size_t len, bool may_be_named, struct outcome *ret)
{
	struct evidence evidence = {
		.bytes = explainer->bytes + explainer->taken,
		.len = len - explainer->taken,
		.ends = explainer->explanation.ends,
		.n_datagrams = explanation_datagrams(&explainer->explanation, len),
		.serial = ++explainer->serial,
		.may_be_named = may_be_named,
		.search_over = explainer->search_over,
	};

	decider_decide(explainer->hello_decider ? explainer->hello_decider : explainer->decider, &evidence,
		&explainer->findings, explainer->scratch, ret);
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

/* Behind `open` bytes there are more. */
static void segment_decide(struct explainer *explainer, size_t open)
{
	size_t len = explainer->explanation.len;

	explainer->before = explainer->outcome;
	decide(explainer, len, false, &explainer->outcome);
	explainer->is_settled = explainer->outcome.more == SERVICE_NONE;
	if (explainer->is_settled)
		settled_find(explainer, open, len);
	else if (len == EVIDENCE_MAX)
		explainer->explanation.decided_at = EVIDENCE_MAX;
}

/* ---- clients that ask for TLS within a protocol ---- */

/* A request for TLS is answered; whose it is, the hello says that follows. */
static bool starttls_begins(struct explainer *explainer)
{
	const struct outcome *outcome = &explainer->outcome;
	enum starttls_kind kind = STARTTLS_NONE;

	if (explainer->asks || !explainer->is_settled || outcome->yes == SERVICE_NONE)
		return false;
	if (outcome->protocol != PROTOCOL_NONE)
		kind = starttls_of_probe(explainer->protocols[outcome->protocol].probe);
	if (kind == STARTTLS_NONE)
		return false;
	explainer->asks = true;
	starttls_meet_client(&explainer->starttls, kind);
	return true;
}

/* What there is of the conversation; then the hello. */
static void starttls_take(struct explainer *explainer)
{
	const struct listener_policy *listener = &explainer->policy->listeners[explainer->listener];
	const struct explanation *explanation = &explainer->explanation;
	enum starttls_step step = STARTTLS_ON;

	while (step == STARTTLS_ON) {
		size_t taken;
		step = starttls_hear_client(&explainer->starttls, explainer->bytes + explainer->taken,
			explanation->len - explainer->taken, &taken);
		explainer->taken += taken;
	}
	explainer->is_refused = step == STARTTLS_REFUSED;
	if (step != STARTTLS_TLS)
		return;
	explainer->hello_decider = listener->starttls_deciders[explainer->starttls.kind];
	explainer->is_settled = false;
	explainer->explanation.decided_at = EXPLAIN_NEVER;
	decide(explainer, explainer->taken, false, &explainer->outcome);
	if (explanation->len > explainer->taken)
		segment_decide(explainer, explainer->taken);
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
	if (!explainer->is_settled)
		segment_decide(explainer, old_len);
	if (starttls_begins(explainer) || (explainer->asks && !explainer->hello_decider && !explainer->is_refused))
		starttls_take(explainer);
}

/* As many as a worker would look at. */
static void datagram_take(struct explainer *explainer, const void *bytes, size_t len)
{
	struct explanation *explanation = &explainer->explanation;
	bool is_first = explanation->n_datagrams == 0;

	if (is_first && len > EVIDENCE_MAX)
		len = EVIDENCE_MAX;
	if (len == 0 || explainer->is_full)
		return;
	if (len <= EVIDENCE_MAX - explanation->len) {
		memcpy(explainer->bytes + explanation->len, bytes, len);
		explanation->len += len;
		explanation->ends[explanation->n_datagrams++] = (uint32_t)explanation->len;
		explainer->is_full = explanation->n_datagrams == EVIDENCE_DATAGRAMS_MAX;
	} else {
		explainer->is_full = true;
	}
	if (explainer->is_settled)
		return;
	explainer->before = explainer->outcome;
	decide(explainer, explanation->len, false, &explainer->outcome);
	explainer->is_settled = explainer->outcome.more == SERVICE_NONE;
	if (explainer->is_settled || explainer->is_full)
		explanation->decided_at = explanation->len;
}

void explainer_begin(struct explainer *explainer, bool is_datagram)
{
	if (explainer->any_listener)
		listener_choose(explainer, is_datagram ? TRANSPORT_DATAGRAM : TRANSPORT_STREAM);
	explainer->is_settled = explainer->is_full = explainer->search_over = explainer->client_waited = false;
	explainer->asks = explainer->is_refused = false;
	explainer->taken = 0;
	explainer->hello_decider = NULL;
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

/* ---- words ---- */

static const char *service_name(const struct explainer *explainer, uint32_t service)
{
	return explainer->policy ? explainer->policy->services[service].name : explainer->protocols[service].name;
}

void explainer_note(struct explainer *explainer, const char *format, ...)
{
	char *why = explainer->explanation.why;
	size_t used = strlen(why);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(why + used, EXPLAIN_WHY_MAX - used, format, arguments);
	va_end(arguments);
}

/* The one that was reached. */
static const char *limit_words(const struct explainer *explainer)
{
	static char words[40];

	if (explainer->explanation.n_datagrams == EVIDENCE_DATAGRAMS_MAX)
		snprintf(words, sizeof(words), "%d datagrams", EVIDENCE_DATAGRAMS_MAX);
	else
		snprintf(words, sizeof(words), "%d bytes", EVIDENCE_MAX);
	return words;
}

/* With which byte or datagram it was settled. */
static const char *place_words(const struct explainer *explainer)
{
	static char words[40];
	const struct explanation *explanation = &explainer->explanation;

	if (!explanation->is_datagram)
		snprintf(words, sizeof(words), "byte %zu", explanation->decided_at);
	else
		snprintf(words, sizeof(words), "datagram %zu",
			explanation_datagrams(explanation, explanation->decided_at));
	return words;
}

/* It has said YES, and one before it has not said NO. */
static void why_held(struct explainer *explainer, enum explain_end how)
{
	const char *yes = service_name(explainer, explainer->outcome.yes);

	explainer_note(explainer, "`%s' says YES, and `%s' in front of it waits for more: ", yes,
		service_name(explainer, explainer->outcome.more));
	if (explainer->explanation.decided_at != EXPLAIN_NEVER)
		explainer_note(explainer, "that counts as NO with %s", limit_words(explainer));
	else if (how == EXPLAIN_CLOSED)
		explainer_note(explainer, "the client has closed, so `%s' gets it at once", yes);
	else if (explainer->policy && explainer->policy->decide_timeout_us == 0)
		explainer_note(explainer, "without a `decide_timeout' for ever");
	else
		explainer_note(explainer, "`%s' gets it at the deadline", yes);
}

/* What ends the wait of a service in front. */
static const char *search_words(const struct explainer *explainer, bool is_in_front)
{
	if (explainer->client_waited)
		return "a second is over: the client may be waiting for the server, and say no more before";
	return is_in_front ? "`search_timeout' has ended a search in front of it"
			   : "`search_timeout' has ended a search";
}

static void why_yes(struct explainer *explainer, enum explain_end how)
{
	const char *yes = service_name(explainer, explainer->outcome.yes);

	if (explainer->explanation.is_datagram && explainer->is_settled && explainer->explanation.n_datagrams == 1)
		explainer_note(explainer, "`%s' says YES to the datagram", yes);
	else if (explainer->search_over)
		explainer_note(explainer, "`%s' says YES, and has it once %s", yes, search_words(explainer, true));
	else if (!explainer->is_settled)
		why_held(explainer, how);
	else if (explainer->before.yes == explainer->outcome.yes)
		explainer_note(explainer, "`%s' has said YES before, and `%s' in front of it says NO with %s", yes,
			service_name(explainer, explainer->before.more), place_words(explainer));
	else
		explainer_note(explainer, "`%s' says YES with %s", yes, place_words(explainer));
}

static void why_otherwise(struct explainer *explainer, const char *key, uint32_t service)
{
	if (!explainer->policy)
		return;
	if (service == SERVICE_NONE)
		explainer_note(explainer, "; without `%s' it is %s", key,
			explainer->explanation.is_datagram ? "dropped" : "closed");
	else
		explainer_note(explainer, "; `%s' is `%s'", key, service_name(explainer, service));
}

static void why_no(struct explainer *explainer)
{
	const char *who = explainer->policy ? "service" : "protocol";

	if (explainer->explanation.is_datagram && explainer->is_settled && explainer->explanation.n_datagrams == 1)
		explainer_note(explainer, "every %s says NO to the datagram", who);
	else if (explainer->search_over)
		explainer_note(explainer, "every %s says NO, once %s", who, search_words(explainer, false));
	else if (!explainer->is_settled)
		explainer_note(explainer, "`%s' waits for more, which counts as NO with %s",
			service_name(explainer, explainer->outcome.more), limit_words(explainer));
	else if (explainer->explanation.decided_at == 1 || explainer->before.more == SERVICE_NONE)
		explainer_note(explainer, "every %s says NO with %s", who, place_words(explainer));
	else
		explainer_note(explainer, "every %s says NO, `%s' as one of the last with %s", who,
			service_name(explainer, explainer->before.more), place_words(explainer));
	why_otherwise(explainer, "on_unknown", explainer->on_unknown);
}

static enum starttls_kind greeting_of(const struct explainer *explainer)
{
	return explainer->policy ? explainer->policy->listeners[explainer->listener].greeting : STARTTLS_NONE;
}

static void why_more(struct explainer *explainer, enum explain_end how)
{
	bool is_silent = explainer->explanation.len == 0;

	if (is_silent)
		explainer_note(explainer, "there are no bytes");
	else
		explainer_note(explainer, "the %s end, and `%s' waits for more",
			explainer->explanation.is_datagram ? "datagrams" : "bytes",
			service_name(explainer, explainer->outcome.more));
	if (how == EXPLAIN_OPEN && is_silent && greeting_of(explainer) != STARTTLS_NONE)
		explainer_note(explainer,
			"; it is greeted in `%s', and if it asks for TLS then, its ClientHello says which service it "
			"goes to",
			starttls_name(greeting_of(explainer)));
	else if (how == EXPLAIN_OPEN && is_silent && explainer->banner_service != SERVICE_NONE)
		explainer_note(explainer, "; `%s' shows its `banner', and keeps it unless an answer is another's",
			service_name(explainer, explainer->banner_service));
	else if (how != EXPLAIN_OPEN)
		explainer_note(explainer, "; the client has %s, so it goes to no service",
			how == EXPLAIN_CLOSED ? "closed" : "reset it");
	else if (explainer->policy && explainer->policy->decide_timeout_us == 0)
		explainer_note(explainer, "; without a `decide_timeout' for ever");
	else if (explainer->explanation.is_datagram)
		why_otherwise(explainer, "on_unknown", explainer->on_unknown);
	else
		why_otherwise(explainer, "on_silence", explainer->on_silence);
}

/* Would an identifier be asked? It is not: nobody but a running usher may. */
static void why_identifiers(struct explainer *explainer)
{
	const struct explanation *explanation = &explainer->explanation;
	size_t len = explanation->decided_at != EXPLAIN_NEVER ? explanation->decided_at : explanation->len;
	struct outcome outcome;

	if (!explainer->policy || explainer->policy->n_identifiers == 0 || len == 0)
		return;
	decide(explainer, len, true, &outcome);
	if (outcome.more < explainer->outcome.yes && outcome.more != explainer->outcome.more)
		explainer_note(explainer, "; first an identifier would be asked, and could name it for `%s'",
			service_name(explainer, outcome.more));
}

/* It asks for TLS, and the hello has not come, or what came is none of that. */
static void why_starttls(struct explainer *explainer)
{
	const char *protocol = starttls_name(explainer->starttls.kind);

	if (explainer->is_refused)
		explainer_note(explainer, "it asks for TLS within `%s', and says what has no answer: it is closed",
			protocol);
	else if (explainer->explanation.verdict == VERDICT_NO)
		explainer_note(explainer,
			"it asks for TLS within `%s', and no service with `starttls' takes what follows: it is "
			"closed",
			protocol);
	else
		explainer_note(explainer,
			"it asks for TLS within `%s', and its ClientHello says which service it goes to", protocol);
}

/* ---- the end ---- */

static void take_name(struct explainer *explainer, uint32_t service)
{
	if (explainer->policy && service != SERVICE_NONE)
		explainer->explanation.service = explainer->policy->services[service].name;
}

/* What is searched for among the bytes may have a time of its own, after which it is not there. */
static void search_end(struct explainer *explainer)
{
	const struct policy *policy = explainer->policy;
	struct outcome outcome;

	if (!policy)
		return;
	uint64_t search_us = policy->search_timeout_us;
	if (explainer->findings.client_waits && (!search_us || search_us > CLIENT_WAITS_US))
		search_us = CLIENT_WAITS_US;
	explainer->client_waited = search_us != policy->search_timeout_us;
	if (search_us == 0 || (policy->decide_timeout_us != 0 && search_us >= policy->decide_timeout_us))
		return;
	explainer->search_over = true;
	decide(explainer, explainer->explanation.len, false, &outcome);
	explainer->search_over = outcome.more == SERVICE_NONE;
	if (explainer->search_over)
		explainer->outcome = outcome;
}

/* The service of a client that has sent nothing, or not enough. Of datagrams MORE counts as NO at the deadline. */
static uint32_t silence_service(const struct explainer *explainer)
{
	bool is_silent = explainer->explanation.len == 0;

	if (explainer->explanation.is_datagram)
		return explainer->on_unknown;
	if (is_silent && greeting_of(explainer) != STARTTLS_NONE)
		return SERVICE_NONE;
	return is_silent && explainer->banner_service != SERVICE_NONE ? explainer->banner_service
								      : explainer->on_silence;
}

const struct explanation *explainer_end(struct explainer *explainer, enum explain_end how)
{
	struct explanation *explanation = &explainer->explanation;
	const struct outcome *outcome = &explainer->outcome;
	struct outcome whole;

	if (explanation->decided_at == EXPLAIN_NEVER && how == EXPLAIN_OPEN && explanation->len > 0)
		search_end(explainer);
	if (explainer->asks && (!explainer->hello_decider || outcome->yes == SERVICE_NONE)) {
		bool is_over = explainer->is_refused || (explainer->hello_decider && explainer->is_settled);
		explanation->verdict = is_over ? VERDICT_NO : VERDICT_MORE;
		why_starttls(explainer);
	} else if (outcome->yes != SERVICE_NONE && (explainer->is_settled || how != EXPLAIN_RESET)) {
		explanation->verdict = VERDICT_YES;
		take_name(explainer, outcome->yes);
		if (outcome->protocol != PROTOCOL_NONE)
			explanation->protocol = explainer->protocols[outcome->protocol].name;
		if (explainer->asks)
			explanation->protocol = starttls_name(explainer->starttls.kind);
		why_yes(explainer, how);
	} else if (explanation->decided_at != EXPLAIN_NEVER || explainer->search_over) {
		explanation->verdict = VERDICT_NO;
		take_name(explainer, explainer->on_unknown);
		why_no(explainer);
	} else {
		explanation->verdict = VERDICT_MORE;
		if (how == EXPLAIN_OPEN)
			take_name(explainer, silence_service(explainer));
		why_more(explainer, how);
	}
	if (!explainer->asks)
		why_identifiers(explainer);
	findings_reset(&explainer->findings);
	decide(explainer, explanation->len, false, &whole); /* for what is learned from all bytes */
	return explanation;
}
