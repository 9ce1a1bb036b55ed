/* A snapshot as tables. Refuses to write a byte of a text that is not printable ASCII. Owns nothing. */
#include "escape.h"
#include "snapshot.h"
#include "snapshot_live.h"
#include "snapshot_text.h"
#include <inttypes.h>
#include <string.h>
#include <time.h>

#define BACKEND_FORMAT "%-16s %-36s %-10s %8s %6s %6s %10s %8s %9s"
#define LIVE_FORMAT    "%-43s %-20s %s\n"
#define SESSION_FORMAT "%-8s %-24s %-14s %-10s %-12s %8s %10s %10s\n"

struct shown {
	char text[512];
};

static struct shown shown(const char *text)
{
	struct shown ret = { "-" };
	size_t len = 0;

	for (; text && text[len] && len < sizeof(ret.text) - 1; len++)
		ret.text[len] = escape_printable(text[len]);
	if (text)
		ret.text[len] = '\0';
	return ret;
}

static const char *since_text(int64_t since, char buf[SNAPSHOT_TEXT_MAX])
{
	return snapshot_duration_text((double)time(NULL) - (double)since, buf);
}

static void show_process(const struct snapshot *snapshot, FILE *to)
{
	char age[32];

	fprintf(to,
		"usher %s, process %" PRId64 ", %s, up for %s, %" PRIu64 " connections, %" PRIu64
		" of them undecided\n",
		shown(snapshot->version).text, snapshot->pid, snapshot_state_names[snapshot->state],
		since_text(snapshot->since, age), snapshot->connections, snapshot->undecided);
	for (size_t i = 0; i < snapshot->n_generations; i++) {
		const struct snapshot_generation *one = &snapshot->generations[i];
		fprintf(to, "  %s: %zu workers, %s\n", shown(one->state).text, one->n_workers, shown(one->file).text);
	}
	if (snapshot->reloading_since)
		fprintf(to, "  reloading: the configuration is being compiled, for %s\n",
			since_text(snapshot->reloading_since, age));
	if (snapshot->ending_since)
		fprintf(to, "  ending: no new connections, for %s\n", since_text(snapshot->ending_since, age));
}

static void show_totals(const struct snapshot_totals *totals, const char *title, FILE *to)
{
	bool any = false;

	for (size_t i = 0; i < totals->n; i++) {
		if (totals->items[i].count == 0)
			continue;
		fprintf(to, "%s%s %" PRIu64, any ? ", " : title, shown(totals->items[i].name).text,
			totals->items[i].count);
		any = true;
	}
	if (any)
		putc('\n', to);
}

void snapshot_table(const struct snapshot *snapshot, FILE *to)
{
	char up[32], down[32];

	show_process(snapshot, to);
	fprintf(to, "\n%-32s %8s %10s %8s\n", "listener", "open", "accepted", "shed");
	for (size_t i = 0; i < snapshot->n_listeners; i++) {
		const struct snapshot_listener *one = &snapshot->listeners[i];
		fprintf(to, "%-32s %8" PRIu64 " %10" PRIu64 " %8" PRIu64 "\n", shown(one->address).text, one->open,
			one->accepted, one->shed);
	}
	fprintf(to, "\n%-20s %8s %10s %8s %12s %12s\n", "service", "open", "total", "failed", "up", "down");
	for (size_t i = 0; i < snapshot->n_services; i++) {
		const struct snapshot_service *one = &snapshot->services[i];
		fprintf(to, "%-20s %8" PRIu64 " %10" PRIu64 " %8" PRIu64 " %12s %12s\n", shown(one->name).text,
			one->open, one->total, one->failed, snapshot_size_text((double)one->bytes_up, up),
			snapshot_size_text((double)one->bytes_down, down));
	}
	putc('\n', to);
	show_totals(&snapshot->ended, "ended:   ", to);
	show_totals(&snapshot->refused, "refused: ", to);
	show_totals(&snapshot->shed, "shed:    ", to);
	show_totals(&snapshot->lost, "lost:    ", to);
	show_totals(&snapshot->datagrams, "datagrams: ", to);
}

void snapshot_sessions_head(FILE *to)
{
	fprintf(to, SESSION_FORMAT, "id", "client", "service", "protocol", "phase", "age", "up", "down");
}

void snapshot_session_table(const struct snapshot_session *session, FILE *to)
{
	char id[32], age[32], up[32], down[32];

	snprintf(id, sizeof(id), "%" PRIu64, session->id);
	fprintf(to, SESSION_FORMAT, id, shown(session->client).text, shown(session->service).text,
		shown(session->protocol).text, shown(session->phase).text,
		snapshot_duration_text(session->age_s, age), snapshot_size_text((double)session->bytes_up, up),
		snapshot_size_text((double)session->bytes_down, down));
}

void snapshot_backends_head(FILE *to)
{
	fprintf(to, BACKEND_FORMAT "\n", "service", "backend", "state", "since", "weight", "open", "total", "failed",
		"latency");
}

static const char *count_text(uint64_t count, char buf[32])
{
	snprintf(buf, 32, "%" PRIu64, count);
	return buf;
}

/* `is_told`: why it is down is the result. */
static void show_check(const struct snapshot_check *check, bool is_told, const char *between, FILE *to)
{
	char ago[SNAPSHOT_TEXT_MAX];

	if (check->total == 0)
		fprintf(to, "%snot checked yet", between);
	else if (check->passed)
		fprintf(to, "%schecked %s ago: passed in %.1f ms", between, since_text(check->at, ago),
			check->latency_s * 1e3);
	else
		fprintf(to, "%schecked %s ago%s%s", between, since_text(check->at, ago), is_told ? "" : ": ",
			is_told ? "" : shown(check->result).text);
}

/* What has no column, because most have none of it. */
static void show_notes(const struct snapshot_backend *backend, FILE *to)
{
	const char *between = "  ";

	if (*backend->why) {
		fprintf(to, "%s%s", between, shown(backend->why).text);
		between = ", ";
	}
	if (backend->weight != backend->of_file) {
		fprintf(to, "%sweight %" PRIu64 " in the file", between, backend->of_file);
		between = ", ";
	}
	if (backend->most) {
		fprintf(to, "%sat most %" PRIu64, between, backend->most);
		between = ", ";
	}
	if (backend->backup) {
		fprintf(to, "%sbackup", between);
		between = ", ";
	}
	if (backend->check.is_there)
		show_check(&backend->check, strncmp(backend->why, "check: ", 7) == 0, between, to);
}

void snapshot_backend_table(const struct snapshot_backend *backend, FILE *to)
{
	char where[1100], since[32] = "-", weight[32], open[32], total[32], failed[32], latency[32] = "-";
	const char *address = *backend->address ? backend->address : "no address";

	if (backend->name)
		snprintf(where, sizeof(where), "%s (%s)", shown(backend->name).text, shown(address).text);
	else
		snprintf(where, sizeof(where), "%s", shown(address).text);
	if (backend->since)
		since_text(backend->since, since);
	if (backend->latency_s > 0)
		snprintf(latency, sizeof(latency), "%.1f ms", backend->latency_s * 1e3);
	fprintf(to, BACKEND_FORMAT, shown(backend->service).text, where, snapshot_backend_names[backend->state],
		since, count_text(backend->weight, weight), count_text(backend->open, open),
		count_text(backend->total, total), count_text(backend->failed, failed), latency);
	show_notes(backend, to);
	putc('\n', to);
}

void snapshot_live_head(FILE *to)
{
	fprintf(to, LIVE_FORMAT, "address", "what", "left");
}

void snapshot_live_table(const struct snapshot_live *live, FILE *to)
{
	char left[SNAPSHOT_TEXT_MAX], what[520] = "banned";

	if (live->service)
		snprintf(what, sizeof(what), "open: %s", shown(live->service).text);
	fprintf(to, LIVE_FORMAT, shown(live->address).text, what,
		live->ends ? snapshot_duration_text((double)live->left_s, left) : "-");
}
