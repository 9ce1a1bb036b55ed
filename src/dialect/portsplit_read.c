/* Reads the lines of a portsplit file: `key = value`, `[section]`, `#` comments.
 *
 * A comment is a line that begins with `#`; a `#` further on belongs to the value. White space around the
 * `=` and before the key is dropped. Behind the value it counts where it can be meant, in `string` and
 * `execarg`, and is dropped elsewhere. The last line needs no line end, and lines may end with CR LF.
 *
 * Refuses what portsplit refuses, all at once and with the line; a global key that it does not know, it
 * lets pass with a warning, as portsplit does. Owns what it returns until portsplit_file_fini(). */
#include "portsplit_read.h"
#include <stdlib.h>
#include <string.h>

struct reading {
	struct portsplit_file *file;
	struct portsplit_section *section; /* NULL: before the first */
	bool lost;                         /* within a section whose name is wrong: nothing is kept */
	const char *name;
	unsigned line;
	struct complaints *complaints;
};

#define refuse(reading, ...)                                                                                         \
	complaint_add((reading)->complaints, COMPLAINT_ERROR, (reading)->name, (reading)->line, __VA_ARGS__)

static void *grown(void *list, size_t count, size_t size)
{
	if ((count & (count - 1)) == 0) { /* full at 0 and every power of two */
		list = reallocarray(list, count ? count * 2 : 1, size);
		if (!list)
			abort();
	}
	return list;
}

static char *copied(const char *text, size_t len)
{
	char *copy = malloc(len + 1);

	if (!copy)
		abort();
	memcpy(copy, text, len);
	copy[len] = 0;
	return copy;
}

static void value_set(const struct reading *reading, struct portsplit_value *value, const char *text, size_t len)
{
	free(value->text);
	*value = (struct portsplit_value){ copied(text, len), len, reading->line };
}

static void list_add(const struct reading *reading, struct portsplit_list *list, const char *text, size_t len)
{
	list->items = grown(list->items, list->count, sizeof(*list->items));
	list->items[list->count] = (struct portsplit_value){ 0 };
	value_set(reading, &list->items[list->count++], text, len);
}

static void list_clear(struct portsplit_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i].text);
	free(list->items);
	*list = (struct portsplit_list){ 0 };
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\v' || c == '\f';
}

static size_t trimmed(const char *text, size_t len)
{
	while (len > 0 && is_blank(text[len - 1]))
		len--;
	return len;
}

/* ---- keys ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* `\XX` is a byte; any other backslash is itself. */
static void read_string(struct reading *reading, const char *text, size_t len)
{
	char *bytes = copied(text, len);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int high = text[i] == '\\' && i + 2 < len ? hex_digit(text[i + 1]) : -1;
		int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
		bytes[n++] = low >= 0 ? (char)(high << 4 | low) : text[i];
		i += low >= 0 ? 2 : 0;
	}
	if (n == 0)
		refuse(reading, "an empty `string', expected at least one byte");
	else
		list_add(reading, &reading->section->strings, bytes, n);
	free(bytes);
}

static void read_pty(struct reading *reading, const char *text, size_t len)
{
	bool yes = len == 3 && memcmp(text, "yes", 3) == 0;

	if (yes || (len == 2 && memcmp(text, "no", 2) == 0))
		reading->section->pty = yes;
	else
		refuse(reading, "`pty' is `%.*s', expected `yes' or `no'", (int)len, text);
}

static void read_program(struct reading *reading, const char *text, size_t len)
{
	if (len == 0) {
		refuse(reading, "an empty `exec', expected a program");
		return;
	}
	value_set(reading, &reading->section->exec, text, len);
	list_clear(&reading->section->arguments);
}

static void service_key(struct reading *reading, const char *key, const char *text, size_t len)
{
	struct portsplit_section *section = reading->section;
	size_t whole = len;
	bool special = strcmp(section->name, "fallback") == 0 || strcmp(section->name, "timeout") == 0;

	len = trimmed(text, len);
	if (strcmp(key, "string") == 0) {
		if (special)
			refuse(reading, "`string' in [%s], expected none: that section takes what no string matches",
				section->name);
		else
			read_string(reading, text, whole);
	} else if (strcmp(key, "connect") == 0) {
		value_set(reading, &section->connect, text, len);
	} else if (strcmp(key, "exec") == 0) {
		read_program(reading, text, len);
	} else if (strcmp(key, "execarg") == 0) {
		if (section->exec.text)
			list_add(reading, &section->arguments, text, whole);
		else
			refuse(reading, "`execarg' before `exec', expected it behind");
	} else if (strcmp(key, "pty") == 0) {
		read_pty(reading, text, len);
	} else {
		refuse(reading, "unknown key `%s' in [%s], expected one of string, connect, exec, execarg, pty", key,
			section->name);
	}
}

static void global_key(struct reading *reading, const char *key, const char *text, size_t len)
{
	struct portsplit_file *file = reading->file;

	len = trimmed(text, len);
	if (strcmp(key, "bind") == 0)
		list_add(reading, &file->binds, text, len);
	else if (strcmp(key, "maxconn") == 0)
		value_set(reading, &file->maxconn, text, len);
	else if (strcmp(key, "timeout") == 0)
		value_set(reading, &file->timeout, text, len);
	else if (strcmp(key, "pid") == 0)
		value_set(reading, &file->pid, text, len);
	else
		complaint_add(reading->complaints, COMPLAINT_WARNING, reading->name, reading->line,
			"unknown key `%s' is left out, expected one of bind, maxconn, timeout, pid", key);
}

/* ---- lines ---- */

static void section_begin(struct reading *reading, const char *text, size_t len)
{
	struct portsplit_file *file = reading->file;

	reading->lost = len < 3 || text[len - 1] != ']' || memchr(text + 1, ']', len - 2);
	if (reading->lost) {
		refuse(reading, "`%.*s' is no section, expected a name between brackets: [name]", (int)len, text);
		return;
	}
	file->sections = grown(file->sections, file->n_sections, sizeof(*file->sections));
	reading->section = &file->sections[file->n_sections++];
	*reading->section = (struct portsplit_section){ .name = copied(text + 1, len - 2), .line = reading->line };
}

static void read_line(struct reading *reading, const char *text, size_t len)
{
	while (len > 0 && is_blank(*text)) {
		text++;
		len--;
	}
	if (len == 0 || *text == '#')
		return;
	if (memchr(text, 0, len)) {
		refuse(reading, "a NUL byte, expected text: a byte of value zero is written \\00");
		return;
	}
	if (*text == '[') {
		section_begin(reading, text, trimmed(text, len));
		return;
	}
	const char *equals = memchr(text, '=', len);
	if (!equals) {
		refuse(reading, "`%.*s' has no `=', expected `key = value', `[section]' or `# comment'", (int)len,
			text);
		return;
	}
	if (reading->lost)
		return;
	char *key = copied(text, trimmed(text, (size_t)(equals - text)));
	const char *value = equals + 1, *end = text + len;
	while (value < end && is_blank(*value))
		value++;
	if (reading->section)
		service_key(reading, key, value, (size_t)(end - value));
	else
		global_key(reading, key, value, (size_t)(end - value));
	free(key);
}

void portsplit_read(
	struct portsplit_file *ret, const char *file, const char *text, size_t len, struct complaints *complaints)
{
	struct reading reading = { .file = ret, .name = file, .complaints = complaints };
	const char *end = text + len;

	while (text < end) {
		const char *line_end = memchr(text, '\n', (size_t)(end - text));
		const char *next = line_end ? line_end + 1 : end;
		if (!line_end)
			line_end = end;
		if (line_end > text && line_end[-1] == '\r')
			line_end--;
		reading.line++;
		read_line(&reading, text, (size_t)(line_end - text));
		text = next;
	}
}

void portsplit_file_fini(struct portsplit_file *file)
{
	for (size_t i = 0; i < file->n_sections; i++) {
		struct portsplit_section *section = &file->sections[i];
		free(section->name);
		list_clear(&section->strings);
		list_clear(&section->arguments);
		free(section->connect.text);
		free(section->exec.text);
	}
	free(file->sections);
	list_clear(&file->binds);
	free(file->maxconn.text);
	free(file->timeout.text);
	free(file->pid.text);
	*file = (struct portsplit_file){ 0 };
}
