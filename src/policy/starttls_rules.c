/* The key `starttls' of a service: what its clients are told apart by stands in the ClientHello, and that comes only when a server has agreed
 * to TLS. A rule that names such a protocol becomes two:
 *
 *     match = { protocol = "postgres"; sni = "a.example"; }
 *
 *     rule     a request for TLS of PostgreSQL's      of the first bytes: the client is answered
 *     hello    tls, sni a.example                     of what follows: among all services with `starttls' for PostgreSQL
 *
 * Rules of other protocols stay what they are. Refuses what is known only inside TLS, and deliveries that cannot ask a server for TLS in the
 * client's place. Owns nothing. */
#include "compile.h"
#include <stdlib.h>
#include <string.h>

/* What a ClientHello has. */
#define HELLO_ATTRIBUTES (1U << ATTRIBUTE_SNI | 1U << ATTRIBUTE_ALPN | 1U << ATTRIBUTE_VERSION | 1U << ATTRIBUTE_JA4)

/* STARTTLS_NONE: nobody asks for TLS within it. */
static enum starttls_kind kind_of(uint32_t protocol)
{
	unsigned kind = 0;

	while (kind < STARTTLS_KINDS && protocol != starttls_protocol((enum starttls_kind)kind))
		kind++;
	return (enum starttls_kind)kind;
}

/* The number of the requests' own protocol. */
static uint32_t request_number(struct compiler *compiler, enum starttls_kind kind)
{
	const struct policy *policy = compiler->policy;
	const struct probe *probe = starttls_probe(kind);

	for (uint32_t i = 0; i < policy->n_protocols; i++)
		if (policy->protocols[i].probe == probe)
			return i;
	return protocol_add(compiler, &(struct protocol){ .name = probe->name, .probe = probe });
}

static void attributes_check(
	struct compiler *compiler, const struct rule *hello, const struct service *service, const struct setting *at)
{
	for (unsigned a = 0; a < ATTRIBUTE_COUNT; a++)
		if (hello->attribute[a].count && !(HELLO_ATTRIBUTES >> a & 1))
			compile_error(compiler, at,
				"`%s' of service `%s' is known inside TLS alone, expected `sni', `alpn', `version' "
				"or "
				"`ja4' beside `starttls'",
				attribute_names[a], service->name);
}

/* The draft with those of its protocols within which TLS is asked for, which are `kinds'. */
static void draft_ask(struct compiler *compiler, struct draft *draft, unsigned kinds)
{
	uint32_t *requests = arena_alloc(compiler->arena, STARTTLS_KINDS * sizeof(*requests));
	uint32_t *tls = arena_alloc(compiler->arena, sizeof(*tls));
	size_t n = 0;

	*tls = (uint32_t)(probe_find("tls") - probes);
	for (unsigned kind = 0; kind < STARTTLS_KINDS; kind++)
		if (kinds >> kind & 1)
			requests[n++] = request_number(compiler, (enum starttls_kind)kind);
	draft->starttls = kinds;
	draft->hello = draft->rule;
	draft->hello.protocols = tls;
	draft->hello.n_protocols = 1;
	draft->rule = (struct rule){ .service = draft->rule.service, .protocols = requests, .n_protocols = n };
}

/* The kinds of the draft at this place. Its other protocols become a draft of their own. */
static unsigned draft_split(struct compiler *compiler, size_t place)
{
	const struct draft whole = compiler->drafts[place];
	uint32_t *others = arena_alloc(compiler->arena, (whole.rule.n_protocols + 1) * sizeof(*others));
	unsigned kinds = 0;
	size_t n = 0;

	for (size_t i = 0; i < whole.rule.n_protocols; i++) {
		enum starttls_kind kind = kind_of(whole.rule.protocols[i]);
		if (kind == STARTTLS_NONE)
			others[n++] = whole.rule.protocols[i];
		else
			kinds |= 1U << kind;
	}
	if (!kinds)
		return 0;
	if (n > 0) {
		struct draft *rest = draft_add(compiler, whole.rule.service);
		*rest = whole;
		rest->rule.protocols = others;
		rest->rule.n_protocols = n;
	}
	draft_ask(compiler, &compiler->drafts[place], kinds);
	return kinds;
}

static void delivery_check(struct compiler *compiler, const struct service *service, const struct values *values)
{
	const struct setting *at = values->value[SERVICE_STARTTLS];

	if (!values->given[SERVICE_CONNECT] || values_choice(values, SERVICE_THROUGH) == 1)
		compile_error(compiler, at,
			"`starttls' of service `%s' goes with `connect' through usher only: its server is asked for "
			"TLS in the client's place",
			service->name);
	if (values_switch(values, SERVICE_BANNER, 0, 1))
		compile_error(compiler, at,
			"`starttls' of service `%s' does not go with `banner': clients are answered before its "
			"server "
			"is connected to",
			service->name);
}

/* "postgres, ldap" */
static const char *names_text(struct compiler *compiler)
{
	const char *text = starttls_name((enum starttls_kind)0);

	for (unsigned kind = 1; kind < STARTTLS_KINDS; kind++)
		text = arena_printf(compiler->arena, "%s, %s", text, starttls_name((enum starttls_kind)kind));
	return text;
}

void starttls_compile(struct compiler *compiler, uint32_t number, const struct values *values)
{
	struct service *service = &compiler->policy->services[number];
	const struct setting *at = values->value[SERVICE_STARTTLS];
	bool is_broken = false;

	if (!at || !values_switch(values, SERVICE_STARTTLS, 0, 1))
		return;
	delivery_check(compiler, service, values);
	size_t end = compiler->n_drafts;
	for (size_t i = 0; i < end; i++) {
		if (compiler->drafts[i].rule.service != number)
			continue;
		is_broken = is_broken || compiler->drafts[i].broken;
		service->starttls |= draft_split(compiler, i);
		attributes_check(
			compiler, &compiler->drafts[i].hello, service, at); /* empty where it asks for none */
	}
	if (!service->starttls && !is_broken)
		compile_error(compiler, at,
			"`starttls' of service `%s' names no protocol within which clients ask for TLS, expected a "
			"`match' with "
			"`protocol' one of: %s",
			service->name, names_text(compiler));
}

void starttls_check(struct compiler *compiler, const struct values *all)
{
	const struct policy *policy = compiler->policy;

	for (uint32_t i = 0; i < policy->n_services; i++) {
		const struct service *service = &policy->services[i];
		if (!service->starttls || service->fallback == SERVICE_NONE)
			continue;
		const struct service *fallback = &policy->services[service->fallback];
		if (fallback->target.delivery != DELIVERY_REJECT && (service->starttls & ~fallback->starttls))
			compile_error(compiler, all[i].value[SERVICE_FALLBACK],
				"fallback of service `%s' is service `%s', which expects clients that have not asked "
				"for TLS yet, expected one with `starttls' for the same protocol",
				service->name, fallback->name);
	}
}
