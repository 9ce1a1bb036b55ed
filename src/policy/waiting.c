/* Warns of services whose clients wait for the server and so never say what the service asks for.
 *
 *     MySQL, VNC, mail, FTP     say nothing before the server: who is shown another's banner is not theirs any more
 *     gRPC                      sends HTTP/2's preface and SETTINGS, and names host and path once the server's SETTINGS have come
 *
 * Refuses to guess: what a server says whose protocol is not built in is not known, and counts as anything. Owns nothing. */
#include "compile.h"
#include <stdlib.h>
#include <string.h>

/* Clients of these wait, the first ones always. */
static const char *const waiting[] = { "mysql", "nats", "vnc", "smtp", "ftp", "pop3", "imap" };
#define WAITING        (sizeof(waiting) / sizeof(waiting[0]))
#define WAITING_ALWAYS 2 /* of them never say anything before */

/* The kinds of greeting that the protocol's server may begin with, a bit each. */
static unsigned kinds_of(const struct protocol *protocol)
{
	unsigned kinds = 0;

	if (!protocol->probe || protocol->probe->stream == probe_any)
		return ~0U;
	for (unsigned kind = 0; kind < SERVER_BANNER_KINDS; kind++)
		if (server_banner_fits((enum server_banner)kind, protocol->name))
			kinds |= 1U << kind;
	return kinds;
}

/* Those of the service whose banner is shown. */
static unsigned kinds_shown(const struct compiler *compiler, uint32_t service)
{
	unsigned kinds = 0;
	bool any = false;

	for (size_t i = 0; i < compiler->n_drafts; i++) {
		const struct draft *draft = &compiler->drafts[i];
		if (draft->rule.service != service)
			continue;
		any = any || draft->rule.n_protocols > 0;
		for (size_t k = 0; k < draft->rule.n_protocols; k++)
			kinds |= kinds_of(&compiler->policy->protocols[draft->rule.protocols[k]]);
	}
	return any ? kinds : ~0U;
}

/* Datagrams are decided one by one: nobody waits. */
static bool applies(const struct compiler *compiler, const struct draft *draft, uint32_t listener)
{
	return !draft->broken && compiler->policy->listeners[listener].transport == TRANSPORT_STREAM &&
		draft_applies(compiler, draft, listener);
}

/* The place among those that wait; WAITING: it is none. */
static size_t waiting_find(const struct protocol *protocol)
{
	size_t i = 0;

	while (i < WAITING && strcmp(waiting[i], protocol->name) != 0)
		i++;
	return protocol->probe ? i : WAITING;
}

/* Of one protocol of a rule, on one listener, where greetings of these `kinds` are shown. True: something was said. */
static bool waiting_judge(
	struct compiler *compiler, const struct draft *draft, uint32_t protocol, uint32_t listener, unsigned kinds)
{
	const struct policy *policy = compiler->policy;
	const struct listener_policy *at = &policy->listeners[listener];
	const char *name = policy->protocols[protocol].name;
	uint32_t service = draft->rule.service;

	if (at->on_silence == service || at->banner_service == service)
		return false;
	if (at->banner_service == SERVICE_NONE && waiting_find(&policy->protocols[protocol]) < WAITING_ALWAYS) {
		reader_warn(compiler->reader, compiler->service_at[service],
			"clients of `%s' say nothing before their server does, so service `%s' gets none on listener "
			"`%s', "
			"expected `banner' or `on_silence'",
			name, policy->services[service].name, at->text);
		return true;
	}
	if (at->banner_service == SERVICE_NONE || kinds & kinds_of(&policy->protocols[protocol]))
		return false;
	reader_warn(compiler->reader, compiler->service_at[service],
		"clients of `%s' wait for their server, so on listener `%s' they are shown the banner of service "
		"`%s' (%s), and "
		"service `%s' gets none of them",
		name, at->text, policy->services[at->banner_service].name,
		reader_place(
			compiler->reader, compiler->service_at[at->banner_service], compiler->service_at[service]),
		policy->services[service].name);
	return true;
}

/* `kinds` are those of each listener. */
static void waiting_warn_rule(struct compiler *compiler, const struct draft *draft, const unsigned *kinds)
{
	for (size_t k = 0; k < draft->rule.n_protocols; k++) {
		uint32_t protocol = draft->rule.protocols[k];
		if (waiting_find(&compiler->policy->protocols[protocol]) == WAITING)
			continue;
		for (uint32_t l = 0; l < compiler->policy->n_listeners; l++)
			if (applies(compiler, draft, l) && waiting_judge(compiler, draft, protocol, l, kinds[l]))
				return;
	}
}

/* "/package.Service/Method", where any of it may be a glob. Services begin with a capital, which files ("/index.php/") do not. */
static bool path_is_grpc(const char *path)
{
	size_t n = path[0] == '/' ? strcspn(path + 1, "/") : 0;

	const char *dot = n > 0 ? memrchr(path + 1, '.', n) : NULL;

	return dot && dot > path + 1 && dot[1] >= 'A' && dot[1] <= 'Z' && path[1 + n] == '/' &&
		!strpbrk(path + 2 + n, "/.");
}

static bool may_be_http(const struct compiler *compiler, const struct rule *rule)
{
	for (size_t i = 0; i < rule->n_protocols; i++) {
		const struct probe *probe = compiler->policy->protocols[rule->protocols[i]].probe;
		if (probe && probe->stream == probe_http)
			return true;
	}
	return rule->n_protocols == 0;
}

static bool any_name(const struct rule *rule, enum attribute attribute, bool (*is)(const char *name))
{
	for (size_t i = 0; i < rule->attribute[attribute].count; i++)
		if (is(rule->attribute[attribute].names[i]))
			return true;
	return false;
}

static bool version_is_two(const char *version)
{
	return strcmp(version, "2") == 0;
}

static void grpc_warn_rule(struct compiler *compiler, const struct draft *draft)
{
	const struct rule *rule = &draft->rule;
	bool names = rule->attribute[ATTRIBUTE_HOST].count || rule->attribute[ATTRIBUTE_PATH].count;

	if (draft->broken || !names || !may_be_http(compiler, rule) ||
		!(any_name(rule, ATTRIBUTE_VERSION, version_is_two) || any_name(rule, ATTRIBUTE_PATH, path_is_grpc)))
		return;
	reader_warn(compiler->reader, compiler->service_at[rule->service],
		"service `%s' asks for what clients of gRPC name only when they have heard the server: these are "
		"decided without "
		"it, expected a service with `version = \"2\"' alone",
		compiler->policy->services[rule->service].name);
}

void waiting_warn(struct compiler *compiler)
{
	const struct policy *policy = compiler->policy;
	unsigned *kinds = calloc(policy->n_listeners + 1, sizeof(*kinds));

	if (!kinds)
		abort();
	for (size_t l = 0; l < policy->n_listeners; l++)
		if (policy->listeners[l].banner_service != SERVICE_NONE)
			kinds[l] = kinds_shown(compiler, policy->listeners[l].banner_service);
	for (size_t i = 0; i < compiler->n_drafts; i++) {
		waiting_warn_rule(compiler, &compiler->drafts[i], kinds);
		grpc_warn_rule(compiler, &compiler->drafts[i]);
	}
	free(kinds);
}
