/* What a portsplit file means to usher.
 *
 *     bind              listen                    [name] string...     protocols, named after the service
 *     maxconn           max_connections           connect              connect
 *     timeout           decide_timeout            exec, execarg, pty   exec, stdio
 *     pid               pid_file                  [fallback]           on_unknown
 *                                                 [timeout]            on_silence
 *
 * Services keep their order. Where both are given, `connect` goes before `exec`, as in portsplit, and a
 * service with neither closes the connection. Refuses files that portsplit_read() complains of, and values
 * that cannot be what is asked for; what only the policy can tell (programs that are not there, its own
 * listeners) the policy tells. Owns nothing for long. */
#include "portsplit.h"
#include "portsplit_read.h"
#include "text_file.h"
#include "writer.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAXCONN_PRESET 10
#define IDLE_TIMEOUT   2592000 /* portsplit has none: as long as usher allows */
#define NAME_LEN_MAX   48      /* of a service, so that a suffix fits behind */
#define NAME_BYTES     "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-"
#define NO_SECTION     SIZE_MAX

struct translation {
	const struct portsplit_file *from;
	const char *file;
	struct writer *writer;
	struct complaints *complaints;
	char **names;             /* of services, one for each section */
	size_t fallback, timeout; /* which section, or NO_SECTION */
};

#define refuse(translation, at, ...)                                                                                 \
	complaint_add((translation)->complaints, COMPLAINT_ERROR, (translation)->file, at, __VA_ARGS__)
#define warn(translation, at, ...)                                                                                   \
	complaint_add((translation)->complaints, COMPLAINT_WARNING, (translation)->file, at, __VA_ARGS__)

/* ---- names ---- */

static bool name_is_taken(const struct translation *translation, size_t before, const char *name)
{
	for (size_t i = 0; i < before; i++)
		if (strcmp(translation->names[i], name) == 0)
			return true;
	return false;
}

/* Sections may be called anything, and several the same; services may not. */
static char *name_make(const struct translation *translation, size_t number)
{
	const char *from = translation->from->sections[number].name;
	char *base = strndup(from, NAME_LEN_MAX), *name;

	if (!base || !(name = strdup(base)))
		abort();
	for (char *c = base; *c; c++)
		if (!strchr(NAME_BYTES, *c))
			*c = '_';
	strcpy(name, base);
	for (unsigned n = 2; name_is_taken(translation, number, name); n++) {
		free(name);
		if (asprintf(&name, "%s-%u", base, n) < 0)
			abort();
	}
	free(base);
	return name;
}

/* The first of its name; a second one is never asked. */
static size_t section_find(const struct translation *translation, const char *name)
{
	size_t found = NO_SECTION;

	for (size_t i = 0; i < translation->from->n_sections; i++) {
		const struct portsplit_section *section = &translation->from->sections[i];
		if (strcmp(section->name, name) != 0)
			continue;
		if (found != NO_SECTION)
			warn(translation, section->line, "[%s] is there twice: the one on line %u is used", name,
				translation->from->sections[found].line);
		else
			found = i;
	}
	return found;
}

/* Is it led to at all? The special ones are by name, others by their strings. */
static bool section_counts(const struct translation *translation, size_t number)
{
	const struct portsplit_section *section = &translation->from->sections[number];

	if (strcmp(section->name, "fallback") == 0)
		return number == translation->fallback;
	if (strcmp(section->name, "timeout") == 0)
		return number == translation->timeout;
	return section->strings.count > 0;
}

/* ---- globals ---- */

/* Decimal digits only. */
static bool number_read(const struct translation *translation, const struct portsplit_value *value, const char *key,
	unsigned long most, unsigned long *ret)
{
	char *end;

	errno = 0;
	*ret = strtoul(value->text, &end, 10);
	if (value->text[0] >= '0' && value->text[0] <= '9' && !*end && !errno && *ret <= most)
		return true;
	refuse(translation, value->line, "`%s' is `%s', expected a whole number from 0 to %lu", key, value->text,
		most);
	return false;
}

static void write_listeners(const struct translation *translation)
{
	const struct portsplit_list *binds = &translation->from->binds;
	struct writer *writer = translation->writer;

	if (binds->count == 0)
		refuse(translation, 0,
			"no `bind', expected addresses such as bind = 0.0.0.0:443 before the first section");
	writer_raw(writer, "listen = (\n");
	for (size_t i = 0; i < binds->count; i++) {
		const struct portsplit_value *bind = &binds->items[i];
		char *endpoint = writer_endpoint(bind->text);

		if (!endpoint)
			refuse(translation, bind->line,
				"`bind' is `%s', expected IP:port such as 192.0.2.1:443 or ::1:443", bind->text);
		writer_from(writer, bind->line);
		writer_raw(writer, "\t");
		writer_string(writer, endpoint ? endpoint : "");
		writer_raw(writer, "%s\n", i + 1 < binds->count ? "," : "");
		free(endpoint);
	}
	writer_from(writer, 0);
	writer_raw(writer, ");\n");
}

static void write_globals(const struct translation *translation)
{
	const struct portsplit_file *from = translation->from;
	struct writer *writer = translation->writer;
	unsigned long maxconn = MAXCONN_PRESET, timeout = 0;

	if (from->maxconn.text)
		number_read(translation, &from->maxconn, "maxconn", 10000000, &maxconn);
	if (from->timeout.text)
		number_read(translation, &from->timeout, "timeout", 86400, &timeout);
	writer_from(writer, from->maxconn.line);
	writer_raw(writer, "max_connections = %lu;\n", maxconn);
	writer_from(writer, from->timeout.line);
	writer_raw(writer, "decide_timeout = %lu.0;\n", timeout);
	writer_from(writer, 0);
	writer_raw(writer, "idle_timeout = %u.0;\n", IDLE_TIMEOUT);
	if (!from->pid.text)
		return;
	writer_from(writer, from->pid.line);
	if (from->pid.len == 0)
		refuse(translation, from->pid.line, "an empty `pid', expected a path");
	writer_path(writer, "pid_file", from->pid.text);
	writer_from(writer, 0);
	writer_raw(writer, "\n");
}

/* ---- sections ---- */

static void write_literals(
	struct writer *writer, const struct portsplit_list *strings, bool quotable, const char *key)
{
	const char *before = "";

	for (size_t i = 0; i < strings->count; i++) {
		const struct portsplit_value *string = &strings->items[i];
		const uint8_t *bytes = (const uint8_t *)string->text;
		if (writer_can_quote(bytes, string->len) != quotable)
			continue;
		writer_from(writer, string->line);
		if (!*before)
			writer_raw(writer, " %s = [", key);
		writer_raw(writer, "%s\n\t\t", before);
		if (quotable)
			writer_string(writer, string->text);
		else
			writer_bytes(writer, bytes, string->len);
		before = ",";
	}
	if (*before)
		writer_raw(writer, " ];");
}

static void write_protocols(const struct translation *translation)
{
	struct writer *writer = translation->writer;
	const char *before = "protocols = (";

	for (size_t i = 0; i < translation->from->n_sections; i++) {
		const struct portsplit_section *section = &translation->from->sections[i];
		if (!section_counts(translation, i) || section->strings.count == 0)
			continue;
		writer_raw(writer, "%s\n", before);
		writer_from(writer, section->line);
		writer_raw(writer, "\t{ name = \"%s-string\";", translation->names[i]);
		write_literals(writer, &section->strings, true, "string");
		write_literals(writer, &section->strings, false, "bytes");
		writer_raw(writer, " }");
		writer_from(writer, 0);
		before = ",";
	}
	if (*before == ',')
		writer_raw(writer, "\n);\n");
}

static void write_program(struct writer *writer, const struct portsplit_section *section)
{
	writer_from(writer, section->exec.line);
	writer_raw(writer, "\n\t  exec = [ ");
	writer_string(writer, section->exec.text);
	for (size_t i = 0; i < section->arguments.count; i++) {
		writer_raw(writer, ", ");
		writer_string(writer, section->arguments.items[i].text);
	}
	writer_raw(writer, " ]; stdio = \"%s\";", section->pty ? "pty" : "pipe");
}

static void write_delivery(const struct translation *translation, const struct portsplit_section *section)
{
	struct writer *writer = translation->writer;

	if (section->connect.text) {
		char *endpoint = writer_endpoint(section->connect.text);
		if (!endpoint)
			refuse(translation, section->connect.line,
				"`connect' is `%s', expected host:port such as 127.0.0.1:80 or ::1:80",
				section->connect.text);
		if (section->exec.text)
			warn(translation, section->exec.line, "`exec' in [%s] is left out: `connect' goes before it",
				section->name);
		writer_from(writer, section->connect.line);
		writer_raw(writer, "\n\t  ");
		writer_setting(writer, "connect", endpoint ? endpoint : "");
		free(endpoint);
	} else if (section->exec.text) {
		write_program(writer, section);
	} else {
		warn(translation, section->line, "[%s] has no `connect' and no `exec': it closes the connection",
			section->name);
		writer_raw(writer, " reject = \"close\";");
	}
}

static void write_services(const struct translation *translation)
{
	struct writer *writer = translation->writer;
	const char *before = "services = (";

	for (size_t i = 0; i < translation->from->n_sections; i++) {
		const struct portsplit_section *section = &translation->from->sections[i];
		if (!section_counts(translation, i)) {
			if (i != translation->fallback && section->strings.count == 0 &&
				strcmp(section->name, "fallback") != 0 && strcmp(section->name, "timeout") != 0)
				warn(translation, section->line, "[%s] has no `string': nothing can match it",
					section->name);
			continue;
		}
		writer_raw(writer, "%s\n", before);
		writer_from(writer, section->line);
		writer_raw(writer, "\t{ name = \"%s\";", translation->names[i]);
		if (section->strings.count)
			writer_raw(writer, " match = \"%s-string\";", translation->names[i]);
		write_delivery(translation, section);
		writer_raw(writer, " }");
		writer_from(writer, 0);
		before = ",";
	}
	if (*before != ',')
		refuse(translation, 0, "no section with a `string', and no [fallback] or [timeout], expected one");
	writer_raw(writer, "\n);\n");
	if (translation->fallback != NO_SECTION)
		writer_raw(writer, "on_unknown = \"%s\";\n", translation->names[translation->fallback]);
	if (translation->timeout != NO_SECTION)
		writer_raw(writer, "on_silence = \"%s\";\n", translation->names[translation->timeout]);
}

static void translate(struct translation *translation)
{
	const struct portsplit_file *from = translation->from;

	translation->names = calloc(from->n_sections + 1, sizeof(*translation->names));
	if (!translation->names)
		abort();
	translation->fallback = section_find(translation, "fallback");
	translation->timeout = section_find(translation, "timeout");
	for (size_t i = 0; i < from->n_sections; i++)
		translation->names[i] = name_make(translation, i);

	writer_raw(translation->writer, "# From a configuration of portsplit, by `usher portsplit --print'.\n");
	write_listeners(translation);
	write_globals(translation);
	write_protocols(translation);
	write_services(translation);

	for (size_t i = 0; i < from->n_sections; i++)
		free(translation->names[i]);
	free(translation->names);
}

int portsplit_translate_text(
	struct native *ret, const char *file, const char *text, size_t len, struct complaints *complaints)
{
	struct portsplit_file from = { 0 };
	struct translation translation = {
		.from = &from, .file = file, .writer = writer_new(), .complaints = complaints
	};
	size_t errors = complaints->errors;

	portsplit_read(&from, file, text, len, complaints);
	translate(&translation);
	portsplit_file_fini(&from);
	if (complaints->errors > errors) {
		writer_discard(translation.writer);
		return -EINVAL;
	}
	writer_finish(translation.writer, ret);
	return 0;
}

int portsplit_translate(struct native *ret, const char *file, struct complaints *complaints)
{
	size_t len;
	char *text = text_file_read(file, &len, complaints);
	int error = text ? portsplit_translate_text(ret, file, text, len, complaints) : -EINVAL;

	free(text);
	return error;
}
