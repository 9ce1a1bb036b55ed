/* What a sniproxy file means to usher.
 *
 *     user, group, pidfile       user, group, pid_file      table           a service for each pattern and listener, in their order
 *     error_log, access_log      log                        PATTERN SERVER  match, connect
 *     listener                   listen                     PATTERN *       connect = "sni:PORT", allow_names
 *     fallback                   on_unknown, on_silence     proxy_protocol  send_proxy
 *     source client              transparent
 *
 * A pattern is a regular expression that is found anywhere in the name; it becomes globs. Refuses what usher cannot do alike: such expressions
 * as no globs have, a source address, a listener without a table. Owns nothing for long. */
#include "sniproxy.h"
#include "sniproxy_pattern.h"
#include "sniproxy_read.h"
#include "text_file.h"
#include "writer.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define IDLE_TIMEOUT 2592000 /* sniproxy has none: as long as usher allows */

struct translation {
	const struct sniproxy_file *from;
	const char *file;
	struct writer *writer;
	struct complaints *complaints;
	bool has_services;
};

#define refuse(translation, at, ...)                                                                                 \
	complaint_add((translation)->complaints, COMPLAINT_ERROR, (translation)->file, at, __VA_ARGS__)
#define warn(translation, at, ...)                                                                                   \
	complaint_add((translation)->complaints, COMPLAINT_WARNING, (translation)->file, at, __VA_ARGS__)

static bool is_http(const struct sniproxy_listener *listener)
{
	return listener->protocol.text && strcasecmp(listener->protocol.text, "http") == 0;
}

static bool is_port(const char *text)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	return *text >= '0' && *text <= '9' && !*end && port >= 1 && port <= 65535;
}

/* ---- globals ---- */

static void write_log(const struct translation *translation)
{
	static const char *const levels[] = { "emergency", "error", "alert", "error", "critical", "error", "error",
		"error", "warning", "warning", "notice", "notice", "info", "info", "debug", "debug" };
	const struct sniproxy_file *from = translation->from;
	const struct sniproxy_log *log = from->access_log.line ? &from->access_log : NULL;
	const char *level = "info"; /* that of connections, with which access logs are written */

	for (size_t i = 0; i < from->n_listeners && !log; i++)
		log = from->listeners[i].log.line ? &from->listeners[i].log : NULL;
	if (!log && from->error_log.line) {
		log = &from->error_log;
		level = "notice";
		for (size_t i = 0; log->priority.text && i < sizeof(levels) / sizeof(levels[0]); i += 2)
			if (strncasecmp(levels[i], log->priority.text, strlen(log->priority.text)) == 0)
				level = levels[i + 1];
	}
	if (!log)
		return;
	writer_from(translation->writer, log->line);
	writer_raw(translation->writer, "log = { ");
	if (log->filename.text)
		writer_path(translation->writer, "to", log->filename.text);
	else if (log->syslog.text)
		writer_setting(translation->writer, "to", "syslog");
	writer_raw(translation->writer, " level = \"%s\"; };\n", level);
	if (from->error_log.line && &from->error_log != log && from->error_log.filename.text &&
		(!log->filename.text || strcmp(from->error_log.filename.text, log->filename.text) != 0))
		warn(translation, from->error_log.line,
			"usher has one log: errors are written where connections are");
}

static void write_globals(const struct translation *translation)
{
	const struct sniproxy_file *from = translation->from;
	struct writer *writer = translation->writer;

	writer_from(writer, from->user.line);
	if (from->user.text)
		writer_setting(writer, "user", from->user.text);
	writer_from(writer, from->group.line);
	if (from->group.text)
		writer_setting(writer, "group", from->group.text);
	writer_from(writer, from->pidfile.line);
	if (from->pidfile.text)
		writer_path(writer, "pid_file", from->pidfile.text);
	write_log(translation);
	writer_from(writer, 0);
	writer_raw(writer, "\nidle_timeout = %d;\n", IDLE_TIMEOUT);
	if (from->nameserver.text)
		warn(translation, from->nameserver.line,
			"`nameserver' is left out: names are asked of those in /etc/resolv.conf");
	if (from->search.text)
		warn(translation, from->search.line,
			"`search' is left out: /etc/resolv.conf says which domains are searched");
	if (from->mode.text)
		warn(translation, from->mode.line,
			"`mode' is left out: addresses of both families are tried, in the order of the answer");
}

/* ---- listeners ---- */

/* As usher writes it: "[::]:443" of sniproxy takes IPv4 as well, unless ipv6_v6only says no. NULL: it is none. */
static char *listener_address(const struct sniproxy_listener *listener)
{
	const char *text = listener->address.text;
	char *ret;

	if (!text || strncmp(text, "unix:", 5) == 0)
		return text ? strdup(text) : NULL;
	if (!is_port(text))
		return writer_endpoint(text);
	if (asprintf(&ret, "[::]:%s", text) < 0)
		abort();
	return ret;
}

static const char *port_of(const char *address)
{
	const char *colon = strrchr(address, ':');
	return colon && is_port(colon + 1) ? colon + 1 : NULL;
}

static bool is_dual(const struct sniproxy_listener *listener, const char *address)
{
	return strncmp(address, "[::]:", 5) == 0 &&
		!(listener->v6only.text && strncasecmp(listener->v6only.text, "y", 1) == 0);
}

static void write_listener(const struct translation *translation, size_t number, const char *address)
{
	const struct sniproxy_listener *listener = &translation->from->listeners[number];

	writer_raw(translation->writer, "\n\t{ ");
	writer_setting(translation->writer, "address", address);
	if (listener->fallback.text)
		writer_raw(translation->writer, " on_unknown = \"fallback-%zu\"; on_silence = \"fallback-%zu\";",
			number + 1, number + 1);
	writer_raw(translation->writer, " }");
}

static void write_listeners(const struct translation *translation)
{
	const char *between = "";

	writer_raw(translation->writer, "listen = (");
	for (size_t i = 0; i < translation->from->n_listeners; i++) {
		const struct sniproxy_listener *listener = &translation->from->listeners[i];
		char *address = listener_address(listener), *other = NULL;
		writer_from(translation->writer, listener->address.line);
		if (!address) {
			refuse(translation, listener->address.line,
				"`%s' is no address to listen on, expected one such as 443, 192.0.2.1:443, [::]:443 "
				"or unix:/path",
				listener->address.text ? listener->address.text : "");
			continue;
		}
		writer_raw(translation->writer, "%s", between);
		write_listener(translation, i, address);
		if (is_dual(listener, address)) {
			if (asprintf(&other, "0.0.0.0:%s", port_of(address)) < 0)
				abort();
			writer_raw(translation->writer, ",");
			write_listener(translation, i, other);
		}
		between = ",";
		free(other);
		free(address);
		if (listener->protocol.text && !is_http(listener) && strcasecmp(listener->protocol.text, "tls") != 0)
			refuse(translation, listener->protocol.line, "protocol `%s', expected http or tls",
				listener->protocol.text);
		if (listener->source.text && strcasecmp(listener->source.text, "client") != 0)
			refuse(translation, listener->source.line,
				"`source %s': usher connects from the address that the system chooses, "
				"or from the client's (`source client')",
				listener->source.text);
	}
	writer_from(translation->writer, 0);
	writer_raw(translation->writer, "\n);\n");
	if (translation->from->n_listeners == 0)
		refuse(translation, 0, "no listener, expected one");
}

/* ---- services ---- */

static const struct sniproxy_table *table_of(
	const struct translation *translation, const struct sniproxy_listener *listener)
{
	const char *name = listener->table.text ? listener->table.text : "";

	for (size_t i = 0; i < translation->from->n_tables; i++)
		if (strcmp(translation->from->tables[i].name.text, name) == 0)
			return &translation->from->tables[i];
	return NULL;
}

static void write_list(const struct translation *translation, const char *key, const struct sniproxy_globs *globs)
{
	writer_raw(translation->writer, "%s = [ ", key);
	for (size_t i = 0; i < globs->n; i++) {
		writer_raw(translation->writer, "%s", i ? ", " : "");
		writer_string(translation->writer, globs->items[i]);
	}
	writer_raw(translation->writer, " ];");
}

/* With the listener's port where it has none. NULL: it is none. The caller frees it. */
static char *server_address(const char *text, const char *port)
{
	char *with_port, *ret;

	if (strncmp(text, "unix:", 5) == 0)
		return strdup(text);
	const char *colon = strrchr(text, ':');
	bool is_v6 = colon && strchr(text, ':') != colon && text[strlen(text) - 1] != ']' && *text != '[';
	if (colon && !is_v6 && text[strlen(text) - 1] != ']')
		return writer_endpoint(text);
	if (!port || asprintf(&with_port, is_v6 ? "[%s]:%s" : "%s:%s", text, port) < 0)
		return NULL;
	ret = writer_endpoint(with_port);
	free(with_port);
	return ret;
}

static bool is_wildcard(const char *server)
{
	return server[0] == '*' && (!server[1] || (server[1] == ':' && is_port(server + 2)));
}

static void write_server(const struct translation *translation, const struct sniproxy_listener *listener,
	const char *server, unsigned line, const struct sniproxy_globs *globs)
{
	char *address = listener_address(listener);
	const char *port = address ? port_of(address) : NULL;

	if (is_wildcard(server)) {
		const char *own = server[1] ? server + 2 : port ? port : is_http(listener) ? "80" : "443";
		writer_raw(translation->writer, " connect = \"%s:%s\"; ", is_http(listener) ? "host" : "sni", own);
		write_list(translation, "allow_names", globs);
		warn(translation, line,
			"names that clients ask for lead to addresses of the public internet only: for others, print "
			"the "
			"configuration (--print) and add `allow_addresses'");
	} else {
		char *to = server_address(server, port);
		writer_raw(translation->writer, " ");
		if (to)
			writer_setting(translation->writer, "connect", to);
		else
			refuse(translation, line, "`%s' is no server, expected an address, a name, unix:/path or `*'",
				server);
		free(to);
	}
	if (listener->source.text)
		writer_raw(translation->writer, " transparent = true;");
	free(address);
}

static void write_match(const struct translation *translation, const struct sniproxy_listener *listener,
	const struct sniproxy_globs *globs)
{
	char *address = listener_address(listener);

	writer_raw(translation->writer, "match = { protocol = \"%s\"; ", is_http(listener) ? "http" : "tls");
	write_list(translation, is_http(listener) ? "host" : "sni", globs);
	writer_raw(translation->writer, " listener = [ ");
	writer_string(translation->writer, address ? address : "");
	if (address && is_dual(listener, address))
		writer_raw(translation->writer, ", \"0.0.0.0:%s\"", port_of(address));
	writer_raw(translation->writer, " ]; };");
	free(address);
}

static void write_entry(
	struct translation *translation, size_t number, const struct sniproxy_table *table, size_t place)
{
	const struct sniproxy_listener *listener = &translation->from->listeners[number];
	const struct sniproxy_entry *entry = &table->entries[place];
	struct sniproxy_globs globs;
	const char *why = sniproxy_pattern(entry->pattern.text, &globs);

	if (why) {
		refuse(translation, entry->pattern.line,
			"pattern `%s' cannot be had by globs (%s), expected names, `.', `.*', `.+', `[a-z]', "
			"`(a|b)', `?', `^' and `$'",
			entry->pattern.text, why);
	} else {
		writer_from(translation->writer, entry->pattern.line);
		writer_raw(translation->writer, "%s\n\t{ name = \"%s-%zu-%zu\"; ",
			translation->has_services ? "," : "", *table->name.text ? "table" : "default", number + 1,
			place + 1);
		translation->has_services = true;
		write_match(translation, listener, &globs);
		write_server(translation, listener, entry->target.text, entry->target.line, &globs);
		if (entry->option.text && strcasecmp(entry->option.text, "proxy_protocol") == 0)
			writer_raw(translation->writer, " send_proxy = 1;");
		else if (entry->option.text)
			refuse(translation, entry->option.line, "option `%s', expected proxy_protocol",
				entry->option.text);
		if (listener->fallback.text)
			writer_raw(translation->writer, " fallback = \"fallback-%zu\";", number + 1);
		writer_raw(translation->writer, " }");
	}
	sniproxy_globs_fini(&globs);
}

static void write_services(struct translation *translation)
{
	const struct sniproxy_globs none = { .n = 0 };

	writer_raw(translation->writer, "\nservices = (");
	for (size_t i = 0; i < translation->from->n_listeners; i++) {
		const struct sniproxy_listener *listener = &translation->from->listeners[i];
		const struct sniproxy_table *table = table_of(translation, listener);
		if (!table)
			refuse(translation, listener->table.text ? listener->table.line : listener->address.line,
				"table `%s' is not there, expected it in the file",
				listener->table.text ? listener->table.text : "");
		for (size_t k = 0; table && k < table->n_entries; k++)
			write_entry(translation, i, table, k);
		if (!listener->fallback.text)
			continue;
		writer_from(translation->writer, listener->fallback.line);
		writer_raw(translation->writer, "%s\n\t{ name = \"fallback-%zu\";",
			translation->has_services ? "," : "", i + 1);
		translation->has_services = true;
		if (is_wildcard(listener->fallback.text))
			refuse(translation, listener->fallback.line,
				"fallback `*', expected an address: there is no name to connect to");
		else
			write_server(translation, listener, listener->fallback.text, listener->fallback.line, &none);
		writer_raw(translation->writer, " }");
	}
	writer_from(translation->writer, 0);
	writer_raw(translation->writer, "\n);\n");
}

int sniproxy_translate_text(
	struct native *ret, const char *file, const char *text, size_t len, struct complaints *complaints)
{
	struct sniproxy_file from = { 0 };
	struct translation translation = {
		.from = &from, .file = file, .writer = writer_new(), .complaints = complaints
	};
	size_t errors = complaints->errors;

	sniproxy_read(&from, file, text, len, complaints);
	writer_raw(translation.writer, "# From a configuration of sniproxy, by `usher sniproxy --print'.\n");
	write_listeners(&translation);
	write_globals(&translation);
	write_services(&translation);
	sniproxy_file_fini(&from);
	if (complaints->errors > errors) {
		writer_discard(translation.writer);
		return -EINVAL;
	}
	writer_finish(translation.writer, ret);
	return 0;
}

int sniproxy_translate(struct native *ret, const char *file, struct complaints *complaints)
{
	size_t len;
	char *text = text_file_read(file, &len, complaints);
	int error = text ? sniproxy_translate_text(ret, file, text, len, complaints) : -EINVAL;

	free(text);
	return error;
}
