/* Shows answers of the control socket to people. A worker that was taken over has a part in them, and whoever reads them may be
 * root at a terminal: refuses to print a byte that is not printable ASCII. Owns nothing past the call. */
#include "control_show.h"
#include <jansson.h>
#include <string.h>
#include <time.h>

#define LINE_FORMAT "%-8s %-24s %-14s %-10s %-12s %8s %10s %10s\n"

struct shown {
	char text[512];
};

static bool is_printable(char c)
{
	return c >= ' ' && c <= '~';
}

static struct shown shown(const char *text)
{
	struct shown ret;
	size_t len = strnlen(text, sizeof(ret.text) - 1);

	for (size_t i = 0; i < len; i++)
		ret.text[i] = is_printable(text[i]) ? text[i] : '?';
	ret.text[len] = '\0';
	return ret;
}

static struct shown text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return shown(text ? text : "-");
}

static json_int_t whole_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static const char *size_text(json_int_t bytes, char buf[32])
{
	static const char units[] = " KMGTP";
	double size = (double)bytes;
	size_t unit = 0;

	while (size >= 1024 && unit + 2 < sizeof(units)) {
		size /= 1024;
		unit++;
	}
	snprintf(buf, 32, unit ? "%.1f %ciB" : "%.0f B", size, units[unit]);
	return buf;
}

static const char *duration_text(double seconds, char buf[32])
{
	if (seconds < 60)
		snprintf(buf, 32, "%.1f s", seconds);
	else if (seconds < 3600)
		snprintf(buf, 32, "%.0f min", seconds / 60);
	else if (seconds < 86400)
		snprintf(buf, 32, "%.1f h", seconds / 3600);
	else
		snprintf(buf, 32, "%.1f d", seconds / 86400);
	return buf;
}

static void show_counts(json_t *counts, const char *title, FILE *to)
{
	const char *key;
	json_t *value;
	bool any = false;

	json_object_foreach(counts, key, value)
	{
		if (json_integer_value(value) == 0)
			continue;
		fprintf(to, "%s%s %lld", any ? ", " : title, shown(key).text, (long long)json_integer_value(value));
		any = true;
	}
	if (any)
		putc('\n', to);
}

static void show_status(const json_t *status, FILE *to)
{
	char a[32], b[32];
	size_t i;
	json_t *one;

	fprintf(to, "usher %s, process %lld, %s, up for %s, %lld connections, %lld of them undecided\n",
		text_of(status, "version").text, (long long)whole_of(status, "pid"), text_of(status, "state").text,
		duration_text((double)time(NULL) - (double)whole_of(status, "since"), a),
		(long long)whole_of(status, "connections"), (long long)whole_of(status, "undecided"));
	json_array_foreach(json_object_get(status, "generations"), i, one)
	{
		fprintf(to, "  %s: %zu workers, %s\n", text_of(one, "state").text,
			json_array_size(json_object_get(one, "workers")), text_of(one, "file").text);
	}
	if (json_object_get(status, "reloading_since"))
		fprintf(to, "  reloading: the configuration is being compiled, for %s\n",
			duration_text((double)time(NULL) - (double)whole_of(status, "reloading_since"), a));
	if (json_object_get(status, "ending_since"))
		fprintf(to, "  ending: no new connections, for %s\n",
			duration_text((double)time(NULL) - (double)whole_of(status, "ending_since"), a));
	fprintf(to, "\n%-32s %8s %10s %8s\n", "listener", "open", "accepted", "shed");
	json_array_foreach(json_object_get(status, "listeners"), i, one)
	{
		fprintf(to, "%-32s %8lld %10lld %8lld\n", text_of(one, "address").text,
			(long long)whole_of(one, "open"), (long long)whole_of(one, "accepted"),
			(long long)whole_of(one, "shed"));
	}
	fprintf(to, "\n%-20s %8s %10s %8s %12s %12s\n", "service", "open", "total", "failed", "up", "down");
	json_array_foreach(json_object_get(status, "services"), i, one)
	{
		fprintf(to, "%-20s %8lld %10lld %8lld %12s %12s\n", text_of(one, "name").text,
			(long long)whole_of(one, "open"), (long long)whole_of(one, "total"),
			(long long)whole_of(one, "failed"), size_text(whole_of(one, "bytes_up"), a),
			size_text(whole_of(one, "bytes_down"), b));
	}
	putc('\n', to);
	show_counts(json_object_get(status, "ended"), "ended:   ", to);
	show_counts(json_object_get(status, "refused"), "refused: ", to);
	show_counts(json_object_get(status, "shed"), "shed:    ", to);
	show_counts(json_object_get(status, "lost"), "lost:    ", to);
}

static void show_session(const json_t *session, FILE *to)
{
	char id[32], age[32], up[32], down[32];

	snprintf(id, sizeof(id), "%lld", (long long)whole_of(session, "id"));
	fprintf(to, LINE_FORMAT, id, text_of(session, "client").text, text_of(session, "service").text,
		text_of(session, "protocol").text, text_of(session, "phase").text,
		duration_text(json_real_value(json_object_get(session, "age_s")), age),
		size_text(whole_of(session, "bytes_up"), up), size_text(whole_of(session, "bytes_down"), down));
}

/* What is wrong with a configuration is a line each. */
static void show_error(const char *error)
{
	fputs("usher: ", stderr);
	for (; *error; error++)
		putc(is_printable(*error) || *error == '\n' ? *error : '?', stderr);
	putc('\n', stderr);
}

/* 1 where it says that something went wrong. */
static int show_line(const char *word, const json_t *line, FILE *to)
{
	const char *error = json_string_value(json_object_get(line, "error"));

	if (error) {
		show_error(error);
		return 1;
	}
	if (strcmp(word, "status") == 0)
		show_status(line, to);
	else if (strcmp(word, "sessions") == 0)
		show_session(line, to);
	else
		fprintf(to, "%s\n", text_of(line, "done").text);
	return 0;
}

static bool line_is_printable(const char *line)
{
	while (is_printable(*line))
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
		fprintf(to, LINE_FORMAT, "id", "client", "service", "protocol", "phase", "age", "up", "down");
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
