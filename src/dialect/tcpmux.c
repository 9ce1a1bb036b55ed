/* What tcpmux's configuration and command line mean to usher.
 *
 *     bind_addr, listen_port   listen         internal_identifer   services and their order
 *     log_level                log            proxy_server         handover, format = "tcpmux"
 *     proto_identifier         identifiers    proto_server         exec, or the fallback of a handover
 *     extension_module         identifiers
 *
 * Services come in three rounds, so that whatever tcpmux decides is decided the same way here, and what it
 * would have closed still finds its server:
 *
 *  1. the built-in identifiers, by tcpmux's own tests ("SSH-2.0-", "GET", "POST", "echo") and by modules;
 *  2. whatever an external identifier says (first, where the file puts one of them before `internal');
 *  3. what usher itself takes for HTTP or SSH: a browser's HEAD or PUT reaches the same server as its GET.
 *
 * Refuses files that tcpmux_read() complains of, addresses and ports that are none. What only the policy
 * can tell (programs that are not there) the policy tells. */
#include "tcpmux.h"
#include "tcpmux_read.h"
#include "text_file.h"
#include "writer.h"
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INTERNAL           "internal" /* the name that stands for all built-in identifiers */
#define IDENTIFIER_TIMEOUT 5          /* tcpmux has none */
#define INETD_PORT         1          /* for a configuration that binds none */

struct translation {
	const struct tcpmux_file *from;
	const struct tcpmux_options *options;
	const char *file;
	struct writer *writer;
	struct complaints *complaints;
	bool has_internal, has_external;
	size_t n_services;
};

#define refuse(translation, at, ...)                                                                                 \
	complaint_add((translation)->complaints, COMPLAINT_ERROR, (translation)->file, at, __VA_ARGS__)

/* ---- the command line ---- */

static const char *const places[] = { "/etc/tcpmux.cfg", "./tcpmux.cfg", "/usr/local/etc/tcpmux.cfg" };
const char tcpmux_places[] = "/etc/tcpmux.cfg, ./tcpmux.cfg, /usr/local/etc/tcpmux.cfg";

void tcpmux_usage(FILE *to)
{
	fputs("usage: usher tcpmux [-b ADDRESS] [-p PORT] [-c FILE] [-d | -i] [-l LEVEL] [-h] [--print] [--control "
	      "PATH]\n"
	      "  -b ADDRESS  listen on this address    -p PORT   and this port, whatever the file says\n"
	      "  -c FILE     tcpmux's configuration; without it the first of\n"
	      "              /etc/tcpmux.cfg, ./tcpmux.cfg, /usr/local/etc/tcpmux.cfg\n"
	      "  -d          in the background         -i        one connection, on descriptor 0 (inetd)\n"
	      "  -l LEVEL    1 info, 2 debug           --print   print the same configuration in usher's format, and "
	      "exit\n"
	      "  --control PATH   the control socket, for `usher status -s PATH' and the like\n",
		to);
}

static int option_refuse(int option, const char *expected)
{
	fprintf(stderr, "usher tcpmux: -%c %s: expected %s\n", option, optarg, expected);
	return -EINVAL;
}

static bool is_number(const char *text, unsigned long least, unsigned long most, unsigned long *ret)
{
	char *end;

	*ret = strtoul(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && *ret >= least && *ret <= most;
}

static bool is_address(const char *text)
{
	const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST };
	struct addrinfo *list = NULL;
	struct in_addr four;

	if (inet_pton(AF_INET, text, &four) == 1)
		return true;
	/* With an interface, where it is link-local. */
	if (!strchr(text, ':') || getaddrinfo(text, NULL, &hints, &list) != 0)
		return false;
	freeaddrinfo(list);
	return true;
}

static int option_take(struct tcpmux_options *options, int option)
{
	unsigned long number;

	switch (option) {
	case 'b':
		options->address = optarg;
		return is_address(optarg) ? 0 : option_refuse(option, "an address such as 0.0.0.0");
	case 'p':
		if (!is_number(optarg, 1, 65535, &number))
			return option_refuse(option, "a port from 1 to 65535");
		options->port = (uint16_t)number;
		return 0;
	case 'c':
		options->file = optarg;
		return 0;
	case 'd':
		options->daemon = true;
		return 0;
	case 'i':
		options->inetd = true;
		return 0;
	case 'l':
		if (!is_number(optarg, 0, 1000, &number))
			return option_refuse(option, "1 (info) or 2 (debug)");
		options->log_level = (int)number;
		return 0;
	case 'P':
		options->print = true;
		return 0;
	case 'C':
		options->control = optarg;
		return 0;
	case 'h':
		options->help = true;
		return 0;
	default:
		tcpmux_usage(stderr);
		return -EINVAL;
	}
}

int tcpmux_options_read(struct tcpmux_options *ret, int argc, char **argv)
{
	static const struct option longs[] = { { "print", no_argument, NULL, 'P' },
		{ "control", required_argument, NULL, 'C' }, { "help", no_argument, NULL, 'h' }, { 0 } };
	int option, error = 0;

	*ret = (struct tcpmux_options){ .log_level = -1 };
	while (!error && (option = getopt_long(argc, argv, "b:p:c:dil:h", longs, NULL)) != -1)
		error = option_take(ret, option);
	if (error || ret->help)
		return error;
	if (optind == argc && !(ret->daemon && ret->inetd))
		return 0;
	tcpmux_usage(stderr);
	return -EINVAL;
}

const char *tcpmux_file(const struct tcpmux_options *options)
{
	if (options->file)
		return options->file;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (access(places[i], F_OK) == 0)
			return places[i];
	return NULL;
}

/* ---- globals ---- */

static void write_listener(const struct translation *translation)
{
	const struct tcpmux_options *options = translation->options;
	const struct tcpmux_file *from = translation->from;
	struct writer *writer = translation->writer;
	const char *address = options->address ? options->address : from->bind_addr ? from->bind_addr : "0.0.0.0";
	int port = options->port ? options->port : from->listen_port.given ? from->listen_port.value : 0;
	char *text;

	if (!is_address(address))
		refuse(translation, from->bind_addr_line,
			"`bind_addr' is \"%s\", expected an address such as \"0.0.0.0\"", address);
	if (!options->port && from->listen_port.given && (port < 1 || port > 65535))
		refuse(translation, from->listen_port.line, "`listen_port' is %d, expected 1 to 65535", port);
	else if (port == 0 && options->inetd)
		port = INETD_PORT;
	else if (port == 0)
		refuse(translation, 0, "no `listen_port', expected listen_port = 8080 or -p 8080");
	if (asprintf(&text, strchr(address, ':') ? "[%s]:%d" : "%s:%d", address, port) < 0)
		abort();
	writer_from(writer, from->listen_port.given ? from->listen_port.line : from->bind_addr_line);
	writer_raw(writer, "listen = [ ");
	writer_string(writer, text);
	writer_raw(writer, " ];\n");
	free(text);
}

static void write_globals(const struct translation *translation)
{
	const struct tcpmux_number *level = &translation->from->log_level;
	struct writer *writer = translation->writer;
	int log_level = translation->options->log_level;

	if (log_level < 0)
		log_level = level->given ? level->value : 1;
	writer_from(writer, level->line);
	writer_raw(writer, "log = { level = \"%s\"; };\n",
		log_level >= 2           ? "debug"
			: log_level == 1 ? "info"
					 : "notice");
	writer_from(writer, 0);
	/* Nothing is relayed here: whoever has been served needs usher no more. */
	writer_raw(writer, "drain_timeout = 1.0;\n");
	writer_raw(writer,
		"protocols = (\n"
		"\t{ name = \"http-get-post\"; string = [ \"GET\", \"POST\" ]; },\n"
		"\t{ name = \"ssh-2\"; string = \"SSH-2.0-\"; },\n"
		"\t{ name = \"echo\"; string = \"echo\"; }\n"
		");\n");
}

/* ---- identifiers ---- */

static bool is_internal(const struct tcpmux_entry *identifier)
{
	return strcmp(identifier->name, INTERNAL) == 0;
}

/* Looked for where the file says, in the current folder, and never in PATH. */
static void write_program_path(struct writer *writer, const char *path)
{
	char *text;

	if (asprintf(&text, "%s%s", strchr(path, '/') ? "" : "./", path) < 0)
		abort();
	writer_string(writer, text);
	free(text);
}

static void write_identifiers(const struct translation *translation)
{
	const struct tcpmux_file *from = translation->from;
	struct writer *writer = translation->writer;
	const char *before = "identifiers = (\n\t";

	for (size_t i = 0; i < from->modules.count; i++) {
		const struct tcpmux_entry *module = &from->modules.items[i];
		writer_raw(writer, "%s{ ", before);
		writer_from(writer, module->line);
		writer_path(writer, "module", module->value);
		writer_raw(writer, " }");
		before = ",\n\t";
	}
	for (size_t i = 0; i < from->identifiers.count; i++) {
		const struct tcpmux_entry *identifier = &from->identifiers.items[i];
		if (identifier->disabled || is_internal(identifier))
			continue;
		writer_raw(writer, "%s{ program = [ ", before);
		writer_from(writer, identifier->line);
		write_program_path(writer, identifier->value);
		writer_raw(writer, " ]; mode = \"once\"; timeout = %d.0; }", IDENTIFIER_TIMEOUT);
		before = ",\n\t";
	}
	if (*before == ',')
		writer_raw(writer, "\n);\n");
	writer_from(writer, 0);
}

/* Which are on, and whether external ones stand on both sides of the built-in ones: usher asks them all on
 * one side. */
static bool identifiers_look(struct translation *translation)
{
	const struct tcpmux_list *identifiers = &translation->from->identifiers;
	bool before = false;

	for (size_t i = 0; i < identifiers->count; i++) {
		const struct tcpmux_entry *identifier = &identifiers->items[i];
		if (identifier->disabled)
			continue;
		if (is_internal(identifier)) {
			translation->has_internal = true;
			before = translation->has_external;
			continue;
		}
		if (translation->has_internal && before)
			complaint_add(translation->complaints, COMPLAINT_WARNING, translation->file, identifier->line,
				"identifier `%s' is asked before `%s', as another one is", identifier->name,
				INTERNAL);
		translation->has_external = true;
	}
	return before;
}

/* ---- services ---- */

/* An argument behind each comma, but none behind the last where nothing follows. */
static void write_exec(struct writer *writer, const struct tcpmux_entry *program)
{
	const char *at = program->para;

	writer_from(writer, program->line);
	writer_raw(writer, "exec = [ ");
	write_program_path(writer, program->value);
	while (at) {
		size_t len = strcspn(at, ",");
		char *argument = strndup(at, len);
		if (!argument)
			abort();
		writer_raw(writer, ", ");
		writer_string(writer, argument);
		free(argument);
		at = at[len] && at[len + 1] ? at + len + 1 : NULL;
	}
	writer_raw(writer, " ];");
}

static void service_begin(struct translation *translation, unsigned line, const char *protocol, const char *suffix)
{
	struct writer *writer = translation->writer;
	char *name;

	writer_raw(writer, translation->n_services++ ? ",\n\t{ " : "\t{ ");
	writer_from(writer, line);
	if (asprintf(&name, "%s%s", protocol, suffix) < 0)
		abort();
	writer_setting(writer, "name", name);
	writer_raw(writer, " ");
	free(name);
}

/* The proxy first, else the program, else the end. */
static void service_end(struct translation *translation, const char *protocol)
{
	const struct tcpmux_entry *proxy = tcpmux_find(&translation->from->proxies, protocol);
	const struct tcpmux_entry *program = tcpmux_find(&translation->from->programs, protocol);
	struct writer *writer = translation->writer;

	if (proxy) {
		writer_from(writer, proxy->line);
		writer_path(writer, "handover", proxy->value);
		writer_raw(writer, " format = \"tcpmux\";");
		if (program) {
			char *name;
			if (asprintf(&name, "%s-program", protocol) < 0)
				abort();
			writer_raw(writer, " ");
			writer_setting(writer, "fallback", name);
			free(name);
		}
	} else if (program) {
		write_exec(writer, program);
	} else {
		writer_raw(writer, "reject = \"close\";");
	}
	writer_raw(writer, " }");
	writer_from(writer, 0);
}

/* tcpmux's own built-in identifiers. */
static const struct builtin {
	const char *name;
	const char *literal; /* the protocol of ours that is its test */
	const char *probe;   /* and ours that knows more of it; NULL: none */
} builtins[] = { { "http", "http-get-post", "http" }, { "ssh", "ssh-2", "ssh" }, { "echo", "echo", NULL } };

static const struct builtin *builtin_find(const char *name)
{
	for (size_t i = 0; i < sizeof(builtins) / sizeof(builtins[0]); i++)
		if (strcmp(builtins[i].name, name) == 0)
			return &builtins[i];
	return NULL;
}

static void write_internal(struct translation *translation)
{
	const struct tcpmux_list *internals = &translation->from->internals;

	for (size_t i = 0; i < internals->count; i++) {
		const struct tcpmux_entry *internal = &internals->items[i];
		const struct builtin *builtin = builtin_find(internal->name);
		if (internal->disabled)
			continue;
		if (!builtin && translation->from->modules.count == 0) {
			complaint_add(translation->complaints, COMPLAINT_WARNING, translation->file, internal->line,
				"identifier `%s' is not built in and no `extension_module' is there to bring it: "
				"left out",
				internal->name);
			continue;
		}
		if (!builtin && !tcpmux_find(&translation->from->proxies, internal->name) &&
			!tcpmux_find(&translation->from->programs, internal->name))
			complaint_add(translation->complaints, COMPLAINT_WARNING, translation->file, internal->line,
				"protocol `%s', which a module's identifier of that name gives, has no server: it is "
				"closed",
				internal->name);
		service_begin(translation, internal->line, internal->name, "");
		writer_setting(translation->writer, "match", builtin ? builtin->literal : internal->name);
		writer_raw(translation->writer, " ");
		service_end(translation, internal->name);
	}
}

/* Whatever has a server can be what an external identifier says; anything else would be closed. */
static void write_external(struct translation *translation, const struct tcpmux_list *servers)
{
	const char *suffix = translation->has_internal ? "-external" : "";

	for (size_t i = 0; i < servers->count; i++) {
		const struct tcpmux_entry *server = &servers->items[i];
		if (servers != &translation->from->proxies && tcpmux_find(&translation->from->proxies, server->name))
			continue;
		service_begin(translation, server->line, server->name, suffix);
		writer_raw(translation->writer, "match = { ");
		writer_setting(translation->writer, "identified", server->name);
		writer_raw(translation->writer, " }; ");
		service_end(translation, server->name);
	}
}

static void write_any(struct translation *translation)
{
	const struct tcpmux_list *internals = &translation->from->internals;

	for (size_t i = 0; i < internals->count; i++) {
		const struct tcpmux_entry *internal = &internals->items[i];
		const struct builtin *builtin = builtin_find(internal->name);
		if (internal->disabled || !builtin || !builtin->probe)
			continue;
		service_begin(translation, internal->line, internal->name, "-any");
		writer_setting(translation->writer, "match", builtin->probe);
		writer_raw(translation->writer, " ");
		service_end(translation, internal->name);
	}
}

/* Is there a service that falls back to the program of this proxy's protocol? */
static bool proxy_is_used(const struct translation *translation, const char *protocol)
{
	const struct tcpmux_entry *internal = tcpmux_find(&translation->from->internals, protocol);

	return translation->has_external ||
		(translation->has_internal && internal && !internal->disabled &&
			(builtin_find(protocol) || translation->from->modules.count > 0));
}

static void write_programs_behind_proxies(struct translation *translation)
{
	const struct tcpmux_list *proxies = &translation->from->proxies;

	for (size_t i = 0; i < proxies->count; i++) {
		const char *protocol = proxies->items[i].name;
		const struct tcpmux_entry *program = tcpmux_find(&translation->from->programs, protocol);
		if (!program || !proxy_is_used(translation, protocol))
			continue;
		service_begin(translation, program->line, protocol, "-program");
		write_exec(translation->writer, program);
		writer_raw(translation->writer, " }");
		writer_from(translation->writer, 0);
	}
}

static void translate(struct translation *translation)
{
	const struct tcpmux_file *from = translation->from;
	bool external_first = identifiers_look(translation);
	struct writer *writer = translation->writer;

	writer_raw(writer, "# From a configuration of tcpmux, by `usher tcpmux --print'.\n");
	write_listener(translation);
	write_globals(translation);
	write_identifiers(translation);
	writer_raw(writer, "services = (\n");
	if (translation->has_internal && !external_first)
		write_internal(translation);
	if (translation->has_external) {
		write_external(translation, &from->proxies);
		write_external(translation, &from->programs);
	}
	if (translation->has_internal && external_first)
		write_internal(translation);
	if (translation->has_internal)
		write_any(translation);
	write_programs_behind_proxies(translation);
	writer_raw(writer, "\n);\n");
	if (translation->n_services == 0)
		refuse(translation, 0,
			"no identifier is enabled: expected `proto_identifier' with \"%s\" or a program, and for "
			"\"%s\" "
			"names in `internal_identifer'",
			INTERNAL, INTERNAL);
}

int tcpmux_translate_text(struct native *ret, const char *file, const char *text, size_t len,
	const struct tcpmux_options *options, struct complaints *complaints)
{
	struct tcpmux_file from = { 0 };
	struct translation translation = {
		.from = &from, .options = options, .file = file, .writer = writer_new(), .complaints = complaints
	};
	size_t errors = complaints->errors;

	tcpmux_read(&from, file, text, len, complaints);
	if (from.reader)
		translate(&translation);
	tcpmux_file_fini(&from);
	if (complaints->errors > errors) {
		writer_discard(translation.writer);
		return -EINVAL;
	}
	writer_finish(translation.writer, ret);
	return 0;
}

int tcpmux_translate(
	struct native *ret, const char *file, const struct tcpmux_options *options, struct complaints *complaints)
{
	size_t len;
	char *text = text_file_read(file, &len, complaints);
	int error = text ? tcpmux_translate_text(ret, file, text, len, options, complaints) : -EINVAL;

	free(text);
	return error;
}
