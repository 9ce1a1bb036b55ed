/* What the dialects share: leading complaints about the native text back to the foreign file. The text and its lines belong to
 * struct native. */
#include "native.h"
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

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
