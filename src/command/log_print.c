/* What a log adds up to, for people and for programs. Refuses to print a byte of a log that is not printable ASCII. Owns nothing. */
#include "escape.h"
#include "log_tally.h"
#include "snapshot_text.h"
#include <inttypes.h>
#include <string.h>

#define TIMES_MOST 48 /* lines of the table over time */
#define BAR_WIDTH  24

static const struct {
	const char *title, *key;
} kinds[TALLY_KINDS] = {
	[TALLY_SERVICE] = { "service", "services" },
	[TALLY_END] = { "end", "ends" },
	[TALLY_RULE] = { "rule", "rules" },
	[TALLY_NETWORK] = { "client network", "networks" },
	[TALLY_MINUTE] = { "time", "times" },
};

/* In the order in which they are shown, which ends their use as tables. */
static void tally_arrange(struct tally *tally)
{
	for (int kind = 0; kind < TALLY_MINUTE; kind++)
		tally_sort(&tally->groups[kind], false);
	tally_coarsen(&tally->groups[TALLY_MINUTE], TIMES_MOST);
}

static size_t shown_of(const struct tally *tally, enum tally_kind kind, size_t top)
{
	size_t n = tally->groups[kind].n;
	return kind == TALLY_NETWORK && n > top ? top : n;
}

/* ---- tables ---- */

static const char *printable(const char *text, char ret[TALLY_KEY_MAX])
{
	size_t i = 0;

	for (; text[i]; i++)
		ret[i] = escape_printable(text[i]);
	ret[i] = '\0';
	return ret;
}

static const char *time_text(const struct tally_times *times, unsigned percent, char ret[SNAPSHOT_TEXT_MAX])
{
	double us = tally_percentile(times, percent);

	if (!times)
		snprintf(ret, SNAPSHOT_TEXT_MAX, "-");
	else if (us < 1e6)
		snprintf(ret, SNAPSHOT_TEXT_MAX, "%.*f ms", us < 10000 ? 2 : 0, us / 1e3);
	else
		snapshot_duration_text(us / 1e6, ret);
	return ret;
}

static void show_times(const struct tally_entry *entry, FILE *to)
{
	static const unsigned percents[] = { 50, 90, 99 };
	char text[SNAPSHOT_TEXT_MAX];

	for (size_t i = 0; i < 3; i++)
		fprintf(to, " %8s", time_text(entry->decided, percents[i], text));
	for (size_t i = 0; i < 3; i++)
		fprintf(to, " %8s", time_text(entry->total, percents[i], text));
}

static uint64_t most_of(const struct tally_group *group)
{
	uint64_t most = 1;

	for (size_t i = 0; i < group->n; i++)
		most = group->entries[i].count > most ? group->entries[i].count : most;
	return most;
}

static void show_group(const struct tally *tally, enum tally_kind kind, size_t top, FILE *to)
{
	static const char bar[] = "########################"; /* BAR_WIDTH */
	const struct tally_group *group = &tally->groups[kind];
	uint64_t most = most_of(group);
	char key[TALLY_KEY_MAX], up[SNAPSHOT_TEXT_MAX], down[SNAPSHOT_TEXT_MAX];

	if (group->n == 0)
		return;
	fprintf(to, "\n%-24s %10s %6s %10s %10s", kinds[kind].title, "count", "%", "up", "down");
	if (kind == TALLY_SERVICE)
		fprintf(to, " %8s %8s %8s %8s %8s %8s", "decided", "90 %", "99 %", "total", "90 %", "99 %");
	putc('\n', to);
	for (size_t i = 0; i < shown_of(tally, kind, top); i++) {
		const struct tally_entry *entry = &group->entries[i];
		fprintf(to, "%-24s %10" PRIu64 " %6.2f %10s %10s", printable(entry->key, key), entry->count,
			100.0 * (double)entry->count / (double)tally->connections,
			snapshot_size_text((double)entry->bytes_up, up),
			snapshot_size_text((double)entry->bytes_down, down));
		if (kind == TALLY_SERVICE)
			show_times(entry, to);
		if (kind == TALLY_MINUTE)
			fprintf(to, " %.*s", (int)((entry->count * BAR_WIDTH + most - 1) / most), bar);
		putc('\n', to);
	}
	if (shown_of(tally, kind, top) < group->n)
		fprintf(to, "and %zu more\n", group->n - shown_of(tally, kind, top));
}

void tally_table(struct tally *tally, size_t top, FILE *to)
{
	char first[TALLY_KEY_MAX], last[TALLY_KEY_MAX], up[SNAPSHOT_TEXT_MAX], down[SNAPSHOT_TEXT_MAX];

	tally_arrange(tally);
	fprintf(to, "%" PRIu64 " connections, %s up, %s down", tally->connections,
		snapshot_size_text((double)tally->bytes_up, up), snapshot_size_text((double)tally->bytes_down, down));
	if (*tally->first)
		fprintf(to, ", %s to %s", printable(tally->first, first), printable(tally->last, last));
	fprintf(to, "; %" PRIu64 " other lines", tally->others);
	if (tally->broken)
		fprintf(to, ", %" PRIu64 " broken ones", tally->broken);
	putc('\n', to);
	for (int kind = 0; kind < TALLY_KINDS; kind++)
		show_group(tally, (enum tally_kind)kind, top, to);
}

/* ---- JSON ---- */

static void write_times(const char *key, const struct tally_times *times, FILE *to)
{
	if (times)
		fprintf(to, ", \"%s\": {\"count\": %" PRIu64 ", \"p50\": %.6f, \"p90\": %.6f, \"p99\": %.6f}", key,
			times->n, tally_percentile(times, 50) / 1e6, tally_percentile(times, 90) / 1e6,
			tally_percentile(times, 99) / 1e6);
}

static void write_entry(const struct tally_entry *entry, FILE *to)
{
	fputs("{\"name\": ", to);
	escape_json_write(to, entry->key, strlen(entry->key));
	fprintf(to, ", \"count\": %" PRIu64 ", \"bytes_up\": %" PRIu64 ", \"bytes_down\": %" PRIu64, entry->count,
		entry->bytes_up, entry->bytes_down);
	write_times("decided_s", entry->decided, to);
	write_times("total_s", entry->total, to);
	fputs("}", to);
}

void tally_json(struct tally *tally, size_t top, FILE *to)
{
	tally_arrange(tally);
	fprintf(to,
		"{\"connections\": %" PRIu64 ", \"bytes_up\": %" PRIu64 ", \"bytes_down\": %" PRIu64
		", \"other_lines\": %" PRIu64 ", \"broken_lines\": %" PRIu64,
		tally->connections, tally->bytes_up, tally->bytes_down, tally->others, tally->broken);
	escape_json_member(to, "first", *tally->first ? tally->first : NULL);
	escape_json_member(to, "last", *tally->last ? tally->last : NULL);
	for (int kind = 0; kind < TALLY_KINDS; kind++) {
		fprintf(to, ", \"%s\": [", kinds[kind].key);
		for (size_t i = 0; i < shown_of(tally, (enum tally_kind)kind, top); i++) {
			fputs(i ? ", " : "", to);
			write_entry(&tally->groups[kind].entries[i], to);
		}
		fputs("]", to);
	}
	fputs("}\n", to);
}
