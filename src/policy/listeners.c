/* The `listen` key: addresses that usher accepts on, and who may say there who its clients are.
 *
 * Refuses names (an address to bind must not depend on a name server), port 0, what is not there yet (UDP), the same
 * address twice, and lists of proxies that no client of the listener can be in. Texts live in the policy's arena. */
#include "address_list.h"
#include "compile.h"
#include <errno.h>
#include <string.h>

#define MODE_PRESET 0660

#define ADDRESS_EXPECTED "\"192.0.2.1:443\", \"[2001:db8::1]:443\" or \"unix:/path\""

static bool address_complain(struct compiler *compiler, const struct setting *at, const char *text, int error)
{
	char name[254];
	uint16_t port;

	if (strncmp(text, "udp:", 4) == 0)
		compile_error(compiler, at, "listener `%s' cannot be used: this usher does not serve UDP yet", text);
	else if (error == -ENAMETOOLONG)
		compile_error(compiler, at, "path of `%s' is too long, expected at most 107 bytes", text);
	else if (error == -ENODEV)
		compile_error(compiler, at,
			"`%s' names an interface that is not there, expected one of this machine's", text);
	else if (address_split_name(text, name, &port) == 0)
		compile_error(compiler, at,
			"listener `%s' is a name, expected the address in digits: " ADDRESS_EXPECTED, text);
	else
		compile_error(compiler, at, "`%s' is no address to listen on, expected " ADDRESS_EXPECTED, text);
	return false;
}

static bool listener_parse(struct compiler *compiler, struct listener_policy *listener, const struct setting *at)
{
	const char *text = setting_text(at);
	int error = address_parse(&listener->address, text);

	if (error)
		return address_complain(compiler, at, text, error);
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
		listener->text = arena_strdup(compiler->arena, address_format(&listener->address, buf));
	} else if (address_port(&listener->address) == 0) {
		compile_error(compiler, at, "listener `%s' has port 0, expected 1 to 65535", text);
		return false;
	}
	return true;
}

/* Keys that go with one kind of address only. */
static void belongings_check(struct compiler *compiler, const struct listener_policy *listener,
	const struct values *values, const struct setting *at)
{
	static const struct {
		enum listen_key key;
		bool ip;
	} belongs[] = { { LISTEN_MODE, false }, { LISTEN_KEEPALIVE, true }, { LISTEN_FREEBIND, true } };

	for (size_t i = 0; i < sizeof(belongs) / sizeof(belongs[0]); i++) {
		const struct setting *value = values->value[belongs[i].key];
		if (values->given[belongs[i].key] && address_is_ip(&listener->address) != belongs[i].ip)
			compile_error(compiler, value ? value : values->group,
				"`%s' on listener `%s', expected only on %s",
				values->section->keys[belongs[i].key].name, setting_text(at),
				belongs[i].ip ? "an IP address" : "\"unix:/path\"");
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
	proxies_compile(compiler, listener, values);
	return at;
}

/* Listed under its address in digits as well as under its text: "[::1]:443" and "[0::1]:443" are the same. */
static bool listener_is_new(
	struct compiler *compiler, struct index *addresses, uint32_t number, const struct setting *at)
{
	const struct policy *policy = compiler->policy;
	char buf[ADDRESS_TEXT_MAX];
	const char *key = arena_strdup(compiler->arena, address_format(&policy->listeners[number].address, buf));
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
	compiler->ports = arena_alloc(compiler->arena, 65536 / 8);
	for (size_t i = 0; i < count; i++) {
		const struct setting *item = setting_item(at, i);
		uint32_t number = (uint32_t)policy->n_listeners;
		struct listener_policy *listener = &policy->listeners[number];

		*listener = (struct listener_policy){
			.mode = MODE_PRESET, .keepalive_s = KEEPALIVE_SYSTEM, .line = setting_line(item)
		};
		compiler->listener_values[number] = (struct values){ .section = &sections[SECTION_LISTEN] };
		item = listener_read(compiler, listener, &compiler->listener_values[number], item);
		if (!item)
			continue;
		compiler->listener_at[number] = item;
		if (!listener_is_new(compiler, addresses, number, item))
			continue;
		uint16_t port = address_port(&listener->address);
		compiler->ports[port / 8] |= (uint8_t)(1U << port % 8);
		policy->has_unix_listener |= listener->address.sa.sa_family == AF_UNIX;
		policy->n_listeners++;
	}
	policy->ports = compiler->ports;
	index_free(addresses);
}
