/* Puts included files into the text of the file that includes them, and keeps where each line of the result stands:
 *
 *	a = 1;                          main:1
 *	                                main:2
 *	b = 2;                          inner:1
 *	                                main:2    what followed the directive on its line
 *	c = 3;                          main:3
 *
 * Refuses files that are no regular ones, more than DEPTH_MAX of them inside one another, and more than there is room for: so a file that
 * includes itself ends, and so does a pattern that matches the file that it stands in. Owns the text and the names of files. */
#include "includes.h"
#include "file.h"
#include "scan.h"
#include "text_file.h"
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 10    /* libconfig's own */
#define FILES_MAX 10000 /* in all */

/* From `first` on, lines stand at `line` of `file` and behind. */
struct piece {
	unsigned first, line;
	const char *file;
};

struct includes {
	const char *folder;
	struct sources *sources; /* NULL: not wanted */
	struct complaints *complaints;
	char *text;
	size_t len, room;
	size_t counted; /* so far its lines were */
	unsigned line;  /* that is there */
	struct piece *pieces;
	size_t n_pieces;
	char **names;
	size_t n_names;
	bool wrong;
};

/* Behind what is written. */
static void piece_add(struct includes *includes, const char *file, unsigned line)
{
	for (; includes->counted < includes->len; includes->counted++)
		includes->line += includes->text[includes->counted] == '\n';
	includes->pieces = reallocarray(includes->pieces, includes->n_pieces + 1, sizeof(*includes->pieces));
	if (!includes->pieces)
		abort();
	includes->pieces[includes->n_pieces++] = (struct piece){ includes->line, line, file };
}

static void put(struct includes *includes, const char *text, size_t len)
{
	if (includes->len + len >= includes->room) {
		includes->room = 2 * includes->len + len + 1;
		includes->text = realloc(includes->text, includes->room);
		if (!includes->text)
			abort();
	}
	memcpy(includes->text + includes->len, text, len);
	includes->len += len;
	includes->text[includes->len] = '\0';
}

static void includes_wrong(
	struct includes *includes, const char *file, unsigned line, const char *name, const char *why)
{
	includes->wrong = true;
	complaint_add(includes->complaints, COMPLAINT_ERROR, file, line, "the included file `%.200s' %s", name, why);
}

static const char *name_keep(struct includes *includes, char *name)
{
	includes->names = reallocarray(includes->names, includes->n_names + 1, sizeof(*includes->names));
	if (!name || !includes->names)
		abort();
	return includes->names[includes->n_names++] = name;
}

static const char *name_read(struct includes *includes, const struct scan_include *at)
{
	char *name = malloc((size_t)(at->path_end - at->path) + 1), *to = name;

	if (!name)
		abort();
	for (const char *from = at->path; from < at->path_end; from++) {
		from += *from == '\\' && from + 1 < at->path_end;
		*to++ = *from;
	}
	*to = '\0';
	return name_keep(includes, name);
}

static char *read_included(struct includes *includes, const char *name, size_t *ret_len, int *ret_error)
{
	char *path = NULL, *text = NULL;

	if (asprintf(&path, "%s%s%s", name[0] != '/' && includes->folder ? includes->folder : "",
		    name[0] != '/' && includes->folder ? "/" : "", name) < 0)
		abort();
	sources_add(includes->sources, path, false);
	*ret_error = text_file_load(path, &text, ret_len);
	free(path);
	return text;
}

static void expand(struct includes *includes, const char *file, const char *text, size_t len, unsigned depth);

/* `file`, at `line`, includes the file `name`. */
static void include_file(struct includes *includes, const char *file, unsigned line, const char *name, unsigned depth)
{
	char fault[128];
	size_t len = 0;
	int error = 0;

	if (depth == DEPTH_MAX) {
		includes_wrong(includes, file, line, name, "is too deep: 10 files include one another already");
		return;
	}
	if (includes->n_names > FILES_MAX) {
		includes_wrong(includes, file, line, name, "is one too many, expected at most 10000");
		return;
	}
	char *text = read_included(includes, name, &len, &error);
	if (!text) {
		includes_wrong(includes, file, line, name, text_file_fault(error, fault, sizeof(fault)));
	} else if (includes->len + len > TEXT_FILE_MAX) {
		includes_wrong(includes, file, line, name, "makes the configuration larger than 64 MiB");
	} else {
		put(includes, "\n", 1);
		piece_add(includes, name, 1);
		scan_values(name, text, len, includes->complaints);
		includes->wrong = includes->wrong || memchr(text, 0, len);
		expand(includes, name, text, len, depth + 1);
		put(includes, "\n", 1);
		piece_add(includes, file, line);
	}
	free(text);
}

/* ---- patterns ---- */

/* glob() passes no context on. */
static int folder_error;

static int folder_failed(const char *path, int error)
{
	folder_error = error == ENOENT || error == ENOTDIR ? 0 : error;
	return folder_error;
}

/* The folder as it is, whatever characters it has, and the pattern. *ret_prefix: how much of each match is the folder. */
static char *pattern_place(const struct includes *includes, const char *name, size_t *ret_prefix)
{
	const char *folder = name[0] != '/' && includes->folder ? includes->folder : NULL;
	size_t folder_len = folder ? strlen(folder) : 0;
	char *pattern = malloc(2 * folder_len + strlen(name) + 2), *to = pattern;

	if (!pattern)
		abort();
	*ret_prefix = folder ? folder_len + 1 : 0;
	for (size_t i = 0; i < folder_len; i++) {
		if (strchr("*?[\\", folder[i]))
			*to++ = '\\';
		*to++ = folder[i];
	}
	if (folder)
		*to++ = '/';
	strcpy(to, name);
	return pattern;
}

/* All files that match, in the order of their names' bytes: usher sets no locale. */
static void include_matches(
	struct includes *includes, const char *file, unsigned line, const char *name, unsigned depth)
{
	char why[128];
	size_t prefix;
	char *pattern = pattern_place(includes, name, &prefix);
	glob_t found = { 0 };

	sources_add(includes->sources, pattern, true);
	folder_error = 0;
	int r = glob(pattern, 0, folder_failed, &found);
	free(pattern);
	if (r == GLOB_NOSPACE)
		abort();
	if (r == GLOB_ABORTED) {
		snprintf(why, sizeof(why), "has a directory that cannot be read: %s", strerrordesc_np(folder_error));
		includes_wrong(includes, file, line, name, why);
	}
	for (size_t i = 0; r == 0 && i < found.gl_pathc && !includes->wrong; i++)
		include_file(includes, file, line, name_keep(includes, strdup(found.gl_pathv[i] + prefix)), depth);
	globfree(&found);
}

static void include(struct includes *includes, const char *file, const struct scan_include *at, unsigned depth)
{
	const char *name = name_read(includes, at);

	if (strpbrk(name, "*?["))
		include_matches(includes, file, at->line, name, depth);
	else
		include_file(includes, file, at->line, name, depth);
}

static void expand(struct includes *includes, const char *file, const char *text, size_t len, unsigned depth)
{
	const char *at = text, *end = text + len;
	struct scan_include found = { .line = 1 };

	while (!includes->wrong && scan_find_include(at, end, &found)) {
		put(includes, at, (size_t)(found.start - at));
		include(includes, file, &found, depth);
		at = found.end;
	}
	put(includes, at, (size_t)(end - at));
}

struct includes *includes_expand(const char *file, const char *folder, const char *text, size_t len,
	struct sources *sources, struct complaints *complaints)
{
	struct includes *includes = calloc(1, sizeof(*includes));

	if (!includes)
		abort();
	*includes = (struct includes){ .folder = folder, .sources = sources, .complaints = complaints, .line = 1 };
	piece_add(includes, file, 1);
	expand(includes, file, text, len, 0);
	if (!includes->wrong)
		return includes;
	includes_free(includes);
	return NULL;
}

void includes_free(struct includes *includes)
{
	if (!includes)
		return;
	for (size_t i = 0; i < includes->n_names; i++)
		free(includes->names[i]);
	free(includes->names);
	free(includes->pieces);
	free(includes->text);
	free(includes);
}

char *includes_text(const struct includes *includes, size_t *ret_len)
{
	*ret_len = includes->len;
	return includes->text;
}

bool includes_any(const struct includes *includes)
{
	return includes->n_pieces > 1;
}

const char *includes_place(const struct includes *includes, unsigned line, unsigned *ret_line)
{
	size_t low = 0, high = includes->n_pieces;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (includes->pieces[middle].first <= line)
			low = middle;
		else
			high = middle;
	}
	const struct piece *piece = &includes->pieces[low];
	*ret_line = piece->line + (line > piece->first ? line - piece->first : 0);
	return piece->file;
}
