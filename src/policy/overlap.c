/* Warns of services that can never be reached, because earlier ones take all that they match.
 *
 * What is seen: a protocol that an earlier service takes without further conditions; a literal that begins
 * with an earlier one, or that a built-in probe says YES to; a name that an earlier service takes by itself
 * or by a wildcard. What is not seen: expressions inside one another, and rules that hold on single listeners
 * only. Connections and datagrams are looked at each by itself: a service is reached if it is by either. It refuses to guess: no warning is wrong, some are missing. Every service costs look-ups in tries and
 * tables, never a walk over the earlier ones. */
#include "compile.h"
#include "names.h"
#include "probe.h"
#include "trie.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NOBODY SERVICE_NONE

/* Of what comes by one transport. */
struct overlap {
	const struct compiler *compiler;
	enum transport_kind transport;
	struct arena *arena;                     /* of the trie and the names */
	uint32_t *taker;                         /* of each protocol: the service that takes all of it, or NOBODY */
	struct trie *literals;                   /* of protocols that are taken whole; the rank is the service */
	struct names *(*names)[ATTRIBUTE_COUNT]; /* of each probe: names that are taken, with the service */
};

static void *overlap_alloc(size_t count, size_t size)
{
	void *memory = calloc(count ? count : 1, size);
	if (!memory)
		abort();
	return memory;
}

static void overlap_init(struct overlap *overlap, const struct compiler *compiler, enum transport_kind transport)
{
	size_t n = compiler->policy->n_protocols;

	struct arena *arena = arena_new();
	*overlap = (struct overlap){
		.compiler = compiler,
		.transport = transport,
		.arena = arena,
		.taker = overlap_alloc(n, sizeof(uint32_t)),
		.literals = trie_new(arena),
		.names = overlap_alloc(n_probes, sizeof(*overlap->names)),
	};
	if (!overlap->literals)
		abort();
	for (size_t i = 0; i < n; i++)
		overlap->taker[i] = NOBODY;
}

static void overlap_fini(struct overlap *overlap)
{
	free(overlap->names);
	free(overlap->taker);
	arena_free(overlap->arena);
}

static unsigned rule_attributes(const struct rule *rule)
{
	unsigned set = 0;
	for (unsigned a = 0; a < ATTRIBUTE_COUNT; a++)
		set |= rule->attribute[a].count ? 1U << a : 0;
	return set;
}

/* Who takes all that begins with this literal? */
static uint32_t literal_taker(const struct overlap *overlap, const struct literal *literal)
{
	static struct findings findings; /* too large for a stack; a policy is compiled by one thread */
	struct evidence evidence = { literal->bytes, literal->len };
	struct trie_match match;

	trie_match(overlap->literals, literal->bytes, literal->len, &match);
	uint32_t taker = match.yes == TRIE_NONE ? NOBODY : match.yes;
	/* Of datagrams that begin so nothing is known: a probe sees the whole. */
	for (size_t p = 0; p < n_probes && overlap->transport == TRANSPORT_STREAM; p++) {
		if (overlap->taker[p] >= taker)
			continue;
		findings_reset(&findings);
		if (probe_run(&probes[p], &evidence, &findings) == VERDICT_YES)
			taker = overlap->taker[p];
	}
	return taker;
}

static uint32_t protocol_taker(const struct overlap *overlap, uint32_t number)
{
	const struct protocol *protocol = &overlap->compiler->policy->protocols[number];
	uint32_t last = overlap->taker[number];

	if (last != NOBODY || protocol->n_literals == 0)
		return last;
	for (size_t i = 0; i < protocol->n_literals; i++) {
		uint32_t taker = literal_taker(overlap, &protocol->literals[i]);
		if (taker == NOBODY)
			return NOBODY;
		if (last == NOBODY || taker > last)
			last = taker;
	}
	return last;
}

static void names_found(void *context, const uint32_t *numbers, size_t count)
{
	uint32_t *first = context;
	if (count && numbers[0] < *first)
		*first = numbers[0];
}

/* Who takes every one of these names from the probe, whatever else is asked of them? */
static uint32_t names_taker(const struct overlap *overlap, const struct rule *rule, size_t probe, unsigned attribute)
{
	const struct names *names = overlap->names[probe][attribute];
	uint32_t last = 0;

	if (!names || !rule->attribute[attribute].count)
		return NOBODY;
	for (size_t i = 0; i < rule->attribute[attribute].count; i++) {
		const char *name = rule->attribute[attribute].names[i];
		uint32_t taker = NOBODY;
		/* A wildcard label is looked up like a name: what covers "*.x" covers all that it stands for. */
		if (strcspn(name, "?[\\") == strlen(name) && !strchr(name + (strncmp(name, "*.", 2) == 0), '*'))
			names_lookup(names, (const uint8_t *)name, strlen(name), names_found, &taker);
		if (taker == NOBODY)
			return NOBODY;
		if (taker > last)
			last = taker;
	}
	return last;
}

static uint32_t rule_protocol_taker(const struct overlap *overlap, const struct rule *rule, uint32_t protocol)
{
	uint32_t taker = protocol_taker(overlap, protocol);

	for (unsigned a = 0; a < ATTRIBUTE_COUNT && taker == NOBODY && protocol < n_probes; a++)
		taker = names_taker(overlap, rule, protocol, a);
	return taker;
}

/* A rule without protocols is one of whatever can learn all that it asks for. */
static bool rule_has_protocol(const struct overlap *overlap, const struct rule *rule, uint32_t protocol, size_t i)
{
	if (!protocol_is_spoken(&overlap->compiler->policy->protocols[protocol], overlap->transport))
		return false;
	if (rule->n_protocols)
		return rule->protocols[i] == protocol;
	unsigned asked = rule_attributes(rule);
	return (probes[protocol].attributes & asked) == asked;
}

static size_t rule_width(const struct rule *rule)
{
	return rule->n_protocols ? rule->n_protocols : n_probes;
}

static uint32_t rule_protocol(const struct rule *rule, size_t i)
{
	return rule->n_protocols ? rule->protocols[i] : (uint32_t)i;
}

/* May a module's probe learn all that is asked for? What it says YES to is not known here. */
static bool modules_learn(const struct overlap *overlap, unsigned asked)
{
	const struct policy *policy = overlap->compiler->policy;

	for (size_t i = n_probes; i < policy->n_protocols; i++)
		if (policy->protocols[i].module && protocol_is_spoken(&policy->protocols[i], overlap->transport) &&
			(policy->protocols[i].module->attributes & asked) == asked)
			return true;
	return false;
}

/* The last of the earlier services that between them take all of the rule; NOBODY where something is left for
 * it. */
static uint32_t rule_taker(const struct overlap *overlap, const struct rule *rule)
{
	uint32_t last = NOBODY;

	if (!rule->n_protocols && modules_learn(overlap, rule_attributes(rule)))
		return NOBODY;
	for (size_t i = 0; i < rule_width(rule); i++) {
		uint32_t protocol = rule_protocol(rule, i);
		if (!rule_has_protocol(overlap, rule, protocol, i))
			continue;
		uint32_t taker = rule_protocol_taker(overlap, rule, protocol);
		if (taker == NOBODY)
			return NOBODY;
		if (last == NOBODY || taker > last)
			last = taker;
	}
	return last;
}

/* Asks for a name that none of its protocols ever has? */
static bool rule_is_void(const struct overlap *overlap, const struct rule *rule)
{
	unsigned asked = rule_attributes(rule);

	if (!rule->n_protocols && modules_learn(overlap, asked))
		return false;
	for (size_t i = 0; i < rule_width(rule); i++) {
		uint32_t protocol = rule_protocol(rule, i);
		const struct protocol *known = &overlap->compiler->policy->protocols[protocol];
		if (protocol_is_spoken(known, overlap->transport) &&
			(!known->probe || (known->probe->attributes & asked) == asked))
			return false;
	}
	return true;
}

static void take_literals(struct overlap *overlap, const struct protocol *protocol, uint32_t service)
{
	if (protocol->n_patterns)
		return; /* takes only some of what begins so */
	for (size_t i = 0; i < protocol->n_literals; i++)
		if (trie_insert(overlap->literals, protocol->literals[i].bytes, protocol->literals[i].len, service) <
			0)
			abort();
}

static void take_names(struct overlap *overlap, const struct rule *rule, uint32_t probe, unsigned attribute)
{
	struct names **names = &overlap->names[probe][attribute];

	if (!*names && !(*names = names_new(overlap->arena, attribute_name_kind((enum attribute)attribute))))
		abort();
	for (size_t i = 0; i < rule->attribute[attribute].count; i++) {
		const char *name = rule->attribute[attribute].names[i];
		uint32_t taker = NOBODY;
		names_lookup(*names, (const uint8_t *)name, strlen(name), names_found, &taker);
		if (taker == NOBODY && names_insert(*names, name, rule->service) == -ENOMEM)
			abort();
	}
}

/* From here on the rule's service takes what it matches from all later ones. */
static void rule_take(struct overlap *overlap, const struct draft *draft)
{
	const struct rule *rule = &draft->rule;
	unsigned asked = rule_attributes(rule);

	if (draft->broken || draft->n_listeners || (asked & (asked - 1)) || draft->starttls)
		return; /* takes only some: its listeners', those with a second name, or those that its hello names */
	for (size_t i = 0; i < rule_width(rule); i++) {
		uint32_t protocol = rule_protocol(rule, i);
		if (!rule_has_protocol(overlap, rule, protocol, i))
			continue;
		if (asked && protocol < n_probes) {
			take_names(overlap, rule, protocol, (unsigned)__builtin_ctz(asked));
		} else if (!asked && overlap->taker[protocol] == NOBODY) {
			overlap->taker[protocol] = rule->service;
			take_literals(overlap, &overlap->compiler->policy->protocols[protocol], rule->service);
		}
	}
}

/* Likewise, of requests for TLS: who takes the protocol from its first bytes on takes these. */
static uint32_t starttls_taker(const struct overlap *overlap, unsigned kinds)
{
	uint32_t last = NOBODY;

	for (; kinds; kinds &= kinds - 1) {
		uint32_t number = starttls_protocol((enum starttls_kind)__builtin_ctz(kinds));
		uint32_t taker = overlap->taker[number];
		if (taker == NOBODY)
			return NOBODY;
		if (last == NOBODY || taker > last)
			last = taker;
	}
	return last;
}

/* What becomes of a service's clients, by one transport. */
enum reach {
	REACH_NONE,  /* it has none there */
	REACH_VOID,  /* its protocols never have what it asks for */
	REACH_TAKEN, /* all go to earlier services */
	REACH_SOME,
};

/* *ret_last is the last of the services that take everything. */
static enum reach service_reach(
	const struct overlap *overlap, const struct draft *drafts, size_t count, uint32_t *ret_last)
{
	const struct service *service = &overlap->compiler->policy->services[drafts->rule.service];
	enum reach reach = REACH_NONE;

	for (size_t i = 0; i < count; i++) {
		if (!(service->transports & drafts[i].transports & 1U << overlap->transport))
			continue;
		if (rule_is_void(overlap, &drafts[i].rule)) {
			reach = reach == REACH_NONE ? REACH_VOID : reach;
			continue;
		}
		uint32_t taker = drafts[i].starttls ? starttls_taker(overlap, drafts[i].starttls)
						    : rule_taker(overlap, &drafts[i].rule);
		if (taker == NOBODY)
			return REACH_SOME;
		if (*ret_last == NOBODY || taker > *ret_last)
			*ret_last = taker;
		reach = REACH_TAKEN;
	}
	return reach;
}

static void service_check(const struct overlap *overlaps, size_t n, const struct draft *drafts, size_t count)
{
	uint32_t service = drafts->rule.service, last = NOBODY;
	enum reach most = REACH_NONE;

	for (size_t i = 0; i < count; i++)
		if (drafts[i].broken)
			return;
	for (size_t i = 0; i < n; i++) {
		enum reach reach = service_reach(&overlaps[i], drafts, count, &last);
		most = reach > most ? reach : most;
	}
	const struct compiler *compiler = overlaps->compiler;
	const struct policy *policy = compiler->policy;
	const struct setting *at = compiler->service_at[service];
	if (most == REACH_VOID)
		reader_warn(compiler->reader, at, "service `%s' never matches: its protocols have no such name",
			policy->services[service].name);
	else if (most == REACH_TAKEN)
		reader_warn(compiler->reader, at,
			"service `%s' is never reached: service `%s' (%s) takes all that it matches",
			policy->services[service].name, policy->services[last].name,
			reader_place(compiler->reader, compiler->service_at[last], at));
}

void overlap_warn(struct compiler *compiler)
{
	struct overlap overlaps[TRANSPORT_COUNT];
	size_t n = 0;

	for (int t = 0; t < TRANSPORT_COUNT; t++)
		if (policy_has_transport(compiler->policy, (enum transport_kind)t))
			overlap_init(&overlaps[n++], compiler, (enum transport_kind)t);
	for (size_t first = 0, next; n > 0 && first < compiler->n_drafts; first = next) {
		uint32_t service = compiler->drafts[first].rule.service;
		for (next = first; next < compiler->n_drafts && compiler->drafts[next].rule.service == service;)
			next++;
		service_check(overlaps, n, &compiler->drafts[first], next - first);
		for (size_t i = first; i < next; i++)
			for (size_t k = 0; k < n; k++)
				if (compiler->policy->services[service].transports & 1U << overlaps[k].transport)
					rule_take(&overlaps[k], &compiler->drafts[i]);
	}
	for (size_t k = 0; k < n; k++)
		overlap_fini(&overlaps[k]);
}
