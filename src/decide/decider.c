/* Takes a decision: literals first (one walk), then probes and patterns in the order of the first service
 * that each could decide, as long as that comes before the best YES so far. A probe that learned names brings
 * up the rules filed under them; one that may still learn some brings up all that wait for it, one for each
 * different rest.
 *
 * Refuses to allocate and to run anything twice in one decision: verdicts of protocols and conditions are kept in the
 * scratch. A decider never changes; everything of it is in one arena. Protocols and the scratch are the caller's. */
#include "decider.h"

#include "arena.h"
#include "decider_rules.h"
#include "module.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct decider {
	struct arena *own; /* NULL: it was given one */
	struct decider_rules rules;
};

/* What was found of a protocol or a condition in the decision with this number. */
struct memo {
	uint64_t decision; /* 0: none */
	enum verdict verdict;
	uint32_t settled; /* of a protocol: the attributes of which it finds no further value */
};

struct decider_scratch {
	uint64_t decision; /* the last one's number */
	struct memo *protocols, *conditions;
	size_t n_protocols, n_conditions; /* for which there is room */
};

/* One decision while it is taken. */
struct decision {
	const struct decider_rules *rules;
	struct decider_scratch *scratch;
	const struct evidence *evidence;
	size_t literals_len; /* bytes that literals are compared with: of a flow those of its first datagram */
	struct findings *findings;
	uint64_t number;
	uint32_t yes, more, protocol; /* as in struct outcome; `more` not yet cut off at `yes` */
	int attribute;                /* whose names are being looked up */
};

int decider_new(struct decider **ret, struct arena *arena, const struct protocol *protocols, size_t n_protocols,
	const struct rule *rules, size_t n_rules)
{
	struct arena *own = arena ? NULL : arena_new();
	struct decider *decider = arena_alloc(arena ? arena : own, sizeof(*decider));

	decider->own = own;
	int r = decider_rules_init(&decider->rules, arena ? arena : own, protocols, n_protocols, rules, n_rules);
	if (r != 0) {
		arena_free(own);
		return r;
	}
	*ret = decider;
	return 0;
}

void decider_free(struct decider *decider)
{
	if (decider)
		arena_free(decider->own);
}

/* ---- scratch ---- */

struct decider_scratch *decider_scratch_new(void)
{
	return calloc(1, sizeof(struct decider_scratch));
}

void decider_scratch_free(struct decider_scratch *scratch)
{
	if (!scratch)
		return;
	free(scratch->protocols);
	free(scratch->conditions);
	free(scratch);
}

static int memos_fit(struct memo **memos, size_t *n, size_t wanted)
{
	if (wanted <= *n)
		return 0;
	struct memo *grown = reallocarray(*memos, wanted, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	memset(grown + *n, 0, (wanted - *n) * sizeof(*grown));
	*memos = grown;
	*n = wanted;
	return 0;
}

int decider_scratch_fit(struct decider_scratch *scratch, const struct decider *decider)
{
	int r = memos_fit(&scratch->protocols, &scratch->n_protocols, decider->rules.n_protocols);
	return r < 0 ? r : memos_fit(&scratch->conditions, &scratch->n_conditions, decider->rules.n_conditions);
}

/* ---- verdicts of one thing ---- */

static enum verdict literals_match(const struct protocol *protocol, const struct evidence *evidence)
{
	enum verdict verdict = VERDICT_NO;

	for (size_t i = 0; i < protocol->n_literals; i++) {
		const struct literal *literal = &protocol->literals[i];
		bool is_whole = literal->len <= evidence->len;
		if (memcmp(literal->bytes, evidence->bytes, is_whole ? literal->len : evidence->len) != 0)
			continue;
		if (is_whole)
			return VERDICT_YES;
		verdict = VERDICT_MORE;
	}
	return verdict;
}

static enum verdict patterns_match(const struct protocol *protocol, const struct evidence *evidence)
{
	enum verdict verdict = VERDICT_NO;

	if (evidence->len < protocol->at_least)
		return VERDICT_MORE;
	for (size_t i = 0; i < protocol->n_patterns; i++) {
		enum verdict one = pattern_match(protocol->patterns[i], evidence);
		if (one == VERDICT_YES)
			return VERDICT_YES;
		if (one == VERDICT_MORE)
			verdict = VERDICT_MORE;
	}
	return verdict;
}

/* `number` is the protocol's, counted from 1 as the evidence does. */
static enum verdict external_judge(const struct evidence *evidence, uint32_t number)
{
	if (evidence->named == number)
		return VERDICT_YES;
	return evidence->may_be_named ? VERDICT_MORE : VERDICT_NO;
}

bool protocol_is_spoken(const struct protocol *protocol, enum transport_kind transport)
{
	if (protocol->probe)
		return transport == TRANSPORT_DATAGRAM ? protocol->probe->datagram : protocol->probe->stream;
	return true;
}

/* Patterns run only where a literal said YES. */
static enum verdict own_run(const struct protocol *protocol, const struct evidence *evidence)
{
	enum verdict verdict = protocol->n_literals > 0 ? literals_match(protocol, evidence) : VERDICT_YES;

	if (verdict == VERDICT_YES && (protocol->n_patterns > 0 || protocol->n_literals == 0))
		verdict = patterns_match(protocol, evidence);
	return verdict;
}

/* The evidence has bytes. */
static enum verdict protocol_run(
	const struct protocol *protocol, const struct evidence *evidence, struct findings *findings)
{
	if (protocol->probe)
		return probe_run(protocol->probe, evidence, findings);
	struct evidence first = evidence_first(evidence);
	enum verdict verdict =
		protocol->module ? module_probe_run(protocol->module, &first, findings) : own_run(protocol, &first);
	return verdict == VERDICT_MORE && first.n_datagrams > 0 ? VERDICT_NO : verdict;
}

enum verdict protocol_match(
	const struct protocol *protocol, const struct evidence *evidence, struct findings *findings)
{
	findings_reset(findings);
	return evidence->len > 0 ? protocol_run(protocol, evidence, findings) : VERDICT_MORE;
}

/* Can what begins so be anything but NO to whom the set belongs? */
static bool first_byte_fits(const struct evidence *evidence, const struct byte_set *set)
{
	return !set || evidence->n_datagrams > 0 || byte_set_has(set, evidence->bytes[0]);
}

static enum verdict protocol_judge(struct decision *decision, uint32_t number)
{
	const struct protocol *protocol = &decision->rules->protocols[number];
	struct memo *memo = &decision->scratch->protocols[number];

	if (memo->decision != decision->number &&
		!first_byte_fits(decision->evidence, decision->rules->first[number])) {
		*memo = (struct memo){ .decision = decision->number, .verdict = VERDICT_NO, .settled = UINT32_MAX };
	} else if (memo->decision != decision->number) {
		memo->verdict = protocol->is_external
			? external_judge(decision->evidence, number + 1)
			: protocol_run(protocol, decision->evidence, decision->findings);
		if (protocol->probe)
			memo->settled = decision->findings->settled;
		else
			memo->settled = memo->verdict == VERDICT_MORE ? 0 : UINT32_MAX;
		memo->decision = decision->number;
	}
	return memo->verdict;
}

static enum verdict protocols_judge(struct decision *decision, const struct condition *condition)
{
	enum verdict verdict = VERDICT_NO;

	for (size_t i = 0; i < condition->count; i++) {
		enum verdict one = protocol_judge(decision, condition->protocols[i]);
		if (one == VERDICT_YES)
			return VERDICT_YES;
		if (one == VERDICT_MORE)
			verdict = VERDICT_MORE;
	}
	return verdict;
}

/* The attribute as the probes that can learn it leave it: settled when each of them has settled it. */
static const struct finding *finding_get(struct decision *decision, int attribute, bool *ret_settled)
{
	const struct attribute_providers *providers = &decision->rules->attribute[attribute].providers;

	*ret_settled = true;
	for (size_t i = 0; i < providers->n; i++) {
		protocol_judge(decision, providers->protocols[i]);
		if (!(decision->scratch->protocols[providers->protocols[i]].settled >> attribute & 1))
			*ret_settled = false;
	}
	return &decision->findings->attribute[attribute];
}

enum name_kind attribute_name_kind(enum attribute attribute)
{
	const uint32_t hosts =
		1U << ATTRIBUTE_SNI | 1U << ATTRIBUTE_HOST | 1U << ATTRIBUTE_SERVICE | 1U << ATTRIBUTE_UPGRADE;

	return hosts >> attribute & 1 ? NAME_HOST : NAME_TEXT;
}

static enum verdict names_judge(struct decision *decision, const struct condition *condition)
{
	bool settled;
	const struct finding *finding = finding_get(decision, condition->attribute, &settled);
	enum name_kind kind = attribute_name_kind((enum attribute)condition->attribute);

	for (uint8_t i = 0; i < finding->count; i++)
		for (size_t k = 0; k < condition->count; k++)
			if (name_matches(kind, condition->names[k], finding->value[i].at, finding->value[i].len))
				return VERDICT_YES;
	return settled ? VERDICT_NO : VERDICT_MORE;
}

static enum verdict condition_judge(struct decision *decision, uint32_t index)
{
	const struct condition *condition = &decision->rules->conditions[index];
	struct memo *memo = &decision->scratch->conditions[index];

	if (memo->decision != decision->number) {
		memo->verdict = condition->attribute == PROTOCOL_CONDITION ? protocols_judge(decision, condition)
									   : names_judge(decision, condition);
		memo->decision = decision->number;
	}
	return memo->verdict;
}

/* Everything that the rule demands besides its anchor. */
static enum verdict rest_judge(struct decision *decision, const struct attribute_rule *rule)
{
	enum verdict verdict = VERDICT_YES;

	for (int i = 0; i <= ATTRIBUTE_COUNT; i++) {
		if (rule->rest[i] == CONDITION_NONE)
			continue;
		enum verdict one = condition_judge(decision, rule->rest[i]);
		if (one == VERDICT_NO)
			return VERDICT_NO;
		if (one == VERDICT_MORE)
			verdict = VERDICT_MORE;
	}
	return verdict;
}

/* ---- putting them together ---- */

static void decision_take(struct decision *decision, enum verdict verdict, uint32_t service, uint32_t protocol)
{
	if (verdict == VERDICT_YES && service < decision->yes) {
		decision->yes = service;
		decision->protocol = protocol;
	} else if (verdict == VERDICT_MORE && service < decision->more) {
		decision->more = service;
	}
}

/* The protocol whose probe learned the attribute. */
static uint32_t provider_protocol(struct decision *decision, int attribute)
{
	const struct attribute_providers *providers = &decision->rules->attribute[attribute].providers;

	for (size_t i = 0; i < providers->n; i++)
		if (protocol_judge(decision, providers->protocols[i]) == VERDICT_YES)
			return providers->protocols[i];
	return PROTOCOL_NONE;
}

/* The protocol that made a rule with attributes say YES. */
static uint32_t rule_protocol(struct decision *decision, const struct attribute_rule *rule)
{
	if (rule->rest[PROTOCOL_CONDITION] == CONDITION_NONE)
		return provider_protocol(decision, rule->anchor);
	const struct condition *condition = &decision->rules->conditions[rule->rest[PROTOCOL_CONDITION]];
	for (size_t i = 0; i < condition->count; i++)
		if (protocol_judge(decision, condition->protocols[i]) == VERDICT_YES)
			return condition->protocols[i];
	return PROTOCOL_NONE;
}

/* The rules under one name that was found. */
static void rules_take(void *context, const uint32_t *numbers, size_t count)
{
	struct decision *decision = context;

	for (size_t i = 0; i < count; i++) {
		const struct attribute_rule *rule = &decision->rules->rules[numbers[i]];
		if (rule->service >= decision->yes)
			return;
		enum verdict verdict = rest_judge(decision, rule);
		decision_take(decision, verdict, rule->service,
			verdict == VERDICT_YES ? rule_protocol(decision, rule) : PROTOCOL_NONE);
	}
}

/* The rules that wait for an attribute: each says MORE, unless its rest says NO. */
static void open_rules_take(struct decision *decision, int attribute)
{
	const uint32_t *open = decision->rules->attribute[attribute].open_rules;

	for (size_t i = 0; i < decision->rules->attribute[attribute].n_open_rules; i++) {
		const struct attribute_rule *rule = &decision->rules->rules[open[i]];
		if (rule->service >= decision->yes || rule->service >= decision->more)
			return;
		if (rest_judge(decision, rule) != VERDICT_NO)
			decision_take(decision, VERDICT_MORE, rule->service, PROTOCOL_NONE);
	}
}

/* Once a decision: when the first protocol that can learn it has its turn. */
static void attribute_take(struct decision *decision, int attribute)
{
	bool settled;
	const struct finding *finding = finding_get(decision, attribute, &settled);
	const struct names *names = decision->rules->attribute[attribute].names;

	for (uint8_t i = 0; i < finding->count; i++)
		names_lookup(names, finding->value[i].at, finding->value[i].len, rules_take, decision);
	if (!settled)
		open_rules_take(decision, attribute);
}

/* What a probe or a pattern decides: rules of protocols only, and those anchored at what it learns. */
static void source_take(struct decision *decision, const struct source *source)
{
	const struct decider_rules *rules = decision->rules;

	decision_take(decision, protocol_judge(decision, source->protocol), rules->protocol_service[source->protocol],
		source->protocol);
	for (uint32_t left = source->attributes; left; left &= left - 1)
		if (rules->attribute[__builtin_ctz(left)].service < decision->yes)
			attribute_take(decision, __builtin_ctz(left));
}

static void plain_literal_take(void *context, uint32_t rank)
{
	struct decision *decision = context;
	const struct literal_use *use = &decision->rules->literals[rank];

	decision_take(decision, VERDICT_YES, use->plain_service, use->plain_protocol);
}

/* The search for the next protocol whose literal is there and whose patterns have not been asked. */
struct gated_search {
	const struct decider_rules *rules;
	struct source after; /* the last one, or none: `any` */
	bool any;
	struct source next;
};

static bool source_precedes(const struct source *a, const struct source *b)
{
	return a->service != b->service ? a->service < b->service : a->protocol < b->protocol;
}

static void gated_consider(void *context, uint32_t rank)
{
	struct gated_search *search = context;
	const struct literal_use *use = &search->rules->literals[rank];

	for (uint32_t i = 0; i < use->n_gated; i++) {
		struct source one = { .protocol = use->gated[i],
			.service = search->rules->protocol_service[use->gated[i]] };
		if (!search->any && !source_precedes(&search->after, &one))
			continue;
		if (source_precedes(&one, &search->next))
			search->next = one;
		return;
	}
}

/* Moves on to the next one; its service is SERVICE_NONE behind the last. A walk for each keeps them in order
 * without memory. */
static void gated_next(const struct decision *decision, struct gated_search *search)
{
	search->after = search->next;
	search->next = (struct source){ .protocol = PROTOCOL_NONE, .service = SERVICE_NONE };
	if (decision->rules->has_gated)
		trie_walk(decision->rules->trie, decision->evidence->bytes, decision->literals_len, gated_consider,
			search);
	search->any = false;
}

static void decision_run(struct decision *decision)
{
	const struct decider_rules *rules = decision->rules;
	struct gated_search gated = { .rules = rules, .any = true };
	size_t at = 0;

	if (rules->trie) {
		uint32_t more = trie_walk(
			rules->trie, decision->evidence->bytes, decision->literals_len, plain_literal_take, decision);
		if (more != TRIE_NONE && decision->evidence->n_datagrams == 0)
			decision_take(decision, VERDICT_MORE, rules->literals[more].service, PROTOCOL_NONE);
	}
	gated_next(decision, &gated);
	for (;;) {
		const struct source *next = &gated.next;
		while (at < rules->n_sources && !first_byte_fits(decision->evidence, rules->sources[at].first))
			at++;
		bool is_gated = at == rules->n_sources || !source_precedes(&rules->sources[at], next);
		if (!is_gated)
			next = &rules->sources[at++];
		if (next->service >= decision->yes)
			return;
		source_take(decision, next);
		if (is_gated)
			gated_next(decision, &gated);
	}
}

static void outcome_find(const struct decider *decider, const struct evidence *evidence, struct findings *findings,
	struct decider_scratch *scratch, struct outcome *ret)
{
	struct decision decision = {
		.rules = &decider->rules,
		.evidence = evidence,
		.literals_len = evidence_first(evidence).len,
		.findings = findings,
		.scratch = scratch,
		.number = ++scratch->decision,
		.yes = SERVICE_NONE,
		.more = SERVICE_NONE,
		.protocol = PROTOCOL_NONE,
	};

	uint32_t wanted = findings->wanted;
	findings_reset(findings);
	findings->wanted |= decider->rules.wanted;
	decision_run(&decision);
	findings->wanted = wanted;
	*ret = (struct outcome){
		.yes = decision.yes,
		.more = decision.more < decision.yes ? decision.more : SERVICE_NONE,
		.protocol = decision.protocol,
	};
}

/* Where an identifier could still name the connection, the decision is taken as if it will not: the service that then
 * waits, if it waits for bytes, and stands before all that wait for a name, is waited for first. */
void decider_decide(const struct decider *decider, const struct evidence *evidence, struct findings *findings,
	struct decider_scratch *scratch, struct outcome *ret)
{
	assert(scratch->n_protocols >= decider->rules.n_protocols &&
		scratch->n_conditions >= decider->rules.n_conditions);
	if (evidence->len == 0) {
		*ret = (struct outcome){
			.yes = SERVICE_NONE, .more = decider->rules.first_service, .protocol = PROTOCOL_NONE
		};
		return;
	}
	outcome_find(decider, evidence, findings, scratch, ret);
	if (ret->more == SERVICE_NONE || !evidence->may_be_named || !decider->rules.has_external)
		return;
	struct evidence unnamed = *evidence;
	struct outcome without;
	unnamed.may_be_named = false;
	outcome_find(decider, &unnamed, findings, scratch, &without);
	ret->ask = without.more > ret->more;
}
