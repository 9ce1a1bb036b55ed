/* The `services` key: who a connection can go to, in the order in which they are tried.
 *
 * Refuses a name used twice, a service that nothing can lead to, and fallbacks that go round in a circle.
 * What a service matches is match.c's, where it goes delivery.c's. */
#include "compile.h"
#include "forwarding_rules.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* As Linux's connection tracking has it for UDP (nf_conntrack_udp_timeout_stream), and the least that RFC 4787 4.3 allows a NAT. */
#define FLOW_TIMEOUT_PRESET_US UINT64_C(120000000)

#define NAME_BYTES "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-"

bool name_check(struct compiler *compiler, const struct setting *at, const char *what)
{
	const char *name = setting_text(at);
	size_t len = strlen(name);

	if (len >= 1 && len <= 63 && strspn(name, NAME_BYTES) == len)
		return true;
	compile_error(compiler, at, "name `%.80s' of a %s, expected 1 to 63 letters, digits, `.', `_', `-' or `+'",
		name, what);
	return false;
}

uint32_t service_reference(struct compiler *compiler, const struct values *values, size_t key)
{
	const char *name = values_text(values, key);

	if (!name)
		return SERVICE_NONE;
	uint32_t number = index_find(compiler->services, name);
	if (number != INDEX_NONE)
		return number;
	compile_error(compiler, values->value[key], "unknown service `%s' in `%s'%s", name,
		values->section->keys[key].name, reader_suggest(compiler->reader, name, compiler->services));
	return SERVICE_NONE;
}

static void service_name(struct compiler *compiler, uint32_t number, const struct values *values)
{
	struct service *service = &compiler->policy->services[number];
	const struct setting *at = values->value[SERVICE_NAME];

	if (!values->given[SERVICE_NAME])
		compile_error(compiler, values->group, "service without `name', expected name = \"...\"");
	if (!at || !name_check(compiler, at, "service")) {
		service->name = arena_printf(compiler->arena, "#%u", number + 1);
		return;
	}
	service->name = arena_strdup(compiler->arena, setting_text(at));
	compiler->service_at[number] = at;
	uint32_t first = index_add(compiler->services, service->name, number);
	if (first != number)
		compile_error(compiler, at, "service `%s' is there twice, first on %s", service->name,
			reader_place(compiler->reader, compiler->service_at[first], at));
}

/* What is shown to a client cannot be taken back: only usher's own connection to a backend can be given up again. */
static void banner_compile(struct compiler *compiler, struct service *service, const struct values *values)
{
	const struct policy *policy = compiler->policy;
	const struct setting *at = values->value[SERVICE_BANNER];

	service->has_banner = values_switch(values, SERVICE_BANNER, 0, 1) != 0;
	if (!service->has_banner)
		return;
	if (!values->given[SERVICE_CONNECT])
		compile_error(compiler, at, "`banner' of service `%s' goes with `connect' only", service->name);
	if (values->given[SERVICE_ACCESS + ACCESS_PROGRAM])
		compile_error(
			compiler, at, "`banner' of service `%s' does not go with an `access' program", service->name);
	if (policy->decide_timeout_us && policy->banner_timeout_us >= policy->decide_timeout_us)
		compile_error(compiler, at,
			"`banner' of service `%s' is never sent, expected a `banner_timeout' shorter than "
			"`decide_timeout' (%g s)",
			service->name, (double)policy->decide_timeout_us / 1e6);
}

bool service_is_relayed(const struct service *service)
{
	const struct target *target = &service->target;

	return target->delivery == DELIVERY_CONNECT ||
		(target->delivery == DELIVERY_EXEC && target->exec.stdio != STDIO_SOCKET);
}

/* Where usher relays nothing it cannot tell when nothing moves. */
static void idle_check(struct compiler *compiler, const struct service *service, const struct values *values)
{
	if (values->value[SERVICE_IDLE_TIMEOUT] && !service_is_relayed(service))
		compile_error(compiler, values->value[SERVICE_IDLE_TIMEOUT],
			"`idle_timeout' of service `%s' goes with `connect' only, and with `exec' on pipes or a "
			"terminal",
			service->name);
}

static void service_compile(struct compiler *compiler, uint32_t number, const struct values *values)
{
	struct service *service = &compiler->policy->services[number];

	service->line = setting_line(values->group);
	service->match = "";
	if (values->value[SERVICE_MATCH])
		match_compile(compiler, number, values->value[SERVICE_MATCH]);
	starttls_compile(compiler, number, values);
	transports_compile(compiler, number, values);
	delivery_compile(compiler, number, values);
	access_compile(compiler, number, values);
	banner_compile(compiler, service, values);
	static const enum log_level levels[] = { LEVEL_NOTICE, LEVEL_INFO, LEVEL_DEBUG };
	service->log_level = levels[values_choice(values, SERVICE_LOG_LEVEL)];
	service->idle_timeout_us = values->value[SERVICE_IDLE_TIMEOUT]
		? (uint64_t)llround(values_number(values, SERVICE_IDLE_TIMEOUT) * 1e6)
		: compiler->policy->idle_timeout_us;
	service->flow_timeout_us =
		values->value[SERVICE_IDLE_TIMEOUT] ? service->idle_timeout_us : FLOW_TIMEOUT_PRESET_US;
	service->answer_timeout_us = (uint64_t)llround(values_number(values, SERVICE_ANSWER_TIMEOUT) * 1e6);
	service->answers =
		values->value[SERVICE_ANSWERS] ? (uint32_t)values_number(values, SERVICE_ANSWERS) : ANSWERS_ANY;
	service->patience_ms = patience_ms(compiler->policy, service->idle_timeout_us);
	idle_check(compiler, service, values);
	bandwidth_compile(compiler, number, values);
	service->fallback = service_reference(compiler, values, SERVICE_FALLBACK);
	if (service->fallback != SERVICE_NONE && values->value[SERVICE_REJECT])
		reader_warn(compiler->reader, values->value[SERVICE_FALLBACK],
			"fallback of service `%s' is never used: `reject' cannot fail", service->name);
}

/* Follows every chain once: a service is marked with the number of the walk that came by, and a walk that
 * meets its own mark has gone in a circle. */
static void fallbacks_check(struct compiler *compiler, const struct values *all)
{
	const struct policy *policy = compiler->policy;
	uint32_t *walk = arena_alloc(compiler->arena, policy->n_services * sizeof(*walk));

	for (uint32_t i = 0; i < policy->n_services; i++) {
		uint32_t at = i;
		while (at != SERVICE_NONE && walk[at] == 0) {
			walk[at] = i + 1;
			at = policy->services[at].fallback;
		}
		if (at != SERVICE_NONE && walk[at] == i + 1)
			compile_error(compiler, all[at].value[SERVICE_FALLBACK],
				"fallback of service `%s' leads back to itself, expected a chain that ends",
				policy->services[at].name);
	}
}

static void reachable_check(struct compiler *compiler, const struct values *all)
{
	const struct policy *policy = compiler->policy;
	bool *led_to = arena_alloc(compiler->arena, policy->n_services * sizeof(*led_to));

	for (uint32_t i = 0; i < policy->n_services; i++)
		if (policy->services[i].fallback != SERVICE_NONE)
			led_to[policy->services[i].fallback] = true;
	for (uint32_t i = 0; i < policy->n_services; i++)
		led_to[i] |= policy->services[i].has_banner;
	for (size_t i = 0; i < policy->n_listeners; i++) {
		if (policy->listeners[i].on_silence != SERVICE_NONE)
			led_to[policy->listeners[i].on_silence] = true;
		if (policy->listeners[i].on_unknown != SERVICE_NONE)
			led_to[policy->listeners[i].on_unknown] = true;
	}
	for (uint32_t i = 0; i < policy->n_services; i++)
		if (!all[i].given[SERVICE_MATCH] && !led_to[i])
			compile_error(compiler, all[i].group,
				"service `%s' has no `match' or `banner', and no `on_silence', `on_unknown' or "
				"`fallback' leads to it",
				policy->services[i].name);
}

/* What TCPMUX's HELP lists. */
static void tcpmux_names_collect(struct compiler *compiler)
{
	struct policy *policy = compiler->policy;
	struct index *seen = index_new();
	size_t n = 0;

	for (size_t i = 0; i < compiler->n_drafts; i++)
		n += compiler->drafts[i].rule.attribute[ATTRIBUTE_SERVICE].count;
	policy->tcpmux_names = arena_alloc(compiler->arena, (n + 1) * sizeof(*policy->tcpmux_names));
	for (size_t i = 0; i < compiler->n_drafts; i++) {
		const struct rule *rule = &compiler->drafts[i].rule;
		for (size_t k = 0; k < rule->attribute[ATTRIBUTE_SERVICE].count; k++) {
			char *name = arena_strdup(compiler->arena, rule->attribute[ATTRIBUTE_SERVICE].names[k]);
			for (char *c = name; *c; c++)
				*c = (char)tolower((unsigned char)*c);
			if (index_add(seen, name, (uint32_t)policy->n_tcpmux_names) == policy->n_tcpmux_names)
				policy->tcpmux_names[policy->n_tcpmux_names++] = name;
		}
	}
	index_free(seen);
}

/* Datagrams that nothing matches go to a service that takes them, or nowhere. */
static uint32_t otherwise_of(const struct policy *policy, const struct listener_policy *listener, uint32_t service)
{
	if (service == SERVICE_NONE)
		return SERVICE_NONE;
	bool takes = listener->transport == TRANSPORT_STREAM
		? !service_is_forwarded(&policy->services[service])
		: policy->services[service].transports >> listener->transport & 1;
	return takes ? service : SERVICE_NONE;
}

/* Who gets what nothing matches: as the listener says, else as is said for all. */
static void otherwise_compile(struct compiler *compiler, const struct values *top)
{
	struct policy *policy = compiler->policy;

	policy->on_silence = service_reference(compiler, top, TOP_ON_SILENCE);
	policy->on_unknown = service_reference(compiler, top, TOP_ON_UNKNOWN);
	for (size_t i = 0; i < policy->n_listeners; i++) {
		struct listener_policy *listener = &policy->listeners[i];
		const struct values *values = &compiler->listener_values[i];
		listener->on_silence = values->given[LISTEN_ON_SILENCE]
			? service_reference(compiler, values, LISTEN_ON_SILENCE)
			: otherwise_of(policy, listener, policy->on_silence);
		listener->on_unknown = values->given[LISTEN_ON_UNKNOWN]
			? service_reference(compiler, values, LISTEN_ON_UNKNOWN)
			: otherwise_of(policy, listener, policy->on_unknown);
		if (listener->transport == TRANSPORT_DATAGRAM)
			listener->on_silence = SERVICE_NONE;
	}
}

void services_compile(struct compiler *compiler, const struct values *top)
{
	struct policy *policy = compiler->policy;
	const struct setting *at = top->value[TOP_SERVICES];
	size_t count = setting_count(at);
	struct values *all = calloc(count + 1, sizeof(*all));

	if (!all)
		abort();
	policy->services = arena_alloc(compiler->arena, count * sizeof(*policy->services));
	policy->n_services = count;
	policy->expected = arena_alloc(compiler->arena, count * sizeof(*policy->expected)); /* at most one each */
	compiler->service_at = arena_alloc(compiler->arena, count * sizeof(*compiler->service_at));
	for (uint32_t i = 0; i < count; i++) {
		values_read(compiler->reader, &all[i], setting_item(at, i), &sections[SECTION_SERVICE]);
		service_name(compiler, i, &all[i]);
	}
	for (uint32_t i = 0; i < count; i++)
		service_compile(compiler, i, &all[i]);
	otherwise_compile(compiler, top);
	tcpmux_names_collect(compiler);
	fallbacks_check(compiler, all);
	reachable_check(compiler, all);
	starttls_check(compiler, all);
	transports_check(compiler, all);
	forwarding_compile(compiler, all);
	free(all);
}
