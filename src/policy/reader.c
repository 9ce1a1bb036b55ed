/* Configuration text, parsed by libconfig, and complaints about places in it.
 *
 * Refuses text that libconfig refuses, with better words than its own, and text that libconfig would take in
 * wrong. The reader owns the parsed settings and the strings in them: whoever keeps one copies it. */
#include "reader.h"
#include "includes.h"
#include "index.h"
#include "numbers.h"
#include "scan.h"
#include <libconfig.h>
#include <stdlib.h>
#include <string.h>

#define SUGGESTIONS_MAX 32

struct reader {
	config_t config;
	struct includes *includes;
	const char *file;
	struct complaints *complaints;
	unsigned suggestions;
	char words[256]; /* of reader_suggest() and reader_place() */
};

static const config_setting_t *parsed(const struct setting *at)
{
	return (const config_setting_t *)at;
}

static const char *reader_file(const struct reader *reader, const struct setting *at)
{
	return at && parsed(at)->file ? parsed(at)->file : reader->file;
}

unsigned setting_line(const struct setting *at)
{
	return at ? parsed(at)->line : 0; /* libconfig's own macro cuts it to 16 bits */
}

void reader_error(struct reader *reader, const struct setting *at, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	complaint_addv(
		reader->complaints, COMPLAINT_ERROR, reader_file(reader, at), setting_line(at), format, arguments);
	va_end(arguments);
}

void reader_warn(struct reader *reader, const struct setting *at, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	complaint_addv(
		reader->complaints, COMPLAINT_WARNING, reader_file(reader, at), setting_line(at), format, arguments);
	va_end(arguments);
}

void reader_error_in(struct reader *reader, const char *file, unsigned line, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	complaint_addv(reader->complaints, COMPLAINT_ERROR, file, line, format, arguments);
	va_end(arguments);
}

const char *reader_suggest(struct reader *reader, const char *name, const struct index *known)
{
	const char *nearest = reader->suggestions++ < SUGGESTIONS_MAX ? index_nearest(known, name) : NULL;

	if (!nearest)
		return "";
	snprintf(reader->words, sizeof(reader->words), ", did you mean `%s'?", nearest);
	return reader->words;
}

const char *reader_place(struct reader *reader, const struct setting *at, const struct setting *from)
{
	const char *file = reader_file(reader, at);

	if (strcmp(file, reader_file(reader, from)) == 0)
		snprintf(reader->words, sizeof(reader->words), "line %u", setting_line(at));
	else
		snprintf(reader->words, sizeof(reader->words), "%.200s:%u", file, setting_line(at));
	return reader->words;
}

/* ---- parsing ---- */

/* The folder that the paths of @include are relative to; NULL: the current one. */
static char *folder_of(const char *file)
{
	const char *slash = strrchr(file, '/');
	char *folder = slash ? strndup(file, slash > file ? (size_t)(slash - file) : 1) : NULL;

	if (slash && !folder)
		abort();
	return folder;
}

/* The line that libconfig stumbled over, without its indent and at most so long. */
static int find_line(const char *text, unsigned line, const char **ret_at)
{
	for (; line > 1 && text; line--)
		text = (text = strchr(text, '\n')) ? text + 1 : NULL;
	if (!text)
		return 0;
	text += strspn(text, " \t");
	*ret_at = text;
	size_t len = strcspn(text, "\r\n");
	return len > 60 ? 60 : (int)len;
}

static void complain_of_syntax(struct reader *reader, const char *text, size_t len)
{
	const char *what = config_error_text(&reader->config), *near = "";
	unsigned line;
	const char *file = includes_place(reader->includes, (unsigned)config_error_line(&reader->config), &line);

	if (!what)
		what = "cannot be read";
	if (file != reader->file) {
		complaint_add(reader->complaints, COMPLAINT_ERROR, file, line, "%s, expected `key = value;'", what);
		return;
	}
	if (strcmp(what, "syntax error") == 0 && scan_structure(reader->file, text, len, line, reader->complaints))
		return;
	int near_len = find_line(text, line, &near);
	complaint_add(reader->complaints, COMPLAINT_ERROR, reader->file, line, "%s at or before `%.*s'%s", what,
		near_len, near, strcmp(what, "syntax error") == 0 ? ", expected `key = value;'" : "");
}

/* Settings have the lines of the text that libconfig saw: they get those of the files that they stand in. */
static void settings_place(const struct includes *includes, const char *file, config_setting_t *at)
{
	const char *stands_in = includes_place(includes, at->line, &at->line);

	at->file = stands_in == file ? NULL : stands_in;
	for (int i = 0; config_setting_is_aggregate(at) && i < config_setting_length(at); i++)
		settings_place(includes, file, config_setting_get_elem(at, (unsigned)i));
}

static bool reader_parse(struct reader *reader, const char *text)
{
	config_destroy(&reader->config);
	config_init(&reader->config);
	return config_read_string(&reader->config, text) == CONFIG_TRUE;
}

struct reader *reader_new(const char *file, bool is_file, const char *text, size_t len, struct sources *sources,
	struct complaints *complaints)
{
	struct reader *reader = calloc(1, sizeof(*reader));
	char *folder = is_file ? folder_of(file) : NULL;
	struct scan_moves moves = { 0 };
	bool ok = false;
	size_t whole_len;

	if (!reader)
		abort();
	reader->file = file;
	reader->complaints = complaints;
	config_init(&reader->config);

	if (numbers_fault()) {
		complaint_add(complaints, COMPLAINT_ERROR, file, 0,
			"libconfig takes the number `%s' for another one: usher does not go with this version of it",
			numbers_fault());
		goto out;
	}
	scan_values(file, text, len, complaints);
	if (memchr(text, 0, len))
		goto out; /* what libconfig would see is not what is there */
	reader->includes = includes_expand(file, folder, text, len, sources, complaints);
	if (!reader->includes)
		goto out;
	char *whole = includes_text(reader->includes, &whole_len);
	scan_prepare(whole, whole_len, &moves);
	ok = reader_parse(reader, whole);
	scan_moves_undo(&moves);
	scan_moves_fini(&moves);
	if (!ok && !(ok = reader_parse(reader, whole))) /* once more, for the line of the error */
		complain_of_syntax(reader, text, len);
	if (ok && includes_any(reader->includes))
		settings_place(reader->includes, file, config_root_setting(&reader->config));
out:
	free(folder);
	if (ok)
		return reader;
	reader_free(reader);
	return NULL;
}

void reader_free(struct reader *reader)
{
	if (!reader)
		return;
	config_destroy(&reader->config);
	includes_free(reader->includes);
	free(reader);
}

const struct setting *reader_root(const struct reader *reader)
{
	return (const struct setting *)config_root_setting(&reader->config);
}
