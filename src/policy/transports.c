/* By what clients come: in connections or as datagrams. A service names no transport. It takes datagrams if one can match it and if
 * it connects to an IP address, hands over, or rejects:
 *
 *     ssh, http, tls               are spoken in connections alone     (decide/probe.c)
 *     quic, wireguard, dtls        in datagrams alone
 *     dns, sip, one's own          in both
 *     a `match' without protocol   as those are that can tell what it asks for: sni is TLS', QUIC's and DTLS'
 *     exec, unix:/path, sni:443    take connections alone, whatever matches
 *     through the kernel           datagrams alone
 *
 * A UDP listener asks for the services that take datagrams, as if there were no others. So the services of one file can share a port
 * of TCP and of UDP, and nothing is said about those that are for one of them. What is written out for a listener that it cannot be
 * for is complained of, and what no listener can bring. Refuses keys that UDP does not know or usher does not have for it. Owns nothing. */
#include "compile.h"
#include "forwarding_rules.h"
#include "probe.h"
#include <stdlib.h>
#include <string.h>

#define STREAMS     (1U << TRANSPORT_STREAM)
#define DATAGRAMS   (1U << TRANSPORT_DATAGRAM)
#define NO_LISTENER UINT32_MAX

bool policy_has_transport(const struct policy *policy, enum transport_kind transport)
{
	for (size_t i = 0; i < policy->n_listeners; i++)
		if (policy->listeners[i].transport == transport)
			return true;
	return false;
}

static bool rule_is_spoken(const struct policy *policy, const struct rule *rule, enum transport_kind transport)
{
	uint32_t asked = 0;

	for (size_t i = 0; i < rule->n_protocols; i++)
		if (protocol_is_spoken(&policy->protocols[rule->protocols[i]], transport))
			return true;
	if (rule->n_protocols)
		return false;
	for (unsigned a = 0; a < ATTRIBUTE_COUNT; a++)
		asked |= rule->attribute[a].count ? 1U << a : 0;
	for (size_t i = 0; i < n_probes; i++)
		if ((probes[i].attributes & asked) == asked && protocol_is_spoken(&policy->protocols[i], transport))
			return true;
	return transport == TRANSPORT_STREAM && policy->n_modules > 0; /* which may learn anything */
}

/* The transports of the listeners that a rule names, which may be none: all then. */
static unsigned listeners_transports(const struct policy *policy, const struct draft *draft)
{
	unsigned transports = draft->n_listeners ? 0 : STREAMS | DATAGRAMS;

	for (size_t i = 0; i < draft->n_listeners; i++)
		transports |= 1U << policy->listeners[draft->listeners[i]].transport;
	return transports;
}

static unsigned delivery_transports(const struct values *values)
{
	const struct setting *at = values->value[SERVICE_CONNECT];

	if (values->given[SERVICE_EXEC])
		return STREAMS;
	if (values_choice(values, SERVICE_THROUGH) == 1)
		return DATAGRAMS;
	if (at && client_names_by(at) != NAME_BY_FILE)
		return STREAMS;
	for (size_t i = 0; i < setting_count(at); i++) {
		const char *text = backend_text(setting_item(at, i));
		if (!text || strncmp(text, "unix:", 5) != 0)
			return STREAMS | DATAGRAMS;
	}
	return at ? STREAMS : STREAMS | DATAGRAMS;
}

void transports_compile(struct compiler *compiler, uint32_t service, const struct values *values)
{
	const struct policy *policy = compiler->policy;
	bool has_match = false;
	unsigned match = 0;

	/* Those of the service are the last ones. */
	for (size_t i = compiler->n_drafts; i > 0 && compiler->drafts[i - 1].rule.service == service; i--) {
		struct draft *draft = &compiler->drafts[i - 1];
		for (int t = 0; t < TRANSPORT_COUNT; t++)
			if (rule_is_spoken(policy, &draft->rule, (enum transport_kind)t))
				draft->transports |= 1U << t;
		match |= draft->transports & listeners_transports(policy, draft);
		has_match = true;
	}
	policy->services[service].transports =
		delivery_transports(values) & (has_match ? match : STREAMS | DATAGRAMS);
}

/* ---- what is written out and can never be ---- */

/* Why nothing that comes in so gets to the service; `match` is what its match or a rule of it can match. */
static const char *hindrance(const struct values *values, unsigned match, enum transport_kind transport)
{
	if (!(delivery_transports(values) >> transport & 1) && transport == TRANSPORT_STREAM)
		return "its flows go through the kernel, which is for datagrams alone";
	if (!(delivery_transports(values) >> transport & 1))
		return values->given[SERVICE_EXEC] ? "it runs a program, which takes connections alone"
			: client_names_by(values->value[SERVICE_CONNECT]) != NAME_BY_FILE
			? "it connects to the name that its client asks for, which takes connections alone"
			: "its backends are UNIX sockets, which take connections alone";
	if (!(match >> transport & 1))
		return transport == TRANSPORT_DATAGRAM ? "what it matches comes in connections alone"
						       : "what it matches comes in datagrams alone";
	return NULL;
}

/* A rule that names a listener where it can never hold. */
static void named_listeners_check(struct compiler *compiler, const struct values *all)
{
	const struct policy *policy = compiler->policy;

	for (size_t i = 0; i < compiler->n_drafts; i++) {
		const struct draft *draft = &compiler->drafts[i];
		uint32_t service = draft->rule.service;
		for (size_t k = 0; k < draft->n_listeners && !draft->broken; k++) {
			const struct listener_policy *listener = &policy->listeners[draft->listeners[k]];
			const char *why = hindrance(&all[service], draft->transports, listener->transport);
			if (why)
				reader_warn(compiler->reader, compiler->service_at[service],
					"service `%s' gets nothing from listener `%s': %s",
					policy->services[service].name, listener->text, why);
		}
	}
}

/* A service whose `match` nothing can match that comes in anywhere. */
static void matches_check(struct compiler *compiler, const struct values *all)
{
	const struct policy *policy = compiler->policy;
	unsigned used = 0;

	for (int t = 0; t < TRANSPORT_COUNT; t++)
		used |= policy_has_transport(policy, (enum transport_kind)t) ? 1U << t : 0;
	for (size_t first = 0, next; first < compiler->n_drafts; first = next) {
		uint32_t service = compiler->drafts[first].rule.service;
		unsigned match = 0;
		bool broken = false, named = false;
		for (next = first; next < compiler->n_drafts && compiler->drafts[next].rule.service == service;
			next++) {
			match |= compiler->drafts[next].transports;
			broken |= compiler->drafts[next].broken;
			named |= compiler->drafts[next].n_listeners > 0;
		}
		if (broken || named || policy->services[service].transports & used || !used)
			continue;
		if (service_is_forwarded(&policy->services[service])) {
			const char *why = hindrance(&all[service], match, TRANSPORT_DATAGRAM);
			reader_warn(compiler->reader, compiler->service_at[service],
				"service `%s' never matches: %s, and its flows go through the kernel",
				policy->services[service].name, why ? why : "no listener is of UDP");
			continue;
		}
		bool datagrams = used == DATAGRAMS;
		reader_warn(compiler->reader, compiler->service_at[service], "service `%s' never matches: %s, and %s",
			policy->services[service].name,
			hindrance(&all[service], match, datagrams ? TRANSPORT_DATAGRAM : TRANSPORT_STREAM),
			datagrams ? "all listeners are of UDP" : "no listener is of UDP");
	}
}

static void on_unknown_check(struct compiler *compiler, const struct values *all)
{
	const struct policy *policy = compiler->policy;

	for (size_t i = 0; i < policy->n_listeners; i++) {
		const struct listener_policy *listener = &policy->listeners[i];
		const struct setting *at = compiler->listener_values[i].value[LISTEN_ON_UNKNOWN];
		uint32_t service = listener->on_unknown;
		if (!at || service == SERVICE_NONE || listener->transport != TRANSPORT_DATAGRAM ||
			policy->services[service].transports & DATAGRAMS)
			continue;
		const char *why = hindrance(&all[service], policy->services[service].transports, TRANSPORT_DATAGRAM);
		compile_error(compiler, at,
			"`on_unknown' of listener `%s' is service `%s': %s, expected one for datagrams",
			listener->text, policy->services[service].name, why);
	}
}

/* ---- keys ---- */

/* From which listener datagrams get to each service; NO_LISTENER: from none. */
static void datagrams_trace(const struct compiler *compiler, uint32_t *from)
{
	const struct policy *policy = compiler->policy;

	for (uint32_t l = 0; l < policy->n_listeners; l++) {
		const struct listener_policy *listener = &policy->listeners[l];
		if (listener->transport != TRANSPORT_DATAGRAM)
			continue;
		for (size_t i = 0; i < compiler->n_drafts; i++)
			if (draft_applies(compiler, &compiler->drafts[i], l))
				from[compiler->drafts[i].rule.service] = l;
		if (listener->on_unknown != SERVICE_NONE)
			from[listener->on_unknown] = l;
	}
	for (uint32_t i = 0; i < policy->n_services; i++)
		for (uint32_t at = i, next; from[at] != NO_LISTENER; at = next) {
			next = policy->services[at].fallback;
			if (next == SERVICE_NONE || from[next] != NO_LISTENER ||
				!(policy->services[next].transports & DATAGRAMS))
				break;
			from[next] = from[at];
		}
}

/* What there is for connections, and not for datagrams. */
static void missing_check(struct compiler *compiler, const struct service *service, const struct values *values,
	const struct listener_policy *listener)
{
	if (service->target.delivery == DELIVERY_HANDOVER && service->target.handover.format != HANDOVER_USHER)
		compile_error(compiler, values->value[SERVICE_FORMAT],
			"`format' of service `%s', which takes datagrams of listener `%s', is \"tcpmux\", expected "
			"\"usher\": the other format has no datagrams",
			service->name, listener->text);
	if (service->target.delivery == DELIVERY_CONNECT && service->target.connect.send_proxy == 1)
		compile_error(compiler, values->value[SERVICE_SEND_PROXY],
			"`send_proxy' of service `%s', which takes datagrams of listener `%s', is 1, expected 2 or "
			"\"each\": version 1 of the header has no datagrams",
			service->name, listener->text);
	if (values->value[SERVICE_START])
		reader_warn(compiler->reader, values->value[SERVICE_START],
			"the server of service `%s' is started for connections alone, not for the datagrams of "
			"listener `%s'",
			service->name, listener->text);
	for (size_t key = SERVICE_BANDWIDTH; key <= SERVICE_TOTAL_BANDWIDTH; key++)
		if (values->value[key])
			reader_warn(compiler->reader, values->value[key],
				"`%s' of service `%s' holds for connections alone: the datagrams of listener `%s' "
				"are relayed as they come",
				values->section->keys[key].name, service->name, listener->text);
}

static void unused_check(struct compiler *compiler, const struct service *service, const struct values *values)
{
	static const enum service_key of_datagrams[] = { SERVICE_ANSWER_TIMEOUT, SERVICE_ANSWERS };

	for (size_t i = 0; i < sizeof(of_datagrams) / sizeof(of_datagrams[0]); i++)
		if (values->value[of_datagrams[i]])
			reader_warn(compiler->reader, values->value[of_datagrams[i]],
				"`%s' of service `%s' is never used: no datagrams get there",
				values->section->keys[of_datagrams[i]].name, service->name);
	if (service->target.delivery == DELIVERY_CONNECT && service->target.connect.send_proxy_each)
		reader_warn(compiler->reader, values->value[SERVICE_SEND_PROXY],
			"`send_proxy' of service `%s' is \"each\", and no datagrams get there: its connections begin "
			"with a "
			"header, as with 2",
			service->name);
}

void transports_check(struct compiler *compiler, const struct values *all)
{
	const struct policy *policy = compiler->policy;
	uint32_t *from = calloc(policy->n_services + 1, sizeof(*from));

	if (!from)
		abort();
	for (size_t i = 0; i < policy->n_services; i++)
		from[i] = NO_LISTENER;
	named_listeners_check(compiler, all);
	matches_check(compiler, all);
	on_unknown_check(compiler, all);
	datagrams_trace(compiler, from);
	for (size_t i = 0; i < policy->n_services; i++)
		if (from[i] != NO_LISTENER)
			missing_check(compiler, &policy->services[i], &all[i], &policy->listeners[from[i]]);
		else
			unused_check(compiler, &policy->services[i], &all[i]);
	free(from);
}
