/* Services that connect to the name that their client asks for: `connect = "sni:443"`, `allow_names`, `allow_addresses`.
 *
 * Refuses to let strangers say where usher connects to unless the file says which names, and what chooses between backends: there is one. */
#include "address_list.h"
#include "compile.h"
#include "names.h"
#include <stdlib.h>
#include <string.h>

static const char *const prefixes[] = { [NAME_BY_SNI] = "sni:", [NAME_BY_HOST] = "host:" };

enum name_by client_names_by(const struct setting *connect)
{
	const char *text = connect && setting_count(connect) ? backend_text(setting_item(connect, 0)) : NULL;

	for (int by = NAME_BY_SNI; text && by <= NAME_BY_HOST; by++) {
		const char *port = text + strlen(prefixes[by]);
		/* A host may be called "sni" too, but not with a name behind it. */
		if (strncmp(text, prefixes[by], strlen(prefixes[by])) == 0 && *port)
			return (enum name_by)by;
	}
	return NAME_BY_FILE;
}

static uint16_t port_read(struct compiler *compiler, const struct setting *at, const char *text)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	if (*text >= '0' && *text <= '9' && *end == '\0' && port >= 1 && port <= UINT16_MAX)
		return (uint16_t)port;
	compile_error(
		compiler, at, "`%s' has no port, expected one such as \"sni:443\" or \"host:80\"", setting_text(at));
	return 0;
}

static void names_read(struct compiler *compiler, struct target *target, const struct setting *at)
{
	struct names *names = names_new(compiler->arena, NAME_HOST);

	for (size_t i = 0; i < setting_count(at); i++) {
		const char *text = setting_text(setting_item(at, i));
		if (names_insert(names, text, 0) < 0)
			compile_error(compiler, setting_item(at, i),
				"`%s' is no host name and no glob, expected one such as \"*.example.net\"", text);
	}
	target->connect.allow_names = names;
	target->connect.allow_names_text = setting_list_text(compiler->arena, at);
}

/* What goes with several backends, or with such as are known before a client comes. */
static void others_check(struct compiler *compiler, uint32_t service, const struct values *values)
{
	static const enum service_key others[] = { SERVICE_BALANCE, SERVICE_HASH, SERVICE_OBSERVE, SERVICE_CHECK,
		SERVICE_SLOW_START, SERVICE_ON_DOWN, SERVICE_RESOLVE, SERVICE_PORTS, SERVICE_BANNER, SERVICE_START };
	const struct setting *connect = values->value[SERVICE_CONNECT];

	if (setting_count(connect) > 1)
		compile_error(compiler, setting_item(connect, 1),
			"service `%s' has more backends than the name that its client asks for, expected that alone",
			compiler->policy->services[service].name);
	if (setting_is_group(setting_item(connect, 0)))
		compile_error(compiler, setting_item(connect, 0),
			"a group for the name that the client asks for, expected \"sni:443\" or \"host:80\" alone");
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (values->value[others[i]])
			compile_error(compiler, values->value[others[i]],
				"`%s' with a name that the client asks for, expected it with other backends only",
				values->section->keys[others[i]].name);
}

void client_names_compile(struct compiler *compiler, uint32_t service, const struct values *values)
{
	struct target *target = &compiler->policy->services[service].target;
	const struct setting *connect = values->value[SERVICE_CONNECT], *at = setting_item(connect, 0);
	struct backend *backend = arena_alloc(compiler->arena, sizeof(*backend));
	struct address_list list;

	target->connect.name_by = client_names_by(connect);
	const char *text = arena_strdup(compiler->arena, backend_text(at));
	*backend = (struct backend){ .text = text, .name = BACKEND_NO_NAME, .weight = 1 };
	if (!setting_is_group(at))
		backend->port = port_read(compiler, at, text + strlen(prefixes[target->connect.name_by]));
	target->connect.backends = backend;
	target->connect.n_backends = 1;
	others_check(compiler, service, values);
	if (!values->given[SERVICE_ALLOW_NAMES])
		compile_error(compiler, at,
			"`%s' without `allow_names', expected the names that clients may ask for, such as "
			"allow_names = [ "
			"\"*.example.net\" ]",
			text);
	if (values->value[SERVICE_ALLOW_NAMES])
		names_read(compiler, target, values->value[SERVICE_ALLOW_NAMES]);
	if (values->value[SERVICE_ALLOW_ADDRESSES]) {
		address_list_read(
			compiler->reader, compiler->arena, values->value[SERVICE_ALLOW_ADDRESSES], false, &list);
		target->connect.allow_addresses = list.set;
		target->connect.allow_addresses_text = list.text;
	}
	compiler->policy->names_of_clients = true;
}

void client_names_check_absent(struct compiler *compiler, const struct values *values)
{
	for (int key = SERVICE_ALLOW_NAMES; key <= SERVICE_ALLOW_ADDRESSES; key++)
		if (values->value[key])
			compile_error(compiler, values->value[key],
				"`%s' goes with connect = \"sni:443\" or \"host:80\" only",
				values->section->keys[key].name);
}
