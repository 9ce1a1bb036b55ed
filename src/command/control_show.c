/* Shows answers of the control socket to people. A worker that was taken over has a part in them, and whoever reads them may be
 * root at a terminal: refuses to print a byte that is not printable ASCII. Owns nothing past the call. */
#include "control_show.h"
#include "escape.h"
#include "snapshot.h"
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
	if (strcmp(word, "sessions") == 0)
		return show_session(line, to);
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
	char *rest = NULL;
	int status = 0;

	if (!*answer && strcmp(word, "sessions") != 0) {
		fputs("usher: no answer\n", stderr);
		return 1;
	}
	if (!json && strcmp(word, "sessions") == 0 && strncmp(answer, "{\"error\"", 8) != 0)
		snapshot_sessions_head(to);
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
