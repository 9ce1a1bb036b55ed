/* Shows answers of the control socket to people. A worker that was taken over has a part in them, and whoever reads them may be
 * root at a terminal: refuses to print a byte that is not printable ASCII. Owns nothing past the call. */
#include "control_show.h"
#include "escape.h"
#include "snapshot.h"
#include "snapshot_live.h"
#include <jansson.h>
#include <string.h>

/* `ends`: may have several lines. What is wrong with a configuration is a line each. */
static void show_text(const char *text, bool ends, FILE *to)
{
	for (; *text; text++)
		putc(ends && *text == '\n' ? '\n' : escape_printable(*text), to);
	putc('\n', to);
}

static int show_status(const json_t *line, FILE *to)
{
	struct snapshot snapshot;

	int r = snapshot_read(&snapshot, line);
	if (r == 0)
		snapshot_table(&snapshot, to);
	else
		fputs("usher: out of memory\n", stderr);
	snapshot_fini(&snapshot);
	return r < 0;
}

static int show_session(const json_t *line, FILE *to)
{
	struct snapshot_session session;

	snapshot_session_read(&session, line);
	snapshot_session_table(&session, to);
	return 0;
}

static int show_backend(const json_t *line, FILE *to)
{
	struct snapshot_backend backend;

	snapshot_backend_read(&backend, line);
	snapshot_backend_table(&backend, to);
	return 0;
}

static int show_live(const json_t *line, FILE *to)
{
	struct snapshot_live live;

	snapshot_live_read(&live, line);
	snapshot_live_table(&live, to);
	return 0;
}

/* Answers that are a line for each of many. */
static const struct listing {
	const char *word;
	void (*head)(FILE *to);
	int (*line)(const json_t *line, FILE *to);
} listings[] = {
	{ "sessions", snapshot_sessions_head, show_session },
	{ "backends", snapshot_backends_head, show_backend },
	{ "bans", snapshot_live_head, show_live },
};

/* NULL: it is not one of them. */
static const struct listing *listing_find(const char *word)
{
	for (size_t i = 0; i < sizeof(listings) / sizeof(listings[0]); i++)
		if (strcmp(listings[i].word, word) == 0)
			return &listings[i];
	return NULL;
}

/* 1 where it says that something went wrong. */
static int show_line(const char *word, const json_t *line, FILE *to)
{
	const char *error = json_string_value(json_object_get(line, "error"));
	const char *done = json_string_value(json_object_get(line, "done"));

	if (error) {
		fputs("usher: ", stderr);
		show_text(error, true, stderr);
		return 1;
	}
	if (strcmp(word, "status") == 0)
		return show_status(line, to);
	if (listing_find(word))
		return listing_find(word)->line(line, to);
	show_text(done ? done : "-", false, to);
	return 0;
}

static bool line_is_printable(const char *line)
{
	while (*line && escape_printable(*line) == *line)
		line++;
	return !*line;
}

int control_show(const char *word, char *answer, bool json, FILE *to)
{
	const struct listing *list = listing_find(word);
	char *rest = NULL;
	int status = 0;

	if (!*answer && !list) {
		fputs("usher: no answer\n", stderr);
		return 1;
	}
	if (!json && list && strncmp(answer, "{\"error\"", 8) != 0)
		list->head(to);
	for (char *line = strtok_r(answer, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		json_t *value = line_is_printable(line) ? json_loads(line, 0, NULL) : NULL;
		if (!value) {
			fputs("usher: a line of the answer is not what usher says, and is left out\n", stderr);
			status = 1;
		} else if (json) {
			fprintf(to, "%s\n", line);
			status |= json_object_get(value, "error") != NULL;
		} else {
			status |= show_line(word, value, to);
		}
		json_decref(value);
	}
	return status;
}
