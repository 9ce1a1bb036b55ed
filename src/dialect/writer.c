/* Native configuration text, written with care: what goes into quotes comes out of libconfig as it was.
 *
 * Refuses nothing but an endpoint without a port. Owns its text until writer_finish() gives it away. */
#include "writer.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct writer {
	FILE *to;
	char *text;
	size_t size;
	unsigned *lines; /* one for each line that was begun */
	size_t n_lines;
	unsigned from;
};

static void writer_begin_line(struct writer *writer)
{
	size_t n = writer->n_lines;

	if ((n & (n - 1)) == 0) { /* full at 0 and every power of two */
		writer->lines = reallocarray(writer->lines, n ? n * 2 : 1, sizeof(*writer->lines));
		if (!writer->lines)
			abort();
	}
	writer->lines[writer->n_lines++] = writer->from;
}

struct writer *writer_new(void)
{
	struct writer *writer = calloc(1, sizeof(*writer));

	if (!writer || !(writer->to = open_memstream(&writer->text, &writer->size)))
		abort();
	writer_begin_line(writer);
	return writer;
}

void writer_finish(struct writer *writer, struct native *ret)
{
	if (fclose(writer->to) != 0)
		abort();
	*ret = (struct native){ .text = writer->text, .lines = writer->lines, .n_lines = writer->n_lines };
	free(writer);
}

void writer_discard(struct writer *writer)
{
	struct native native;

	writer_finish(writer, &native);
	native_fini(&native);
}

void writer_from(struct writer *writer, unsigned line)
{
	writer->from = line;
}

/* A line belongs to what stands at its end: a list's elements are written a line each, after the bracket. */
static void writer_put(struct writer *writer, char c)
{
	if (writer->from)
		writer->lines[writer->n_lines - 1] = writer->from;
	fputc(c, writer->to);
	if (c == '\n')
		writer_begin_line(writer);
}

void writer_raw(struct writer *writer, const char *format, ...)
{
	va_list arguments;
	char *text;

	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		abort();
	va_end(arguments);
	for (const char *at = text; *at; at++)
		writer_put(writer, *at);
	free(text);
}

void writer_string(struct writer *writer, const char *text)
{
	writer_put(writer, '"');
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		if (c == '"' || c == '\\')
			writer_put(writer, '\\');
		if (c < 0x20 || c >= 0x7f)
			writer_raw(writer, "\\x%02x", c);
		else
			writer_put(writer, *text);
	}
	writer_put(writer, '"');
}

void writer_setting(struct writer *writer, const char *key, const char *text)
{
	writer_raw(writer, "%s = ", key);
	writer_string(writer, text);
	writer_put(writer, ';');
}

char *writer_absolute(const char *path)
{
	char *folder = path[0] == '/' ? NULL : getcwd(NULL, 0), *absolute = NULL;

	if (strncmp(path, "./", 2) == 0)
		path += 2;
	if (asprintf(&absolute, "%s%s%s", folder ? folder : "", folder ? "/" : "", path) < 0)
		abort();
	free(folder);
	return absolute;
}

void writer_path(struct writer *writer, const char *key, const char *path)
{
	char *absolute = writer_absolute(path);

	writer_setting(writer, key, absolute);
	free(absolute);
}

bool writer_can_quote(const uint8_t *bytes, size_t len)
{
	return len > 0 && !memchr(bytes, 0, len);
}

void writer_bytes(struct writer *writer, const uint8_t *bytes, size_t len)
{
	writer_put(writer, '"');
	for (size_t i = 0; i < len; i++)
		writer_raw(writer, "%s%02x", i ? " " : "", bytes[i]);
	writer_put(writer, '"');
}

char *writer_endpoint(const char *text)
{
	const char *colon = strrchr(text, ':');
	char *end, *ret = NULL;

	if (!colon || colon == text || colon[1] < '0' || colon[1] > '9')
		return NULL;
	unsigned long port = strtoul(colon + 1, &end, 10);
	if (*end || port < 1 || port > 65535)
		return NULL;
	int host_len = (int)(colon - text);
	bool bare_v6 = text[0] != '[' && memchr(text, ':', (size_t)host_len);
	if (asprintf(&ret, bare_v6 ? "[%.*s]:%lu" : "%.*s:%lu", host_len, text, port) < 0)
		abort();
	return ret;
}
