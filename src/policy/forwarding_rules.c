/* Services whose flows the kernel forwards (`through = "kernel"'): what goes with that, and the rules, as text for nft(8).
 *
 *     datagram -> incoming    its flow is in a backend's set: tracked, translated, forwarded
 *                             it is not: not tracked at all, and usher's socket gets it
 *     resent   -> record      usher sends the first datagrams of a decided flow once more, as the client, through a socket with the
 *                             backend's mark; the first of them puts the flow into the set, and all are translated like what follows
 *     answers  -> refresh     these also keep the flow in its set
 *
 * So the kernel's connection tracking has decided flows only, whatever strangers send, and nobody has to tell the kernel of a flow. What was
 * tracked for one backend has a zone of its own: it is never taken for a flow of another one's.
 *
 * Refuses what the kernel cannot do. Owns nothing. */
#include "forwarding_rules.h"
#include "compile.h"
#include "hash.h"
#include "paths.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define FLOWS_MAX 65536 /* of one backend */

#define FLOW_4  "ip saddr . udp sport . ip daddr . udp dport"
#define FLOW_6  "ip6 saddr . udp sport . ip6 daddr . udp dport"
#define REPLY_4 "ct original ip saddr . ct original proto-src . ct original ip daddr . ct original proto-dst"
#define REPLY_6 "ct original ip6 saddr . ct original proto-src . ct original ip6 daddr . ct original proto-dst"

bool service_is_forwarded(const struct service *service)
{
	return service->target.delivery == DELIVERY_CONNECT && service->target.connect.forwarded;
}

const struct backend *forwarding_backend(const struct service *service, sa_family_t family)
{
	for (size_t i = 0; i < service->target.connect.n_backends; i++)
		if (service->target.connect.backends[i].address.sa.sa_family == family)
			return &service->target.connect.backends[i];
	return NULL;
}

/* ---- checked ------------------------------------------------------------------------------------------------------------ */

static bool is_any(const struct address *address)
{
	static const struct in6_addr any;

	return address->sa.sa_family == AF_INET ? address->in.sin_addr.s_addr == 0
						: memcmp(&address->in6.sin6_addr, &any, sizeof(any)) == 0;
}

void forwarding_backend_check(struct compiler *compiler, const struct backend *backend, const struct setting *at)
{
	const struct address *address = &backend->address;

	if (!address_is_ip(address))
		compile_error(compiler, at,
			"backend `%s' with `through', expected an IP address and a port: the kernel's rules have "
			"addresses in them",
			backend->text);
	else if (address_is_loopback(address) || is_any(address))
		compile_error(compiler, at,
			"backend `%s' with `through', expected an address other than loopback: the kernel does not "
			"forward to that",
			backend->text);
	else if (address_is_link_local(address))
		compile_error(compiler, at,
			"backend `%s' with `through', expected an address that is not link-local: the kernel does "
			"not forward to that",
			backend->text);
}

static bool listener_leads_to(const struct compiler *compiler, uint32_t listener, uint32_t service)
{
	if (compiler->policy->listeners[listener].on_unknown == service)
		return true;
	for (size_t i = 0; i < compiler->n_drafts; i++)
		if (compiler->drafts[i].rule.service == service &&
			draft_applies(compiler, &compiler->drafts[i], listener))
			return true;
	return false;
}

static const struct listener_policy *listener_without_backend(const struct compiler *compiler, uint32_t service)
{
	const struct policy *policy = compiler->policy;

	for (uint32_t i = 0; i < policy->n_listeners; i++) {
		const struct listener_policy *listener = &policy->listeners[i];
		if (listener->forwards && listener_leads_to(compiler, i, service) &&
			!forwarding_backend(&policy->services[service], listener->address.sa.sa_family))
			return listener;
	}
	return NULL;
}

static void forwarding_check(struct compiler *compiler, uint32_t number, const struct values *values)
{
	static const enum service_key unfit[] = { SERVICE_SEND_PROXY, SERVICE_PASS_PROXY, SERVICE_TRANSPARENT };
	static const enum service_key unused[] = { SERVICE_ANSWER_TIMEOUT, SERVICE_ANSWERS, SERVICE_BALANCE,
		SERVICE_HASH, SERVICE_OBSERVE, SERVICE_SLOW_START, SERVICE_ON_DOWN };
	const struct service *service = &compiler->policy->services[number];
	const struct setting *at = values->value[SERVICE_THROUGH];
	size_t n[2] = { 0 };

	for (size_t i = 0; i < sizeof(unfit) / sizeof(unfit[0]); i++)
		if (values->value[unfit[i]])
			compile_error(compiler, values->value[unfit[i]],
				"`%s' of service `%s' does not go with `through': the kernel forwards datagrams as "
				"they are, "
				"from the client's address",
				values->section->keys[unfit[i]].name, service->name);
	for (size_t i = 0; i < sizeof(unused) / sizeof(unused[0]); i++)
		if (values->value[unused[i]])
			reader_warn(compiler->reader, values->value[unused[i]],
				"`%s' of service `%s' is never used: the kernel, which forwards its flows, knows "
				"`idle_timeout' alone",
				values->section->keys[unused[i]].name, service->name);
	for (size_t i = 0; i < service->target.connect.n_backends; i++) {
		const struct backend *backend = &service->target.connect.backends[i];
		if (backend->weight != 1 || backend->backup || backend->max_connections)
			reader_warn(compiler->reader, at,
				"backend `%s' of service `%s' gets every flow of its family, whatever its `weight', "
				"`backup' and `max_connections': the kernel does not choose",
				backend->text, service->name);
		if (++n[backend->address.sa.sa_family == AF_INET6] == 2)
			compile_error(compiler, at,
				"service `%s' has two backends of a family, expected one with `through': the kernel "
				"does not try another",
				service->name);
	}
	const struct listener_policy *listener = listener_without_backend(compiler, number);
	if (listener)
		reader_warn(compiler->reader, at,
			"clients of listener `%s' cannot be forwarded to service `%s', which has no backend %s",
			listener->text, service->name,
			listener->address.sa.sa_family == AF_INET ? "of IPv4" : "of IPv6");
}

/* ---- compiled ----------------------------------------------------------------------------------------------------------- */

/* What clients of this listener may come to be. */
static bool leads_to_kernel(const struct policy *policy, uint32_t service)
{
	for (size_t n = 0; service != SERVICE_NONE && n <= policy->n_services; n++) {
		if (service_is_forwarded(&policy->services[service]))
			return true;
		service = policy->services[service].fallback;
	}
	return false;
}

static bool listener_forwards(const struct compiler *compiler, uint32_t number)
{
	const struct policy *policy = compiler->policy;
	const struct listener_policy *listener = &policy->listeners[number];

	if (listener->transport != TRANSPORT_DATAGRAM || address_is_link_local(&listener->address))
		return false;
	if (leads_to_kernel(policy, listener->on_unknown))
		return true;
	for (size_t i = 0; i < compiler->n_drafts; i++)
		if (draft_applies(compiler, &compiler->drafts[i], number) &&
			leads_to_kernel(policy, compiler->drafts[i].rule.service))
			return true;
	return false;
}

/* Two ushers that read different files have different tables, also in one network namespace. */
static const char *table_name(struct arena *arena, const char *file)
{
	if (strcmp(file, path_configuration) == 0)
		return "usher";
	return arena_printf(arena, "usher-%08x", (unsigned)(hash_name(file) & 0xffffffff));
}

/* A word for nft(8), by which the backend's flows are found again when another configuration is read. */
static const char *set_name(struct arena *arena, const struct service *service, const struct backend *backend)
{
	char host[ADDRESS_TEXT_MAX];
	char *name = arena_printf(arena, "to-%s-%s-%u", service->name, address_format_host(&backend->address, host),
		address_port(&backend->address));

	for (char *c = name; *c; c++)
		if (*c == '+')
			*c = '_';
		else if (strchr(":[]", *c))
			*c = '.';
	return name;
}

/* Its low half is the zone of what is tracked for the backend. Both are the same whenever the name is. */
static uint32_t mark_of(const char *table, const char *set)
{
	uint64_t hash = hash_mix(hash_name(table) ^ HASH_GOLDEN, hash_name(set));
	uint32_t mark = (uint32_t)(hash >> 32 ^ hash);

	return mark & 0xffff ? mark : mark | 1;
}

static bool zone_is_taken(const struct policy *policy, const struct backend *but, uint32_t mark)
{
	for (size_t i = 0; i < policy->n_services; i++)
		for (size_t k = 0; service_is_forwarded(&policy->services[i]) &&
			k < policy->services[i].target.connect.n_backends;
			k++) {
			const struct backend *other = &policy->services[i].target.connect.backends[k];
			if (other != but && other->mark && (other->mark & 0xffff) == (mark & 0xffff))
				return true;
		}
	return false;
}

static void otherwise_check(struct compiler *compiler, uint32_t number)
{
	static const enum listen_key keys[] = { LISTEN_ON_SILENCE, LISTEN_ON_UNKNOWN };
	const struct policy *policy = compiler->policy;
	const struct listener_policy *listener = &policy->listeners[number];
	const uint32_t leads_to[] = { listener->on_silence, listener->on_unknown };

	for (size_t i = 0; i < 2 && listener->transport == TRANSPORT_STREAM; i++)
		if (leads_to[i] != SERVICE_NONE && service_is_forwarded(&policy->services[leads_to[i]]))
			compile_error(compiler, compiler->listener_values[number].value[keys[i]],
				"`%s' of listener `%s' is service `%s', whose flows go through the kernel, expected "
				"one for connections",
				sections[SECTION_LISTEN].keys[keys[i]].name, listener->text,
				policy->services[leads_to[i]].name);
}

void forwarding_compile(struct compiler *compiler, const struct values *all)
{
	struct policy *policy = compiler->policy;

	for (size_t i = 0; i < policy->n_services; i++)
		if (service_is_forwarded(&policy->services[i]) && !policy->forwarding_table)
			policy->forwarding_table = table_name(compiler->arena, policy->file);
	for (uint32_t i = 0; policy->forwarding_table && i < policy->n_listeners; i++) {
		policy->listeners[i].forwards = listener_forwards(compiler, i);
		otherwise_check(compiler, i);
	}
	for (uint32_t i = 0; i < policy->n_services; i++) {
		struct target *target = &policy->services[i].target;
		if (!service_is_forwarded(&policy->services[i]))
			continue;
		forwarding_check(compiler, i, &all[i]);
		for (size_t k = 0; k < target->connect.n_backends; k++) {
			struct backend *backend = (struct backend *)&target->connect.backends[k];
			backend->set = set_name(compiler->arena, &policy->services[i], backend);
			backend->mark = mark_of(policy->forwarding_table, backend->set);
			while (zone_is_taken(policy, backend, backend->mark))
				backend->mark += 1 + ((backend->mark & 0xffff) == 0xffff);
		}
	}
}

/* ---- written ------------------------------------------------------------------------------------------------------------ */

typedef void backend_function(const struct service *service, const struct backend *backend, FILE *to);

static void each_backend(const struct policy *policy, FILE *to, backend_function *function)
{
	for (size_t i = 0; i < policy->n_services; i++)
		for (size_t k = 0; service_is_forwarded(&policy->services[i]) &&
			k < policy->services[i].target.connect.n_backends;
			k++)
			function(&policy->services[i], &policy->services[i].target.connect.backends[k], to);
}

static bool is_four(const struct backend *backend)
{
	return backend->address.sa.sa_family == AF_INET;
}

/* Whole seconds, at least one. */
static unsigned long timeout_s(const struct service *service)
{
	return (unsigned long)((service->flow_timeout_us + 999999) / 1000000);
}

static void write_set(const struct service *service, const struct backend *backend, FILE *to)
{
	const char *address = is_four(backend) ? "ipv4_addr" : "ipv6_addr";

	fprintf(to,
		"\tset %s {\n"
		"\t\ttype %s . inet_service . %s . inet_service\n"
		"\t\tsize %d\n"
		"\t\tflags dynamic,timeout\n"
		"\t}\n",
		backend->set, address, address, FLOWS_MAX);
}

/* A timeout cannot be changed, so its value is its name. */
static void write_timeouts(const struct policy *policy, FILE *to)
{
	for (size_t i = 0; i < policy->n_services; i++) {
		unsigned long s = timeout_s(&policy->services[i]);
		bool is_new = service_is_forwarded(&policy->services[i]);
		for (size_t k = 0; k < i; k++)
			is_new &= !service_is_forwarded(&policy->services[k]) || timeout_s(&policy->services[k]) != s;
		for (int four = 1; is_new && four >= 0; four--)
			fprintf(to,
				"\tct timeout idle-%lus-%s {\n"
				"\t\tprotocol udp\n"
				"\t\tl3proto %s\n"
				"\t\tpolicy = { unreplied : %lu, replied : %lu }\n"
				"\t}\n",
				s, four ? "ip" : "ip6", four ? "ip" : "ip6", s, s);
	}
}

static void write_known(const struct service *service, const struct backend *backend, FILE *to)
{
	const char *flow = is_four(backend) ? FLOW_4 : FLOW_6;

	fprintf(to, "\t\t%s @%s update @%s { %s timeout %lus } ct original zone set %u accept\n", flow, backend->set,
		backend->set, flow, timeout_s(service), backend->mark & 0xffff);
}

static void write_record(const struct service *service, const struct backend *backend, FILE *to)
{
	fprintf(to,
		"\t\tmeta mark 0x%08x update @%s { %s timeout %lus } ct original zone set %u meta mark set 0 "
		"accept\n",
		backend->mark, backend->set, is_four(backend) ? FLOW_4 : FLOW_6, timeout_s(service),
		backend->mark & 0xffff);
}

static void write_translation(const struct service *service, const struct backend *backend, FILE *to)
{
	char text[ADDRESS_TEXT_MAX];
	const char *family = is_four(backend) ? "ip" : "ip6";

	fprintf(to, "\t\t%s @%s ct timeout set \"idle-%lus-%s\" dnat %s to %s\n", is_four(backend) ? FLOW_4 : FLOW_6,
		backend->set, timeout_s(service), family, family, address_format(&backend->address, text));
}

static void write_refresh(const struct service *service, const struct backend *backend, FILE *to)
{
	char host[ADDRESS_TEXT_MAX];
	const char *reply = is_four(backend) ? REPLY_4 : REPLY_6;

	fprintf(to, "\t\t%s saddr %s udp sport %u ct direction reply %s @%s update @%s { %s timeout %lus } accept\n",
		is_four(backend) ? "ip" : "ip6", address_format_host(&backend->address, host),
		address_port(&backend->address), reply, backend->set, backend->set, reply, timeout_s(service));
}

static void write_dispatch(const struct service *service, const struct backend *backend, FILE *to)
{
	fprintf(to, "\t\tmeta mark 0x%08x goto resent\n", backend->mark);
}

/* `side`: "d" for what is sent to a listener, "s" for what comes from there. */
static void write_listeners(const struct policy *policy, const char *side, const char *verdict, FILE *to)
{
	for (size_t i = 0; i < policy->n_listeners; i++) {
		const struct listener_policy *listener = &policy->listeners[i];
		const char *family = listener->address.sa.sa_family == AF_INET ? "ip" : "ip6";
		char host[ADDRESS_TEXT_MAX];
		if (!listener->forwards)
			continue;
		if (is_any(&listener->address))
			fprintf(to, "\t\tmeta nfproto %s udp %sport %u fib %saddr type local %s\n",
				listener->address.sa.sa_family == AF_INET ? "ipv4" : "ipv6", side,
				address_port(&listener->address), side, verdict);
		else
			fprintf(to, "\t\t%s %saddr %s udp %sport %u %s\n", family, side,
				address_format_host(&listener->address, host), side, address_port(&listener->address),
				verdict);
	}
}

static void write_chains(const struct policy *policy, FILE *to)
{
	fputs("\tchain incoming {\n", to);
	each_backend(policy, to, write_known);
	fputs("\t\tnotrack accept\n\t}\n\tchain record {\n", to);
	each_backend(policy, to, write_record);
	fputs("\t\tdrop\n\t}\n\tchain resent {\n", to);
	write_listeners(policy, "d", "goto record", to);
	fputs("\t\tdrop\n\t}\n\tchain translate {\n", to);
	each_backend(policy, to, write_translation);
	fputs("\t}\n", to);
}

static void write_hooks(const struct policy *policy, FILE *to)
{
	fputs("\tchain prerouting {\n\t\ttype filter hook prerouting priority -300; policy accept;\n", to);
	write_listeners(policy, "d", "goto incoming", to);
	fputs("\t}\n\tchain output {\n\t\ttype filter hook output priority -300; policy accept;\n", to);
	each_backend(policy, to, write_dispatch);
	write_listeners(policy, "s", "notrack accept", to);
	fputs("\t}\n\tchain prerouting-nat {\n\t\ttype nat hook prerouting priority -100; policy accept;\n"
	      "\t\tmeta l4proto udp goto translate\n"
	      "\t}\n\tchain output-nat {\n\t\ttype nat hook output priority -100; policy accept;\n"
	      "\t\tmeta l4proto udp goto translate\n"
	      "\t}\n\tchain postrouting {\n\t\ttype filter hook postrouting priority 0; policy accept;\n",
		to);
	each_backend(policy, to, write_refresh);
	fputs("\t}\n", to);
}

void forwarding_write(const struct policy *policy, FILE *to)
{
	fprintf(to, "table inet %s {\n", policy->forwarding_table);
	each_backend(policy, to, write_set);
	write_timeouts(policy, to);
	write_chains(policy, to);
	write_hooks(policy, to);
	fputs("}\n", to);
}
