/* The compiled rules of each listener, what is left of them once a server's banner was shown, and those of clients that have asked for TLS.
 *
 * Refuses nothing that was not complained about before. The deciders are in the policy's arena. */
#include "compile.h"
#include "forwarding_rules.h"
#include <stdlib.h>
#include <string.h>

#define NO_LISTENER UINT32_MAX

bool draft_applies(const struct compiler *compiler, const struct draft *draft, uint32_t listener)
{
	const struct policy *policy = compiler->policy;
	enum transport_kind transport = policy->listeners[listener].transport;
	unsigned takes = policy->services[draft->rule.service].transports & draft->transports;

	if (transport == TRANSPORT_DATAGRAM && !(takes >> transport & 1))
		return false;
	if (transport == TRANSPORT_STREAM && service_is_forwarded(&policy->services[draft->rule.service]))
		return false;
	for (size_t i = 0; i < draft->n_listeners; i++)
		if (draft->listeners[i] == listener)
			return true;
	return draft->n_listeners == 0;
}

/* The rule with those of its protocols that are spoken over the transport; at least one is, where any is named. */
static void rule_narrow(struct compiler *compiler, struct rule *rule, enum transport_kind transport)
{
	const struct policy *policy = compiler->policy;
	uint32_t *protocols = arena_alloc(compiler->arena, rule->n_protocols * sizeof(*protocols));
	size_t n = 0;

	for (size_t i = 0; i < rule->n_protocols; i++)
		if (protocol_is_spoken(&policy->protocols[rule->protocols[i]], transport))
			protocols[n++] = rule->protocols[i];
	rule->protocols = protocols;
	rule->n_protocols = n;
}

static struct decider *decider_compile(struct compiler *compiler, struct rule *rules, size_t n_rules)
{
	struct policy *policy = compiler->policy;
	struct decider *decider = NULL;
	int error = decider_new(&decider, compiler->arena, policy->protocols, policy->n_protocols, rules, n_rules);

	if (error) {
		compile_error(compiler, NULL, "the services cannot be compiled: %s", strerror(-error));
		return NULL;
	}
	return decider;
}

static void rules_keep(struct compiler *compiler, uint32_t listener, const struct rule *rules, size_t n_rules)
{
	struct policy *policy = compiler->policy;

	if (!policy->rule_lists)
		policy->rule_lists = arena_alloc(compiler->arena, policy->n_listeners * sizeof(*policy->rule_lists));
	policy->rule_lists[listener] =
		(struct rule_list){ arena_memdup(compiler->arena, rules, n_rules * sizeof(*rules)), n_rules };
}

/* One for all listeners of a transport, unless some rule asks where a client came in. */
static void listeners_decide(struct compiler *compiler, struct rule *rules)
{
	struct policy *policy = compiler->policy;
	uint32_t first[TRANSPORT_COUNT] = { NO_LISTENER, NO_LISTENER };
	bool shared = true;

	for (size_t i = 0; i < compiler->n_drafts; i++)
		shared = shared && compiler->drafts[i].n_listeners == 0;
	policy->deciders = arena_alloc(compiler->arena, policy->n_listeners * sizeof(*policy->deciders));
	for (uint32_t l = 0; l < policy->n_listeners; l++) {
		enum transport_kind transport = policy->listeners[l].transport;
		size_t n_rules = 0;
		if (shared && first[transport] != NO_LISTENER) {
			policy->deciders[l] = policy->deciders[first[transport]];
			if (policy->rule_lists)
				policy->rule_lists[l] = policy->rule_lists[first[transport]];
			continue;
		}
		first[transport] = l;
		for (size_t i = 0; i < compiler->n_drafts; i++) {
			if (!draft_applies(compiler, &compiler->drafts[i], l))
				continue;
			rules[n_rules] = compiler->drafts[i].rule;
			if (transport == TRANSPORT_DATAGRAM)
				rule_narrow(compiler, &rules[n_rules], transport);
			n_rules++;
		}
		if (compiler->options->keep_rules)
			rules_keep(compiler, l, rules, n_rules);
		policy->deciders[l] = decider_compile(compiler, rules, n_rules);
		if (!policy->deciders[l])
			break;
	}
}

/* ---- where clients may come to ---- */

static void reach_add(const struct policy *policy, uint8_t *reaches, uint32_t service)
{
	while (service != SERVICE_NONE && !(reaches[service / 8] >> service % 8 & 1)) {
		reaches[service / 8] |= (uint8_t)(1u << service % 8);
		service = policy->services[service].fallback;
	}
}

/* Of UDP listeners. */
static void listeners_reach(struct compiler *compiler)
{
	struct policy *policy = compiler->policy;

	for (uint32_t l = 0; l < policy->n_listeners; l++) {
		struct listener_policy *listener = &policy->listeners[l];
		if (listener->transport != TRANSPORT_DATAGRAM)
			continue;
		uint8_t *reaches = arena_alloc(compiler->arena, policy->n_services / 8 + 1);
		for (size_t i = 0; i < compiler->n_drafts; i++)
			if (draft_applies(compiler, &compiler->drafts[i], l))
				reach_add(policy, reaches, compiler->drafts[i].rule.service);
		reach_add(policy, reaches, listener->on_unknown);
		listener->reaches = reaches;
	}
}

/* ---- after a banner ---- */

/* Of its protocols within which TLS is asked for, the first one whose server speaks first. */
static enum starttls_kind draft_greeting(const struct draft *draft)
{
	unsigned kind = 0;

	while (kind < STARTTLS_KINDS &&
		!(draft->starttls >> kind & 1 && starttls_speaks_first((enum starttls_kind)kind)))
		kind++;
	return (enum starttls_kind)kind;
}

/* The first service that shows its banner to who came in here, or that such clients are greeted for. */
static uint32_t banner_service(const struct compiler *compiler, uint32_t listener, enum starttls_kind *ret_greeting)
{
	const struct policy *policy = compiler->policy;

	*ret_greeting = STARTTLS_NONE;
	for (uint32_t i = 0; i < policy->n_services; i++) {
		if (policy->services[i].has_banner && !*policy->services[i].match)
			return i;
		for (size_t k = 0; k < compiler->n_drafts; k++) {
			const struct draft *draft = &compiler->drafts[k];
			if (draft->rule.service != i || !draft_applies(compiler, draft, listener))
				continue;
			*ret_greeting = draft_greeting(draft);
			if (policy->services[i].has_banner || *ret_greeting != STARTTLS_NONE)
				return i;
		}
	}
	return SERVICE_NONE;
}

/* A built-in protocol's server has said this, or may have: of one's own protocols nothing is known but that the service has
 * a banner. */
static bool banner_fits(const struct policy *policy, uint32_t service, uint32_t protocol, enum server_banner kind)
{
	const struct protocol *known = &policy->protocols[protocol];

	if (known->probe)
		return server_banner_fits(kind, known->name);
	return policy->services[service].has_banner;
}

/* The rule with those of its protocols that fit; false: none does. Another service's own banner can be left out only where
 * usher connects to it. */
static bool banner_rule(struct compiler *compiler, const struct rule *rule, enum server_banner kind, struct rule *ret)
{
	const struct policy *policy = compiler->policy;
	uint32_t *protocols = arena_alloc(compiler->arena, rule->n_protocols * sizeof(*protocols));

	*ret = *rule;
	ret->protocols = protocols;
	ret->n_protocols = 0;
	if (policy->services[rule->service].target.delivery != DELIVERY_CONNECT)
		return false;
	for (size_t i = 0; i < rule->n_protocols; i++)
		if (banner_fits(policy, rule->service, rule->protocols[i], kind))
			protocols[ret->n_protocols++] = rule->protocols[i];
	return ret->n_protocols > 0;
}

/* NULL: there is nothing to choose between. */
static const struct decider *banner_decider(
	struct compiler *compiler, struct rule *rules, uint32_t listener, enum server_banner kind)
{
	uint32_t service = compiler->policy->listeners[listener].banner_service;
	bool choice = false;
	size_t n = 0;

	for (size_t i = 0; i < compiler->n_drafts; i++) {
		const struct draft *draft = &compiler->drafts[i];
		if (draft->starttls || !draft_applies(compiler, draft, listener) ||
			!banner_rule(compiler, &draft->rule, kind, &rules[n]))
			continue;
		choice |= rules[n++].service != service;
	}
	return choice ? decider_compile(compiler, rules, n) : NULL;
}

static void banners_decide(struct compiler *compiler, struct rule *rules)
{
	for (uint32_t l = 0; l < compiler->policy->n_listeners; l++) {
		struct listener_policy *listener = &compiler->policy->listeners[l];
		listener->banner_service = SERVICE_NONE;
		listener->greeting = STARTTLS_NONE;
		if (listener->transport == TRANSPORT_STREAM)
			listener->banner_service = banner_service(compiler, l, &listener->greeting);
		listener->awaits_bytes =
			listener->on_silence == SERVICE_NONE && listener->banner_service == SERVICE_NONE;
		if (listener->banner_service == SERVICE_NONE || listener->greeting != STARTTLS_NONE)
			continue;
		for (int kind = 0; kind < SERVER_BANNER_KINDS; kind++)
			listener->banner_deciders[kind] =
				banner_decider(compiler, rules, l, (enum server_banner)kind);
	}
}

/* ---- after a request for TLS ---- */

/* NULL: no service here takes clients that have asked so. */
static const struct decider *starttls_decider(
	struct compiler *compiler, struct rule *rules, uint32_t listener, unsigned kind)
{
	size_t n = 0;

	for (size_t i = 0; i < compiler->n_drafts; i++) {
		const struct draft *draft = &compiler->drafts[i];
		if (draft->starttls >> kind & 1 && draft_applies(compiler, draft, listener))
			rules[n++] = draft->hello;
	}
	return n ? decider_compile(compiler, rules, n) : NULL;
}

static void starttls_decide(struct compiler *compiler, struct rule *rules)
{
	for (uint32_t l = 0; l < compiler->policy->n_listeners; l++)
		for (unsigned kind = 0; kind < STARTTLS_KINDS; kind++)
			compiler->policy->listeners[l].starttls_deciders[kind] =
				starttls_decider(compiler, rules, l, kind);
}

void deciders_compile(struct compiler *compiler)
{
	struct rule *rules = calloc(compiler->n_drafts + 1, sizeof(*rules));

	if (!rules)
		abort();
	listeners_decide(compiler, rules);
	banners_decide(compiler, rules);
	starttls_decide(compiler, rules);
	listeners_reach(compiler);
	free(rules);
}
