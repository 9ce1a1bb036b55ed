/* The backends of a service: their addresses, what is said of each, and which of them a client gets.
 *
 * Refuses what is no address, what is a listener of usher's own, lists of which no client would get one, and a hash of nothing. Texts live in
 * the policy's arena. */
#include "backend_table.h"
#include "balance.h"
#include "compile.h"
#include "resolved.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BACKEND_EXPECTED                                                                                             \
	"\"192.0.2.1:80\", \"[2001:db8::1]:80\", \"name:80\", \"srv:_imaps._tcp.name\", \"sni:443\" or "             \
	"\"unix:/path\""
#define SRV RESOLVED_SRV

#define BACKENDS_MAX      4096 /* of a service */
#define HASH_SERVICES_MAX 256  /* each of them has a table of 128 KiB in each worker */

static bool localhost_check(struct compiler *compiler, unsigned transports, const struct setting *at, uint16_t port)
{
	struct address address = { 0 };

	address_parse(&address, "127.0.0.1:1");
	address_set_port(&address, port);
	if (!own_listener_check(compiler, transports, at, &address))
		return false;
	address_parse(&address, "[::1]:1");
	address_set_port(&address, port);
	return own_listener_check(compiler, transports, at, &address);
}

static bool name_is_localhost(const char *name)
{
	size_t len = strlen(name);
	if (len && name[len - 1] == '.')
		len--;
	return (len == 9 && strncasecmp(name, "localhost", 9) == 0) ||
		(len > 10 && strncasecmp(name + len - 10, ".localhost", 10) == 0); /* RFC 6761 6.3 */
}

/* The number of a host name, each of which is resolved once however many backends have it. */
static uint32_t name_number(struct compiler *compiler, const char *name)
{
	struct policy *policy = compiler->policy;
	char *folded = arena_strdup(compiler->arena, name);

	for (char *c = folded; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c + ('a' - 'A'));
	size_t n = policy->n_names;
	uint32_t number = index_add(compiler->names, folded, (uint32_t)n);
	if (number < n)
		return number;
	if ((n & (n - 1)) == 0) { /* full at 0 and every power of two */
		const char **grown = arena_alloc(compiler->arena, (n ? n * 2 : 1) * sizeof(*grown));
		if (n)
			memcpy(grown, policy->names, n * sizeof(*grown));
		policy->names = grown;
	}
	policy->names[policy->n_names++] = folded;
	return number;
}

/* The port that it is split by is none of SRV. */
static void srv_compile(struct compiler *compiler, struct backend *backend, const struct setting *at)
{
	const char *text = setting_text(at);
	char name[254];
	uint16_t unused;
	const char *whole = arena_printf(compiler->arena, "%s:1", text + strlen(SRV));

	if (address_split_name(whole, name, &unused) < 0)
		compile_error(compiler, at,
			"`%s' has no name to ask for, expected one such as \"srv:_imaps._tcp.example.net\", without "
			"a "
			"port",
			text);
	else
		backend->name = name_number(compiler, arena_printf(compiler->arena, SRV "%s", name));
}

static void address_compile(
	struct compiler *compiler, unsigned transports, struct backend *backend, const struct setting *at)
{
	const char *text = setting_text(at);
	char name[254];
	bool asks_srv = strncmp(text, SRV, strlen(SRV)) == 0;
	int error = asks_srv ? 0 : address_parse(&backend->address, text);

	backend->text = arena_strdup(compiler->arena, text);
	backend->name = BACKEND_NO_NAME;
	if (asks_srv) {
		srv_compile(compiler, backend, at);
	} else if (error == 0) {
		if (address_is_ip(&backend->address) && address_port(&backend->address) == 0)
			compile_error(compiler, at, "backend `%s' has port 0, expected 1 to 65535", text);
		else if (address_is_link_local(&backend->address) && !backend->address.in6.sin6_scope_id)
			compile_error(compiler, at,
				"backend `%s' is a link-local address, expected it with an interface, such as "
				"[fe80::1%%eth0]:80",
				text);
		else
			own_listener_check(compiler, transports, at, &backend->address);
	} else if (error == -ENAMETOOLONG) {
		compile_error(compiler, at, "path of `%s' is too long, expected at most 107 bytes", text);
	} else if (error == -ENODEV) {
		compile_error(compiler, at,
			"`%s' names an interface that is not there, expected one of this machine's", text);
	} else if (strncmp(text, "unix:", 5) == 0 || strncmp(text, "udp:", 4) == 0 ||
		address_split_name(text, name, &backend->port) < 0) {
		compile_error(compiler, at, "`%s' is no address to connect to, expected " BACKEND_EXPECTED, text);
	} else {
		backend->address = (struct address){ 0 };
		backend->name = name_number(compiler, name);
		if (name_is_localhost(name))
			localhost_check(compiler, transports, at, backend->port);
	}
}

const char *backend_text(const struct setting *at)
{
	const struct setting *address = setting_is_group(at) ? setting_find(at, "address") : at;
	return address ? setting_text(address) : NULL;
}

static bool is_srv(const struct backend *backend)
{
	return strncmp(backend->text, SRV, strlen(SRV)) == 0;
}

/* A text, or a group with more said of it. */
static void backend_compile(
	struct compiler *compiler, unsigned transports, struct backend *backend, const struct setting *at)
{
	struct values values;

	*backend = (struct backend){ .text = "", .name = BACKEND_NO_NAME, .weight = 1 };
	if (!setting_is_group(at)) {
		address_compile(compiler, transports, backend, at);
		return;
	}
	values_read(compiler->reader, &values, at, &sections[SECTION_BACKEND]);
	if (!values.given[BACKEND_ADDRESS])
		compile_error(compiler, at, "a backend has no `address', expected " BACKEND_EXPECTED);
	if (values.value[BACKEND_ADDRESS])
		address_compile(compiler, transports, backend, values.value[BACKEND_ADDRESS]);
	backend->weight = (uint16_t)values_number(&values, BACKEND_WEIGHT);
	if (is_srv(backend) && values.value[BACKEND_WEIGHT])
		compile_error(compiler, values.value[BACKEND_WEIGHT],
			"`weight' of `%s', expected it without: its records have weights", backend->text);
	backend->backup = values_switch(&values, BACKEND_BACKUP, 0, 1) != 0;
	backend->max_connections = (unsigned)values_number(&values, BACKEND_MAX_CONNECTIONS);
}

/* Somebody must get clients, and somebody before those that are to wait until all others are down. */
static void weights_check(struct compiler *compiler, uint32_t service, const struct setting *at)
{
	const struct service *of = &compiler->policy->services[service];
	bool weighs = false, is_first = false;

	for (size_t i = 0; i < of->target.connect.n_backends; i++) {
		weighs |= of->target.connect.backends[i].weight > 0;
		is_first |= !of->target.connect.backends[i].backup;
	}
	if (!weighs)
		compile_error(compiler, at, "all backends of service `%s' have weight 0, expected one with 1 to %d",
			of->name, BACKEND_WEIGHT_MAX);
	if (!is_first)
		compile_error(compiler, at, "all backends of service `%s' are `backup', expected one that is not",
			of->name);
}

static bool range_parse(const char *text, struct port_range *ret)
{
	char *end;
	unsigned long first = strtoul(text, &end, 10), last = first;

	if (*text < '0' || *text > '9')
		return false;
	if (*end == '-' && end[1] >= '0' && end[1] <= '9')
		last = strtoul(end + 1, &end, 10);
	*ret = (struct port_range){ (uint16_t)first, (uint16_t)last };
	return *end == '\0' && first >= 1 && first <= last && last <= UINT16_MAX;
}

/* What a worker may connect to is settled before the first answer comes. */
static void ports_compile(struct compiler *compiler, struct target *target, const struct values *values)
{
	const struct setting *at = values->value[SERVICE_PORTS];
	const struct setting *connect = values->value[SERVICE_CONNECT];
	size_t srv = 0;

	while (srv < target->connect.n_backends && !is_srv(&target->connect.backends[srv]))
		srv++;
	if (srv < target->connect.n_backends && !values->given[SERVICE_PORTS])
		compile_error(compiler, setting_item(connect, srv),
			"backend `%s' without `ports', expected the ports that its records may have, such as ports = "
			"\"8000-8999\"",
			target->connect.backends[srv].text);
	if (!at)
		return;
	if (srv == target->connect.n_backends)
		compile_error(compiler, at, "`ports' without a backend \"" SRV "...\", expected it with one only");
	struct port_range *ranges = arena_alloc(compiler->arena, setting_count(at) * sizeof(*ranges));
	target->connect.ports = ranges;
	target->connect.n_ports = setting_count(at);
	for (size_t i = 0; i < setting_count(at); i++) {
		const struct setting *item = setting_item(at, i);
		if (!range_parse(setting_text(item), &ranges[i]))
			compile_error(compiler, item, "`%s' are no ports, expected \"443\" or \"8000-8999\"",
				setting_text(item));
	}
}

static void balance_compile(struct compiler *compiler, uint32_t service, const struct values *values)
{
	const struct service *of = &compiler->policy->services[service];
	struct target *target = &compiler->policy->services[service].target;
	const struct setting *hash = values->value[SERVICE_HASH];

	target->connect.balance = values_choice(values, SERVICE_BALANCE);
	target->connect.hash_by = (enum hash_by)values_choice(values, SERVICE_HASH);
	target->connect.observe = values_switch(values, SERVICE_OBSERVE, 0, 1) != 0;
	if (target->connect.balance != BALANCE_HASH) {
		if (hash)
			compile_error(compiler, hash, "`hash' goes with balance = \"hash\" only");
		return;
	}
	if (!values->given[SERVICE_HASH])
		compile_error(compiler, values->value[SERVICE_BALANCE],
			"service `%s' has balance = \"hash\" and no `hash', expected one of \"source\", \"sni\", "
			"\"host\", \"connection-id\"",
			of->name);
	if (hash && target->connect.hash_by == HASH_BY_CONNECTION_ID && !(of->transports >> TRANSPORT_DATAGRAM & 1))
		compile_error(compiler, hash,
			"service `%s' has hash = \"connection-id\" and takes no datagrams, expected it with QUIC",
			of->name);
	if (++compiler->n_hash_services == HASH_SERVICES_MAX + 1)
		compile_error(compiler, values->value[SERVICE_BALANCE],
			"this is the service number %d with balance = \"hash\", expected at most %d",
			HASH_SERVICES_MAX + 1, HASH_SERVICES_MAX);
}

void backends_compile(struct compiler *compiler, uint32_t service, const struct values *values)
{
	unsigned transports = compiler->policy->services[service].transports;
	struct target *target = &compiler->policy->services[service].target;
	const struct setting *at = values->value[SERVICE_CONNECT];
	size_t count = setting_count(at);

	if (client_names_by(at) != NAME_BY_FILE) {
		client_names_compile(compiler, service, values);
		return;
	}
	client_names_check_absent(compiler, values);
	struct backend *backends = arena_alloc(compiler->arena, count * sizeof(*backends));

	target->connect.backends = backends;
	target->connect.n_backends = count;
	for (size_t i = 0; i < count; i++) {
		backend_compile(compiler, transports, &backends[i], setting_item(at, i));
		target->connect.has_names |= backends[i].name != BACKEND_NO_NAME;
	}
	if (count > BACKENDS_MAX)
		compile_error(compiler, at, "service `%s' has %zu backends, expected at most %d",
			compiler->policy->services[service].name, count, BACKENDS_MAX);
	weights_check(compiler, service, at);
	ports_compile(compiler, target, values);
	balance_compile(compiler, service, values);
}
