/* Configuration text, parsed by libconfig, and complaints about places in it.
 *
 * Refuses text that libconfig refuses, with better words than its own, and text that libconfig would take in
 * wrong. The reader owns the parsed settings and the strings in them: whoever keeps one copies it. */
#include "reader.h"
#include "index.h"
#include "scan.h"
#include <errno.h>
#include <fcntl.h>
#include <libconfig.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUGGESTIONS_MAX 32

struct reader {
	config_t config;
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

/* Parsing. */

/* Makes the folder of `file` the current one, so that libconfig finds its @include; back with
 * return_folder(). -1: not done. */
static int enter_folder(const char *file)
{
	int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *copy = strdup(file);

	if (!copy)
		abort();
	if (here >= 0 && chdir(dirname(copy)) < 0) {
		close(here);
		here = -1;
	}
	free(copy);
	return here;
}

static void return_folder(int here)
{
	if (here < 0)
		return;
	if (fchdir(here) < 0)
		abort(); /* we came from there */
	close(here);
}

static void scan_included(struct reader *reader, const char *file)
{
	char *text = NULL;
	size_t size = 0;
	FILE *from = fopen(file, "re");

	if (!from)
		return;
	ssize_t len = getdelim(&text, &size, EOF, from);
	if (len > 0)
		scan_values(file, text, (size_t)len, reader->complaints);
	free(text);
	fclose(from);
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
	const char *what = config_error_text(&reader->config), *included = config_error_file(&reader->config);
	unsigned line = (unsigned)config_error_line(&reader->config);
	const char *near = "";

	if (!what)
		what = "cannot be read";
	if (included) {
		complaint_add(
			reader->complaints, COMPLAINT_ERROR, included, line, "%s, expected `key = value;'", what);
		return;
	}
	if (strcmp(what, "syntax error") == 0 && scan_structure(reader->file, text, len, line, reader->complaints))
		return;
	int near_len = find_line(text, line, &near);
	complaint_add(reader->complaints, COMPLAINT_ERROR, reader->file, line, "%s at or before `%.*s'%s", what,
		near_len, near, strcmp(what, "syntax error") == 0 ? ", expected `key = value;'" : "");
}

static bool reader_parse(struct reader *reader, bool is_file, const char *text)
{
	int here = is_file ? enter_folder(reader->file) : -1;

	config_destroy(&reader->config);
	config_init(&reader->config);
	bool ok = config_read_string(&reader->config, text) == CONFIG_TRUE;
	for (unsigned i = 0; ok && i < reader->config.num_filenames; i++)
		scan_included(reader, reader->config.filenames[i]);
	return_folder(here);
	return ok;
}

struct reader *reader_new(const char *file, bool is_file, const char *text, size_t len, struct complaints *complaints)
{
	struct reader *reader = calloc(1, sizeof(*reader));
	char *straight = strndup(text, len);
	bool ok = false;

	if (!reader || !straight)
		abort();
	reader->file = file;
	reader->complaints = complaints;
	config_init(&reader->config);

	scan_values(file, text, len, complaints);
	if (strlen(straight) != len)
		goto out; /* a NUL byte: what libconfig would see is not what is there */
	scan_straighten(straight, len);
	ok = reader_parse(reader, is_file, straight);
	if (!ok && !(ok = reader_parse(reader, is_file, text))) /* once more, for the line of the error */
		complain_of_syntax(reader, text, len);
out:
	free(straight);
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
	free(reader);
}

const struct setting *reader_root(const struct reader *reader)
{
	return (const struct setting *)config_root_setting(&reader->config);
}
