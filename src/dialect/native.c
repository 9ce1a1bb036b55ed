/* What the dialects share: reading a foreign file, and leading complaints about the native text back to it.
 *
 * Refuses files past a size that no configuration has. The text and its lines belong to struct native. */
#include "native.h"
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (16U << 20)

void native_fini(struct native *native)
{
	free(native->text);
	free(native->lines);
	*native = (struct native){ 0 };
}

unsigned native_line(const struct native *native, unsigned line)
{
	return line >= 1 && line <= native->n_lines ? native->lines[line - 1] : 0;
}

/* A complaint may name another line: "first on line 3", "(line 3)". */
static char *lines_translate(const struct native *native, const char *text)
{
	static const char word[] = "line ";
	char *copy = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&copy, &size);

	if (!to)
		abort();
	for (const char *at; (at = strstr(text, word));) {
		const char *digits = at + sizeof(word) - 1;
		bool is_place = at > text && (at[-1] == '(' || at[-1] == ' ') && isdigit((unsigned char)*digits);
		char *end = (char *)digits;
		unsigned long line = is_place ? strtoul(digits, &end, 10) : 0;
		unsigned foreign = is_place ? native_line(native, (unsigned)line) : 0;

		fprintf(to, "%.*s", (int)(digits - text), text);
		if (foreign)
			fprintf(to, "%u", foreign);
		else
			fprintf(to, "%.*s", (int)(end - digits), digits);
		text = end;
	}
	fputs(text, to);
	if (fclose(to) != 0)
		abort();
	return copy;
}

void native_complain(const struct native *native, const struct complaints *from, struct complaints *to)
{
	for (size_t i = 0; i < from->count; i++) {
		const struct complaint *complaint = &from->list[i];
		char *text = lines_translate(native, complaint->text);

		complaint_add(to, complaint->kind, complaint->file, native_line(native, complaint->line), "%s", text);
		free(text);
	}
}

char *native_read_file(const char *file, size_t *ret_len, struct complaints *complaints)
{
	char *text = NULL;
	size_t size = 0, len = 0;
	FILE *from = fopen(file, "re");
	int error = from ? 0 : errno;

	while (!error && (size == 0 || len == size - 1) && size < FILE_MAX) {
		size = size ? size * 2 : 65536;
		text = realloc(text, size);
		if (!text)
			abort();
		len += fread(text + len, 1, size - 1 - len, from);
		error = ferror(from) ? errno : 0;
	}
	if (from)
		fclose(from);
	if (error)
		complaint_add(complaints, COMPLAINT_ERROR, file, 0, "cannot be read: %s", strerror(error));
	else if (len == size - 1)
		complaint_add(complaints, COMPLAINT_ERROR, file, 0, "is too large, expected less than %u MiB",
			FILE_MAX >> 20);
	if (error || len == size - 1) {
		free(text);
		return NULL;
	}
	text[len] = 0;
	*ret_len = len;
	return text;
}
