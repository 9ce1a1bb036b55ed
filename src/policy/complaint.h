/* Everything that is wrong with a configuration, found in one reading: file, line, what, and what was
 * expected. */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

struct complaint {
	enum complaint_kind { COMPLAINT_ERROR, COMPLAINT_WARNING } kind;
	char *file;    /* NULL: the configuration as a whole */
	unsigned line; /* 0: no line */
	char *text;
};

struct complaints {
	struct complaint *list;
	size_t count;
	size_t errors; /* of them */
};

void complaints_fini(struct complaints *complaints); /* start from a zeroed one */
void complaint_add(struct complaints *complaints, enum complaint_kind kind, const char *file, unsigned line,
	const char *format, ...) __attribute__((format(printf, 5, 6)));
void complaint_addv(struct complaints *complaints, enum complaint_kind kind, const char *file, unsigned line,
	const char *format, va_list arguments);

/* Calls `found` for each, in order of file and line, with the whole line: "usher.conf:12: unknown key `foo', expected ...". */
void complaints_each(const struct complaints *complaints,
	void (*found)(void *context, const struct complaint *complaint, const char *line), void *context);

/* "usher.conf:12: unknown key `foo', expected one of ..." a line each, in order of file and line; warnings
 * marked so. */
void complaints_print(const struct complaints *complaints, FILE *to);
