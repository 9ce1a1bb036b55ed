/* The `listen` key: addresses that usher accepts on, and who may say there who its clients are. An address that begins with
 * "udp:" is one of datagrams.
 *
 * Refuses names (an address to bind must not depend on a name server), port 0, paths of datagrams, keys that do not go with the kind
 * of the address, the same address twice, and lists of proxies that no client of the listener can be in. Texts live in the policy's
 * arena. */
#include "address_list.h"
#include "compile.h"
#include <errno.h>
#include <string.h>

#define MODE_PRESET 0660

#define UDP_PREFIX     "udp:"
#define UDP_PREFIX_LEN (sizeof(UDP_PREFIX) - 1)

#define UDP_EXPECTED     "\"udp:192.0.2.1:443\" or \"udp:[2001:db8::1]:443\""
#define ADDRESS_EXPECTED "\"192.0.2.1:443\", \"[2001:db8::1]:443\", \"unix:/path\" or \"udp:192.0.2.1:443\""

/* `bare` is the text without "udp:". */
static bool address_complain(
	struct compiler *compiler, const struct setting *at, const char *text, const char *bare, int error)
{
	char name[254];
	uint16_t port;

	if (bare != text && (bare[0] == '/' || strncmp(bare, "unix:", 5) == 0))
		compile_error(compiler, at,
			"listener `%s' is a path, which has no datagrams here, expected " UDP_EXPECTED, text);
	else if (error == -ENAMETOOLONG)
		compile_error(compiler, at, "path of `%s' is too long, expected at most 107 bytes", text);
	else if (error == -ENODEV)
		compile_error(compiler, at,
			"`%s' names an interface that is not there, expected one of this machine's", text);
	else if (address_split_name(bare, name, &port) == 0)
		compile_error(compiler, at,
			"listener `%s' is a name, expected the address in digits: " ADDRESS_EXPECTED, text);
	else
		compile_error(compiler, at, "`%s' is no address to listen on, expected " ADDRESS_EXPECTED, text);
	return false;
}

static bool listener_parse(struct compiler *compiler, struct listener_policy *listener, const struct setting *at)
{
	const char *text = setting_text(at), *bare = text;

	if (strncmp(text, UDP_PREFIX, UDP_PREFIX_LEN) == 0) {
		listener->transport = TRANSPORT_DATAGRAM;
		bare += UDP_PREFIX_LEN;
	}
	int error = address_parse(&listener->address, bare);
	if (error || (bare != text && !address_is_ip(&listener->address)))
		return address_complain(compiler, at, text, bare, error);
	listener->text = arena_strdup(compiler->arena, text);
	if (!address_is_ip(&listener->address))
		return true;
	if (address_is_link_local(&listener->address) && !listener->address.in6.sin6_scope_id) {
		compile_error(compiler, at,
			"listener `%s' is a link-local address, expected it with an interface, such as "
			"[fe80::1%%eth0]:443",
			text);
		return false;
	}
	if (compiler->options->port) {
		char buf[ADDRESS_TEXT_MAX];
		address_set_port(&listener->address, compiler->options->port);
		listener->text = arena_printf(compiler->arena, "%s%s", bare != text ? UDP_PREFIX : "",
			address_format(&listener->address, buf));
	} else if (address_port(&listener->address) == 0) {
		compile_error(compiler, at, "listener `%s' has port 0, expected 1 to 65535", text);
		return false;
	}
	return true;
}

enum { KIND_TCP = 1, KIND_UDP = 2, KIND_UNIX = 4 };

static unsigned listener_kind(const struct listener_policy *listener)
{
	return !address_is_ip(&listener->address)           ? KIND_UNIX
		: listener->transport == TRANSPORT_DATAGRAM ? KIND_UDP
							    : KIND_TCP;
}

/* Keys that do not go with every kind of address. */
static void belongings_check(struct compiler *compiler, const struct listener_policy *listener,
	const struct values *values, const struct setting *at)
{
	static const char *const kind_names[] = {
		[KIND_UNIX] = "\"unix:/path\"",
		[KIND_TCP] = "a TCP address",
		[KIND_UDP] = "a UDP address",
		[KIND_TCP | KIND_UDP] = "an IP address",
		[KIND_TCP | KIND_UNIX] = "a TCP address or \"unix:/path\"",
	};
	static const struct {
		enum listen_key key;
		unsigned kinds;
	} belongs[] = {
		{ LISTEN_MODE, KIND_UNIX },
		{ LISTEN_KEEPALIVE, KIND_TCP },
		{ LISTEN_FREEBIND, KIND_TCP | KIND_UDP },
		{ LISTEN_RECEIVE_BUFFER, KIND_UDP },
		{ LISTEN_ON_SILENCE, KIND_TCP | KIND_UNIX },
		{ LISTEN_EMPTY_LEVEL, KIND_TCP | KIND_UNIX },
		{ LISTEN_ACCEPT_PROXY, KIND_TCP | KIND_UNIX },
		{ LISTEN_OTHERS, KIND_TCP | KIND_UNIX },
		{ LISTEN_ABSENT, KIND_TCP | KIND_UNIX },
	};

	for (size_t i = 0; i < sizeof(belongs) / sizeof(belongs[0]); i++) {
		const struct setting *value = values->value[belongs[i].key];
		if (values->given[belongs[i].key] && !(belongs[i].kinds & listener_kind(listener)))
			compile_error(compiler, value ? value : values->group,
				"`%s' on listener `%s', expected only on %s",
				values->section->keys[belongs[i].key].name, setting_text(at),
				kind_names[belongs[i].kinds]);
	}
}

static void proxies_compile(struct compiler *compiler, struct listener_policy *listener, const struct values *values)
{
	const struct setting *at = values->value[LISTEN_ACCEPT_PROXY];
	bool ip = address_is_ip(&listener->address);
	struct address_list list;

	static const enum listen_key beside[] = { LISTEN_OTHERS, LISTEN_ABSENT };

	listener->plain_others = values_choice(values, LISTEN_OTHERS) == 1;
	listener->plain_absent = values_choice(values, LISTEN_ABSENT) == 1;
	for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++)
		if (values->value[beside[i]] && !values->given[LISTEN_ACCEPT_PROXY])
			compile_error(compiler, values->value[beside[i]], "`%s' goes with `accept_proxy' only",
				values->section->keys[beside[i]].name);
	if (!at || !address_list_read(compiler->reader, compiler->arena, at, true, &list))
		return;
	if (ip && list.unix_clients)
		compile_error(compiler, at,
			"`accept_proxy' of listener `%s' has \"unix:\", expected that only on \"unix:/path\"",
			listener->text);
	else if (!ip && !list.unix_clients)
		compile_error(compiler, at,
			"`accept_proxy' of listener `%s' lets nobody in, expected \"unix:\": its clients have no "
			"addresses",
			listener->text);
	else if (ip && address_set_count(list.set) == 0)
		compile_error(compiler, at, "`accept_proxy' names nobody, expected at least one entry");
	listener->proxies = list.set;
	listener->unix_proxies = list.unix_clients;
	listener->proxies_text = list.text;
}

/* Returns the setting that holds the address, or NULL where there is none to go on with. */
static const struct setting *listener_read(
	struct compiler *compiler, struct listener_policy *listener, struct values *values, const struct setting *at)
{
	unsigned mode = MODE_PRESET;

	if (!setting_is_group(at))
		return listener_parse(compiler, listener, at) ? at : NULL;
	values_read(compiler->reader, values, at, &sections[SECTION_LISTEN]);
	if (!values->given[LISTEN_ADDRESS])
		compile_error(compiler, at, "listener without `address', expected " ADDRESS_EXPECTED);
	at = values->value[LISTEN_ADDRESS];
	if (!at || !listener_parse(compiler, listener, at))
		return NULL;
	belongings_check(compiler, listener, values, at);
	values_mode(values, LISTEN_MODE, &mode);
	listener->mode = (mode_t)mode;
	listener->keepalive_s = values_switch(values, LISTEN_KEEPALIVE, KEEPALIVE_SYSTEM, KEEPALIVE_SYSTEM);
	listener->freebind = values_switch(values, LISTEN_FREEBIND, 0, 1) != 0;
	listener->max_connections = (unsigned)values_number(values, LISTEN_MAX_CONNECTIONS);
	listener->receive_buffer = (unsigned)values_number(values, LISTEN_RECEIVE_BUFFER);
	listener->log_level =
		values->given[LISTEN_LOG_LEVEL] ? LEVEL_NOTICE + (int)values_choice(values, LISTEN_LOG_LEVEL) : -1;
	listener->empty_level =
		values->given[LISTEN_EMPTY_LEVEL] ? (int)values_choice(values, LISTEN_EMPTY_LEVEL) : -1;
	if (listener->transport == TRANSPORT_STREAM)
		proxies_compile(compiler, listener, values);
	return at;
}

/* Listed under its address in digits as well as under its text: "[::1]:443" and "[0::1]:443" are the same. */
static bool listener_is_new(
	struct compiler *compiler, struct index *addresses, uint32_t number, const struct setting *at)
{
	const struct policy *policy = compiler->policy;
	const struct listener_policy *listener = &policy->listeners[number];
	char buf[ADDRESS_TEXT_MAX];
	const char *key = arena_printf(compiler->arena, "%s%s",
		listener->transport == TRANSPORT_DATAGRAM ? UDP_PREFIX : "", address_format(&listener->address, buf));
	uint32_t first = index_add(addresses, key, number);

	index_add(compiler->listeners, setting_text(at), first);
	if (first == number)
		return true;
	const struct setting *other = compiler->listener_at[first];
	const char *place = reader_place(compiler->reader, other, at);
	if (compiler->options->port && strcmp(setting_text(other), setting_text(at)) != 0)
		compile_error(compiler, at,
			"listeners `%s' and `%s' (%s) are the same with port %u of the command line",
			setting_text(at), setting_text(other), place, compiler->options->port);
	else
		compile_error(compiler, at, "listener `%s' is there twice, first on %s", setting_text(at), place);
	return false;
}

void listeners_compile(struct compiler *compiler, const struct setting *at)
{
	struct policy *policy = compiler->policy;
	size_t count = setting_count(at);
	struct index *addresses = index_new();

	policy->listeners = arena_alloc(compiler->arena, count * sizeof(*policy->listeners));
	compiler->listener_at = arena_alloc(compiler->arena, count * sizeof(*compiler->listener_at));
	compiler->listener_values = arena_alloc(compiler->arena, count * sizeof(*compiler->listener_values));
	for (int transport = 0; transport < TRANSPORT_COUNT; transport++)
		policy->ports[transport] = compiler->ports[transport] = arena_alloc(compiler->arena, 65536 / 8);
	for (size_t i = 0; i < count; i++) {
		const struct setting *item = setting_item(at, i);
		uint32_t number = (uint32_t)policy->n_listeners;
		struct listener_policy *listener = &policy->listeners[number];

		*listener = (struct listener_policy){ .mode = MODE_PRESET,
			.keepalive_s = KEEPALIVE_SYSTEM,
			.log_level = -1,
			.empty_level = -1,
			.line = setting_line(item) };
		compiler->listener_values[number] = (struct values){ .section = &sections[SECTION_LISTEN] };
		item = listener_read(compiler, listener, &compiler->listener_values[number], item);
		if (!item)
			continue;
		compiler->listener_at[number] = item;
		if (!listener_is_new(compiler, addresses, number, item))
			continue;
		uint16_t port = address_port(&listener->address);
		compiler->ports[listener->transport][port / 8] |= (uint8_t)(1U << port % 8);
		policy->has_unix_listener |= listener->address.sa.sa_family == AF_UNIX;
		policy->n_listeners++;
	}
	index_free(addresses);
}
