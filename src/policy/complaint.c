/* The list of what is wrong with a configuration, and how it is printed.
 *
 * Refuses nothing: a complaint always gets in; out of memory ends the process, as it does in the arena. Bytes
 * that could upset a terminal are replaced, because the text quotes the configuration. The list owns its
 * strings. */
#include "complaint.h"
#include <stdlib.h>
#include <string.h>

void complaints_fini(struct complaints *complaints)
{
	for (size_t i = 0; i < complaints->count; i++) {
		free(complaints->list[i].file);
		free(complaints->list[i].text);
	}
	free(complaints->list);
	*complaints = (struct complaints){ 0 };
}

static void clean(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

static struct complaint *complaints_grow(struct complaints *complaints)
{
	/* Doubles: the list is full whenever its length is 0 or a power of two. */
	if ((complaints->count & (complaints->count - 1)) == 0) {
		size_t capacity = complaints->count ? complaints->count * 2 : 1;
		complaints->list = reallocarray(complaints->list, capacity, sizeof(struct complaint));
		if (!complaints->list)
			abort();
	}
	return &complaints->list[complaints->count++];
}

void complaint_addv(struct complaints *complaints, enum complaint_kind kind, const char *file, unsigned line,
	const char *format, va_list arguments)
{
	struct complaint *complaint = complaints_grow(complaints);

	*complaint = (struct complaint){ .kind = kind, .line = line };
	if (file && !(complaint->file = strdup(file)))
		abort();
	if (vasprintf(&complaint->text, format, arguments) < 0)
		abort();
	clean(complaint->text);
	if (kind == COMPLAINT_ERROR)
		complaints->errors++;
}

void complaint_add(struct complaints *complaints, enum complaint_kind kind, const char *file, unsigned line,
	const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	complaint_addv(complaints, kind, file, line, format, arguments);
	va_end(arguments);
}

static int complaint_compare(const void *left, const void *right)
{
	const struct complaint *a = *(const struct complaint *const *)left;
	const struct complaint *b = *(const struct complaint *const *)right;
	int order = strcmp(a->file ? a->file : "", b->file ? b->file : "");

	if (order)
		return order;
	if (a->line != b->line)
		return a->line < b->line ? -1 : 1;
	return a < b ? -1 : 1; /* as they were found */
}

void complaints_each(const struct complaints *complaints,
	void (*found)(void *context, const struct complaint *complaint, const char *line), void *context)
{
	const struct complaint **sorted = calloc(complaints->count + 1, sizeof(*sorted));
	if (!sorted)
		abort();
	for (size_t i = 0; i < complaints->count; i++)
		sorted[i] = &complaints->list[i];
	qsort(sorted, complaints->count, sizeof(*sorted), complaint_compare);

	for (size_t i = 0; i < complaints->count; i++) {
		const struct complaint *complaint = sorted[i];
		char place[32] = "", *line;
		if (complaint->file && complaint->line)
			snprintf(place, sizeof(place), ":%u", complaint->line);
		if (asprintf(&line, "%s%s%s%s%s", complaint->file ? complaint->file : "", place,
			    complaint->file ? ": " : "", complaint->kind == COMPLAINT_WARNING ? "warning: " : "",
			    complaint->text) < 0)
			abort();
		found(context, complaint, line);
		free(line);
	}
	free(sorted);
}

static void complaint_print(void *context, const struct complaint *complaint, const char *line)
{
	fprintf(context, "%s\n", line);
}

void complaints_print(const struct complaints *complaints, FILE *to)
{
	complaints_each(complaints, complaint_print, to);
}
