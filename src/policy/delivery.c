/* Where a service's connections go: backends, receivers, rejection (programs are program.c's).
 *
 * Refuses a service with no delivery or with two, keys that belong to another delivery, and a target that is
 * one of usher's own listeners: that would go round until descriptors run out. Texts live in the policy's
 * arena. */
#include "compile.h"
#include "path.h"
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* This machine's addresses, for a listener on all of them: a target on the port at any of them comes back. */
static void local_read(struct compiler *compiler)
{
	struct ifaddrs *list = NULL;
	size_t count = 0;

	compiler->local_known = true;
	if (getifaddrs(&list) < 0)
		return;
	for (const struct ifaddrs *at = list; at; at = at->ifa_next)
		count++;
	compiler->local = arena_alloc(compiler->arena, count * sizeof(*compiler->local));
	for (const struct ifaddrs *at = list; at; at = at->ifa_next) {
		struct address *local = &compiler->local[compiler->n_local];
		int family = at->ifa_addr ? at->ifa_addr->sa_family : AF_UNSPEC;
		if (family != AF_INET && family != AF_INET6)
			continue;
		local->len = family == AF_INET ? sizeof(local->in) : sizeof(local->in6);
		memcpy(&local->sa, at->ifa_addr, local->len);
		compiler->n_local++;
	}
	freeifaddrs(list);
}

static bool address_is_local(struct compiler *compiler, const struct address *address)
{
	if (!compiler->local_known)
		local_read(compiler);
	for (size_t i = 0; i < compiler->n_local; i++) {
		struct address local = compiler->local[i];
		address_set_port(&local, address_port(address));
		if (address_equal(&local, address))
			return true;
	}
	return false;
}

/* Abstract ones, which have no path, are told by their names. */
static bool unix_same(const struct address *first, const struct address *second)
{
	return first->un.sun_path[0] && second->un.sun_path[0] && path_same(first->un.sun_path, second->un.sun_path);
}

static bool listener_takes(
	struct compiler *compiler, const struct listener_policy *listener, const struct address *target)
{
	struct address loopback = { 0 };

	if (address_reaches(target, &listener->address))
		return true;
	if (target->sa.sa_family == AF_UNIX)
		return listener->address.sa.sa_family == AF_UNIX && unix_same(target, &listener->address);
	if (!address_is_ip(target) || target->sa.sa_family != listener->address.sa.sa_family)
		return false;
	/* Another of this machine's addresses is as good as the loopback one: does that reach it? */
	address_parse(&loopback, target->sa.sa_family == AF_INET ? "127.0.0.1:1" : "[::1]:1");
	address_set_port(&loopback, address_port(target));
	return address_reaches(&loopback, &listener->address) && !address_equal(&loopback, &listener->address) &&
		address_is_local(compiler, target);
}

bool own_listener_check(
	struct compiler *compiler, unsigned transports, const struct setting *at, const struct address *target)
{
	const struct policy *policy = compiler->policy;
	uint16_t port = address_port(target);

	bool may_be = !address_is_ip(target);
	for (int t = 0; t < TRANSPORT_COUNT; t++)
		may_be |= transports >> t & 1 && compiler->ports[t][port / 8] >> port % 8 & 1;
	if (!may_be)
		return true;
	for (size_t i = 0; i < policy->n_listeners; i++) {
		if (!(transports >> policy->listeners[i].transport & 1) ||
			!listener_takes(compiler, &policy->listeners[i], target))
			continue;
		compile_error(compiler, at, "`%s' is usher's own listener `%s' (%s), expected another server",
			setting_text(at), policy->listeners[i].text,
			reader_place(compiler->reader, compiler->listener_at[i], at));
		return false;
	}
	return true;
}

static bool backends_have(const struct target *target, sa_family_t family)
{
	for (size_t i = 0; i < target->connect.n_backends; i++) {
		struct address backend = address_unmapped(&target->connect.backends[i].address);
		/* What addresses a name has, is not known. */
		if (target->connect.backends[i].name != BACKEND_NO_NAME || backend.sa.sa_family == family)
			return true;
	}
	return false;
}

/* Unless all of its rules are for others. */
static bool service_serves(const struct compiler *compiler, uint32_t service, uint32_t listener)
{
	bool rules = false;

	for (size_t i = 0; i < compiler->n_drafts; i++) {
		const struct draft *draft = &compiler->drafts[i];
		bool here = draft->n_listeners == 0;
		if (draft->rule.service != service)
			continue;
		for (size_t k = 0; k < draft->n_listeners && !here; k++)
			here = draft->listeners[k] == listener;
		if (here)
			return true;
		rules = true;
	}
	return !rules;
}

/* Speaking from the client's address takes a backend of the client's family. Who a proxy names may be of any. */
static void transparent_check(struct compiler *compiler, uint32_t service, const struct setting *at)
{
	const struct policy *policy = compiler->policy;
	const struct target *target = &policy->services[service].target;

	compiler->policy->transparent = true;
	for (size_t i = 0; i < target->connect.n_backends; i++)
		if (target->connect.backends[i].address.sa.sa_family == AF_UNIX)
			compile_error(compiler, at,
				"`transparent' with backend `%s', expected it with IP addresses only: a UNIX socket "
				"has none to show",
				target->connect.backends[i].text);
	for (uint32_t i = 0; i < policy->n_listeners; i++) {
		const struct listener_policy *listener = &policy->listeners[i];
		sa_family_t family = listener->address.sa.sa_family;
		if (!(policy->services[service].transports >> listener->transport & 1) || listener->proxies ||
			backends_have(target, family) || !service_serves(compiler, service, i))
			continue;
		reader_warn(compiler->reader, at,
			"clients of listener `%s' cannot be shown to service `%s', which has no backend %s",
			listener->text, policy->services[service].name,
			family == AF_INET            ? "of IPv4"
				: family == AF_INET6 ? "of IPv6"
						     : "that could see them");
	}
}

static void send_proxy_compile(struct compiler *compiler, struct target *target, const struct values *values)
{
	target->connect.send_proxy_each = values_text(values, SERVICE_SEND_PROXY) != NULL;
	target->connect.send_proxy =
		target->connect.send_proxy_each ? 2 : (unsigned)values_number(values, SERVICE_SEND_PROXY);
	target->connect.backend_family = values_choice(values, SERVICE_SEND_PROXY_FAMILY) == 1;
	target->connect.pass_proxy = values_switch(values, SERVICE_PASS_PROXY, 0, 1) != 0;
	if (values->value[SERVICE_SEND_PROXY_FAMILY] && !values->given[SERVICE_SEND_PROXY])
		compile_error(compiler, values->value[SERVICE_SEND_PROXY_FAMILY],
			"`send_proxy_family' goes with `send_proxy' only");
	if (target->connect.pass_proxy && values->given[SERVICE_SEND_PROXY])
		compile_error(compiler, values->value[SERVICE_PASS_PROXY],
			"both `send_proxy' and `pass_proxy', expected one: a backend gets one header");
}

/* A server that is started when a client comes. */
static void start_compile(struct compiler *compiler, const struct values *values, struct target *target)
{
	struct program *program = arena_alloc(compiler->arena, sizeof(*program));

	*program = (struct program){ .argv = program_argv(compiler, values->value[SERVICE_START], "start") };
	program_identity(compiler, program, values->value[SERVICE_USER], values->value[SERVICE_GROUP]);
	target->connect.start = program;
	target->connect.start_timeout_us = (uint64_t)llround(values_number(values, SERVICE_START_TIMEOUT) * 1e6);
	target->connect.stop_after_us = (uint64_t)llround(values_number(values, SERVICE_STOP_AFTER) * 1e6);
	if (target->connect.n_backends > 1)
		compile_error(compiler, values->value[SERVICE_START],
			"`start' with %zu backends, expected it with one: the server that it starts",
			target->connect.n_backends);
	static const enum service_key others[] = { SERVICE_BANNER, SERVICE_TRANSPARENT, SERVICE_CHECK };
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (values->value[others[i]])
			compile_error(compiler, values->value[SERVICE_START], "`start' does not go with `%s'",
				values->section->keys[others[i]].name);
}

static void connect_compile(struct compiler *compiler, uint32_t service, const struct values *values)
{
	struct target *target = &compiler->policy->services[service].target;

	target->delivery = DELIVERY_CONNECT;
	backends_compile(compiler, service, values);
	check_compile(compiler, service, values);
	target->connect.keepalive_s = values_switch(values, SERVICE_KEEPALIVE, KEEPALIVE_AFAR, KEEPALIVE_SYSTEM);
	target->connect.resolves = values_choice(values, SERVICE_RESOLVE) == 1;
	send_proxy_compile(compiler, target, values);
	if (values->value[SERVICE_START])
		start_compile(compiler, values, target);
	target->connect.forwarded = values_choice(values, SERVICE_THROUGH) == 1;
	for (size_t i = 0; target->connect.forwarded && i < target->connect.n_backends; i++)
		forwarding_backend_check(
			compiler, &target->connect.backends[i], setting_item(values->value[SERVICE_CONNECT], i));
	target->connect.transparent = values_switch(values, SERVICE_TRANSPARENT, 0, 1) != 0;
	if (target->connect.transparent)
		transparent_check(compiler, service, values->value[SERVICE_TRANSPARENT]);
}

static void handover_compile(struct compiler *compiler, const struct values *values, struct target *target)
{
	const struct setting *at = values->value[SERVICE_HANDOVER];
	const char *text = setting_text(at);
	const char *full = text[0] == '/' ? arena_printf(compiler->arena, "unix:%s", text) : text;
	int error = strncmp(full, "unix:", 5) == 0 ? address_parse(&target->handover.address, full) : -EINVAL;

	target->delivery = DELIVERY_HANDOVER;
	target->handover.text = arena_strdup(compiler->arena, text);
	target->handover.format = values_choice(values, SERVICE_FORMAT) ? HANDOVER_TCPMUX : HANDOVER_USHER;
	if (error == -ENAMETOOLONG)
		compile_error(compiler, at, "path of `%s' is too long, expected at most 107 bytes", text);
	else if (error)
		compile_error(compiler, at,
			"`%s' is no socket to hand over to, expected an absolute path such as "
			"\"/run/usher/web.sock\"",
			text);
	else
		own_listener_check(compiler, 1U << TRANSPORT_STREAM, at, &target->handover.address);
}

static void reject_compile(struct compiler *compiler, const struct values *values, struct target *target)
{
	target->delivery = DELIVERY_REJECT;
	target->reject.reset = values_choice(values, SERVICE_REJECT) == REJECT_RESET;
	if (values_choice(values, SERVICE_REJECT) == REJECT_TARPIT)
		target->reject.tarpit_us = (uint64_t)llround(values_number(values, SERVICE_TARPIT_TIMEOUT) * 1e6);
	else if (values->value[SERVICE_TARPIT_TIMEOUT])
		compile_error(compiler, values->value[SERVICE_TARPIT_TIMEOUT],
			"`tarpit_timeout' goes with `reject = \"tarpit\"' only");
}

/* Which delivery a key belongs to, where it is not for all. */
static const struct {
	enum service_key key, owner, other; /* SERVICE_NAME: it has no other */
} belongs[] = {
	{ SERVICE_PORTS, SERVICE_CONNECT },
	{ SERVICE_ALLOW_NAMES, SERVICE_CONNECT },
	{ SERVICE_ALLOW_ADDRESSES, SERVICE_CONNECT },
	{ SERVICE_BALANCE, SERVICE_CONNECT },
	{ SERVICE_HASH, SERVICE_CONNECT },
	{ SERVICE_OBSERVE, SERVICE_CONNECT },
	{ SERVICE_CHECK, SERVICE_CONNECT },
	{ SERVICE_SLOW_START, SERVICE_CONNECT },
	{ SERVICE_ON_DOWN, SERVICE_CONNECT },
	{ SERVICE_RESOLVE, SERVICE_CONNECT },
	{ SERVICE_SEND_PROXY, SERVICE_CONNECT },
	{ SERVICE_SEND_PROXY_FAMILY, SERVICE_CONNECT },
	{ SERVICE_PASS_PROXY, SERVICE_CONNECT },
	{ SERVICE_TRANSPARENT, SERVICE_CONNECT },
	{ SERVICE_THROUGH, SERVICE_CONNECT },
	{ SERVICE_FORMAT, SERVICE_HANDOVER },
	{ SERVICE_STDIO, SERVICE_EXEC },
	{ SERVICE_USER, SERVICE_EXEC, SERVICE_START },
	{ SERVICE_GROUP, SERVICE_EXEC, SERVICE_START },
	{ SERVICE_START, SERVICE_CONNECT },
	{ SERVICE_START_TIMEOUT, SERVICE_START },
	{ SERVICE_STOP_AFTER, SERVICE_START },
	{ SERVICE_KEEPALIVE, SERVICE_CONNECT },
	{ SERVICE_TARPIT_TIMEOUT, SERVICE_REJECT },
};

static void belongings_check(struct compiler *compiler, const struct values *values)
{
	const struct key *keys = values->section->keys;

	for (size_t i = 0; i < sizeof(belongs) / sizeof(belongs[0]); i++) {
		enum service_key owner = belongs[i].owner, other = belongs[i].other;
		bool has_other = other != SERVICE_NAME;
		if (values->value[belongs[i].key] && !values->given[owner] && !(has_other && values->given[other]))
			compile_error(compiler, values->value[belongs[i].key], "`%s' goes with `%s'%s%s%s only",
				keys[belongs[i].key].name, keys[owner].name, has_other ? " or `" : "",
				has_other ? keys[other].name : "", has_other ? "'" : "");
	}
}

void delivery_compile(struct compiler *compiler, uint32_t service, const struct values *values)
{
	static const enum service_key deliveries[] = { SERVICE_CONNECT, SERVICE_HANDOVER, SERVICE_EXEC,
		SERVICE_REJECT };
	struct target *target = &compiler->policy->services[service].target;
	const char *name = compiler->policy->services[service].name;
	const char *first = NULL;

	for (size_t i = 0; i < sizeof(deliveries) / sizeof(deliveries[0]); i++) {
		if (!values->given[deliveries[i]])
			continue;
		const char *key = values->section->keys[deliveries[i]].name;
		if (first)
			compile_error(compiler, values->group,
				"service `%s' has both `%s' and `%s', expected one delivery", name, first, key);
		else
			first = key;
	}
	if (!first)
		compile_error(compiler, values->group,
			"service `%s' has no delivery, expected one of connect, handover, exec, reject", name);
	belongings_check(compiler, values);

	if (values->value[SERVICE_CONNECT])
		connect_compile(compiler, service, values);
	if (values->value[SERVICE_HANDOVER])
		handover_compile(compiler, values, target);
	if (values->value[SERVICE_EXEC]) {
		target->delivery = DELIVERY_EXEC;
		program_compile(compiler, values, &target->exec);
	}
	if (values->value[SERVICE_REJECT])
		reject_compile(compiler, values, target);
}
