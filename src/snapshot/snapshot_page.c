/* The page: state, rates and charts of the last minutes, services, listeners, and how sessions ended. Refuses to write a byte of a name
 * that is not printable ASCII, and more rows than a person reads. Owns nothing. */
#include "snapshot_page.h"
#include "counters.h"
#include "digest.h"
#include "escape.h"
#include "snapshot.h"
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#define ROWS_MAX  200
#define ROWS_FEW  30 /* of more services those alone are shown that have had a client */
#define CHART_W   300
#define CHART_H   40
#define REFRESH_S 5 /* without the script */

/* ---- words and numbers ---- */

static void put_text(const char *text, FILE *to)
{
	for (; *text; text++) {
		char c = escape_printable(*text);
		switch (c) {
		case '<':
			fputs("&lt;", to);
			break;
		case '>':
			fputs("&gt;", to);
			break;
		case '&':
			fputs("&amp;", to);
			break;
		case '"':
			fputs("&quot;", to);
			break;
		default:
			putc(c, to);
		}
	}
}

/* With a narrow space between thousands. */
static void put_count(uint64_t count, FILE *to)
{
	if (count >= 1000) {
		put_count(count / 1000, to);
		fprintf(to, "&#8239;%03u", (unsigned)(count % 1000));
	} else {
		fprintf(to, "%u", (unsigned)count);
	}
}

static void put_bytes(double bytes, FILE *to)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	size_t unit = 0;

	for (; bytes >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
		bytes /= 1024;
	fprintf(to, unit && bytes < 100 ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
}

static void put_rate(double rate, FILE *to)
{
	if (rate > 0 && rate < 10)
		fprintf(to, "%.1f", rate);
	else
		put_count((uint64_t)(rate + 0.5), to);
}

static void put_duration(int64_t seconds, FILE *to)
{
	if (seconds < 60)
		fprintf(to, "%" PRId64 " s", seconds > 0 ? seconds : 0);
	else if (seconds < 3600)
		fprintf(to, "%" PRId64 " min", seconds / 60);
	else if (seconds < 86400)
		fprintf(to, "%" PRId64 " h %" PRId64 " min", seconds / 3600, seconds / 60 % 60);
	else
		fprintf(to, "%" PRId64 " d %" PRId64 " h", seconds / 86400, seconds / 3600 % 24);
}

static void put_us(double us, FILE *to)
{
	if (us < 1000)
		fprintf(to, "%.0f &#181;s", us);
	else if (us < 1e6)
		fprintf(to, us < 1e4 ? "%.1f ms" : "%.0f ms", us / 1000);
	else
		fprintf(to, "%.1f s", us / 1e6);
}

/* ---- the head ---- */

static void put_process(const struct snapshot *snapshot, int64_t now_s, FILE *to)
{
	bool serves = snapshot->state == SNAPSHOT_SERVING;
	size_t workers = 0;

	for (size_t i = 0; i < snapshot->n_generations; i++)
		workers += snapshot->generations[i].n_workers;
	fprintf(to, "<header><h1>usher</h1><span class=\"state%s\">%s", serves ? "" : " warn",
		snapshot_state_names[snapshot->state]);
	if (snapshot->state == SNAPSHOT_ENDING)
		fputs(": no new clients", to);
	fputs("</span><p>version ", to);
	put_text(snapshot->version, to);
	fputs(" &#183; up for ", to);
	put_duration(now_s - snapshot->since, to);
	fprintf(to, " &#183; process %" PRId64 " &#183; %zu worker%s &#183; ", snapshot->pid, workers,
		workers == 1 ? "" : "s");
	put_text(snapshot->file, to);
	fputs("</p></header>\n", to);
}

/* ---- charts ---- */

/* What a chart shows at the i-th sample; a rate is since the one before it. */
struct chart {
	const char *title;
	double (*value)(const struct sample *samples, size_t i);
	bool is_rate, is_bytes;
};

static double value_open(const struct sample *samples, size_t i)
{
	return (double)samples[i].open;
}

static double value_accepted(const struct sample *samples, size_t i)
{
	return history_rate(samples[i - 1].accepted, samples[i].accepted, &samples[i - 1], &samples[i]);
}

static double value_turned_away(const struct sample *samples, size_t i)
{
	return history_rate(samples[i - 1].turned_away, samples[i].turned_away, &samples[i - 1], &samples[i]);
}

static double value_bytes(const struct sample *samples, size_t i)
{
	return history_rate(samples[i - 1].bytes, samples[i].bytes, &samples[i - 1], &samples[i]);
}

static void put_value(const struct chart *chart, double value, FILE *to)
{
	if (chart->is_bytes)
		put_bytes(value, to);
	else
		put_rate(value, to);
}

static void put_curve(
	const struct chart *chart, const struct sample *samples, size_t n, size_t first, double most, FILE *to)
{
	int64_t from_s = samples[first].at_s, span_s = samples[n - 1].at_s - from_s;

	for (size_t i = first; i < n; i++)
		fprintf(to, "%.1f,%.1f ", CHART_W * (double)(samples[i].at_s - from_s) / (double)span_s,
			CHART_H - 1 - (most > 0 ? chart->value(samples, i) / most : 0) * (CHART_H - 3));
}

static void put_chart(const struct chart *chart, const struct sample *samples, size_t n, FILE *to)
{
	size_t first = chart->is_rate ? 1 : 0;
	double most = 0;

	if (n <= first + 1) { /* the last minutes are yet to come */
		fprintf(to, "<svg viewBox=\"0 0 %d %d\" aria-hidden=\"true\"></svg><small>&#160;</small>", CHART_W,
			CHART_H);
		return;
	}
	for (size_t i = first; i < n; i++)
		most = chart->value(samples, i) > most ? chart->value(samples, i) : most;
	fprintf(to,
		"<svg viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
		"<polygon class=\"area\" points=\"0,%d ",
		CHART_W, CHART_H, CHART_H);
	put_curve(chart, samples, n, first, most, to);
	fprintf(to, "%d,%d\"/><polyline class=\"curve\" points=\"", CHART_W, CHART_H);
	put_curve(chart, samples, n, first, most, to);
	fputs("\"/></svg><small>at most ", to);
	put_value(chart, most, to);
	fputs(" in ", to);
	put_duration(samples[n - 1].at_s - samples[first].at_s, to);
	fputs("</small>", to);
}

static void put_charts(const struct snapshot *snapshot, const struct sample *samples, size_t n, FILE *to)
{
	static const struct chart charts[] = {
		{ "Open connections", value_open, false, false },
		{ "New connections", value_accepted, true, false },
		{ "Turned away or failed", value_turned_away, true, false },
		{ "Bytes of ended connections", value_bytes, true, true },
	};

	fputs("<ul class=\"tiles\">\n", to);
	for (size_t i = 0; i < sizeof(charts) / sizeof(charts[0]); i++) {
		const struct chart *chart = &charts[i];
		fprintf(to, "<li><h2>%s</h2><strong>", chart->title);
		if (!chart->is_rate)
			put_count(snapshot->connections, to);
		else
			put_value(chart, n > 1 ? chart->value(samples, n - 1) : 0, to);
		fprintf(to, "%s</strong>", chart->is_rate ? "<small> /s</small>" : "");
		put_chart(chart, samples, n, to);
		fputs("</li>\n", to);
	}
	fputs("</ul>\n", to);
}

/* ---- tables ---- */

/* `heads` end with NULL; the first column is the rows' name. */
static void table_begin(const char *title, const char *const *heads, FILE *to)
{
	fprintf(to,
		"<section><h2>%s</h2><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"%s\">"
		"<table><thead><tr>",
		title, title);
	for (; *heads; heads++)
		fprintf(to, "<th scope=\"col\">%s</th>", *heads);
	fputs("</tr></thead><tbody>\n", to);
}

static void table_end(FILE *to)
{
	fputs("</tbody></table></div></section>\n", to);
}

static void row_begin(const char *name, FILE *to)
{
	fputs("<tr><th scope=\"row\">", to);
	put_text(name, to);
	fputs("</th>", to);
}

static void cell_count(uint64_t count, const char *class, FILE *to)
{
	fprintf(to, "<td%s%s%s>", *class ? " class=\"" : "", class, *class ? "\"" : "");
	put_count(count, to);
	fputs("</td>", to);
}

static void cell_bytes(uint64_t bytes, FILE *to)
{
	fputs(bytes ? "<td>" : "<td class=\"none\">", to);
	put_bytes((double)bytes, to);
	fputs("</td>", to);
}

/* The time that so many of a hundred sessions did not exceed, as far as buckets tell it. Below 0: there were none. */
static double percentile(const struct measured *measured, enum histogram_kind kind, unsigned percent)
{
	uint64_t n = 0, below = 0;

	for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++)
		n += measured->buckets[i];
	double wanted = (double)n * percent / 100;
	for (size_t i = 0; i < HISTOGRAM_BOUNDS && n > 0; i++) {
		double least = i ? (double)histogram_bounds[kind][i - 1] : 0;
		double width = (double)histogram_bounds[kind][i] - least;
		if ((double)(below + measured->buckets[i]) >= wanted && measured->buckets[i] > 0)
			return least + width * (wanted - (double)below) / (double)measured->buckets[i];
		below += measured->buckets[i];
	}
	return n ? (double)histogram_bounds[kind][HISTOGRAM_BOUNDS - 1] : -1;
}

static void cell_time(const struct snapshot_service *service, enum histogram_kind kind, FILE *to)
{
	double us = service->measured ? percentile(&service->measured[kind], kind, 95) : -1;

	if (us < 0) {
		fputs("<td class=\"none\">&#8211;</td>", to);
		return;
	}
	fputs("<td>", to);
	put_us(us, to);
	fputs("</td>", to);
}

static void put_services(const struct snapshot *snapshot, FILE *to)
{
	static const char *const heads[] = { "Service", "Open", "In all", "Failed", "Up", "Down", "Decided within",
		"Connected within", "Answered within", NULL };
	size_t shown = 0;

	table_begin("Services", heads, to);
	for (size_t i = 0; i < snapshot->n_services && shown < ROWS_MAX; i++) {
		const struct snapshot_service *one = &snapshot->services[i];
		if (snapshot->n_services > ROWS_FEW && !one->total && !one->open)
			continue;
		row_begin(one->name, to);
		cell_count(one->open, one->open ? "" : "none", to);
		cell_count(one->total, one->total ? "" : "none", to);
		cell_count(one->failed, one->failed ? "bad" : "none", to);
		cell_bytes(one->bytes_up, to);
		cell_bytes(one->bytes_down, to);
		cell_time(one, HISTOGRAM_DECISION, to);
		cell_time(one, HISTOGRAM_CONNECT, to);
		cell_time(one, HISTOGRAM_ANSWER, to);
		fputs("</tr>\n", to);
		shown++;
	}
	table_end(to);
	fputs("<p class=\"note\">Times are those of 95 of 100 connections, from accept to the decision and from "
	      "there on. "
	      "Bytes are those of connections that have ended.",
		to);
	if (shown < snapshot->n_services) {
		fputs(" Not shown: ", to);
		put_count(snapshot->n_services - shown, to);
		fputs(" services.", to);
	}
	fputs("</p>\n", to);
}

static void put_backend(const struct snapshot_backend *one, int64_t now_s, FILE *to)
{
	const char *class = one->state == SNAPSHOT_BACKEND_UP ? "" : " class=\"bad\"";

	row_begin(one->service, to);
	fputs("<td>", to);
	put_text(*one->address ? one->address : one->name ? one->name : "-", to);
	fprintf(to, "</td><td%s>%s", class, snapshot_backend_names[one->state]);
	if (*one->why) {
		fputs(": ", to);
		put_text(one->why, to);
	}
	if (one->since) {
		fputs(", for ", to);
		put_duration(now_s - one->since, to);
	}
	fputs("</td>", to);
	cell_count(one->open, one->open ? "" : "none", to);
	cell_count(one->total, one->total ? "" : "none", to);
	cell_count(one->failed, one->failed ? "bad" : "none", to);
	fputs(one->latency_s > 0 ? "<td>" : "<td class=\"none\">", to);
	if (one->latency_s > 0)
		put_us(one->latency_s * 1e6, to);
	fputs("</td></tr>\n", to);
}

/* Of many, those that are in use or not up. */
static void put_backends(const struct snapshot *snapshot, int64_t now_s, FILE *to)
{
	static const char *const heads[] = { "Service", "Backend", "State", "Open", "In all", "Failed", "Latency",
		NULL };
	size_t shown = 0;

	if (snapshot->n_backends == 0)
		return;
	table_begin("Backends", heads, to);
	for (size_t i = 0; i < snapshot->n_backends && shown < ROWS_MAX; i++) {
		const struct snapshot_backend *one = &snapshot->backends[i];
		if (snapshot->n_backends > ROWS_FEW && !one->total && one->state == SNAPSHOT_BACKEND_UP)
			continue;
		put_backend(one, now_s, to);
		shown++;
	}
	table_end(to);
	if (shown < snapshot->n_backends) {
		fputs("<p class=\"note\">Not shown: ", to);
		put_count(snapshot->n_backends - shown, to);
		fputs(" backends.</p>\n", to);
	}
}

static void put_listeners(const struct snapshot *snapshot, FILE *to)
{
	static const char *const heads[] = { "Listener", "Open", "In all", "Shed", NULL };

	table_begin("Listeners", heads, to);
	for (size_t i = 0; i < snapshot->n_listeners && i < ROWS_MAX; i++) {
		const struct snapshot_listener *one = &snapshot->listeners[i];
		row_begin(one->address, to);
		cell_count(one->open, one->open ? "" : "none", to);
		cell_count(one->accepted, one->accepted ? "" : "none", to);
		cell_count(one->shed, one->shed ? "bad" : "none", to);
		fputs("</tr>\n", to);
	}
	table_end(to);
}

struct totals_shown {
	const struct snapshot_totals *totals;
	const char *prefix; /* in front of each name */
};

static void put_totals(const char *title, const char *head, const char *nothing, const struct totals_shown *shown,
	size_t n, FILE *to)
{
	const char *const heads[] = { head, "Since the start", NULL };
	bool any = false;

	for (size_t k = 0; k < n; k++) {
		for (size_t i = 0; i < shown[k].totals->n; i++) {
			const struct snapshot_total *total = &shown[k].totals->items[i];
			if (!total->count)
				continue;
			if (!any)
				table_begin(title, heads, to);
			any = true;
			fprintf(to, "<tr><th scope=\"row\">%s", shown[k].prefix);
			put_text(total->name, to);
			fputs("</th>", to);
			cell_count(total->count, "", to);
			fputs("</tr>\n", to);
		}
	}
	if (any)
		table_end(to);
	else
		fprintf(to, "<section><h2>%s</h2><p>%s</p></section>\n", title, nothing);
}

/* ---- the whole ---- */

void snapshot_page(
	const struct snapshot *snapshot, const struct sample *samples, size_t n_samples, int64_t now_s, FILE *to)
{
	const struct totals_shown ended[] = { { &snapshot->ended, "" } };
	const struct totals_shown away[] = { { &snapshot->refused, "refused: " }, { &snapshot->shed, "shed: " },
		{ &snapshot->lost, "lost: " }, { &snapshot->datagrams, "datagrams: " } };

	fprintf(to,
		"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
		"<meta name=\"viewport\" content=\"width=device-width\"><title>usher: %s</title>"
		"<noscript><meta http-equiv=\"refresh\" content=\"%d\"></noscript>"
		"<style>%s</style></head>\n<body><p id=\"stale\" role=\"status\" hidden>usher does not answer: this "
		"is what it "
		"said last</p><main>\n",
		snapshot_state_names[snapshot->state], REFRESH_S, page_style);
	put_process(snapshot, now_s, to);
	put_charts(snapshot, samples, n_samples, to);
	put_services(snapshot, to);
	put_backends(snapshot, now_s, to);
	put_listeners(snapshot, to);
	fputs("<div class=\"pair\">\n", to);
	put_totals("How connections ended", "End", "None has ended yet.", ended, 1, to);
	put_totals("Turned away and lost", "Reason", "Nothing was.", away, sizeof(away) / sizeof(away[0]), to);
	fprintf(to, "</div></main><script>%s</script></body></html>\n", page_script);
}

/* RFC 4648 4, of a digest. */
static void base64_write(char *to, const uint8_t *bytes, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < len; i += 3) {
		uint32_t three = (uint32_t)bytes[i] << 16;
		three |= i + 1 < len ? (uint32_t)bytes[i + 1] << 8 : 0;
		three |= i + 2 < len ? bytes[i + 2] : 0;
		*to++ = digits[three >> 18];
		*to++ = digits[three >> 12 & 63];
		*to++ = i + 1 < len ? digits[three >> 6 & 63] : '=';
		*to++ = i + 2 < len ? digits[three & 63] : '=';
	}
	*to = '\0';
}

const char *snapshot_page_security(void)
{
	static char security[512];
	uint8_t digest[SHA256_LEN];
	char style[64] = "", script[64] = "";

	if (security[0])
		return security;
	if (digest_sha256(digest, page_style, strlen(page_style)))
		base64_write(style, digest, sizeof(digest));
	if (digest_sha256(digest, page_script, strlen(page_script)))
		base64_write(script, digest, sizeof(digest));
	snprintf(security, sizeof(security),
		"default-src 'none'; style-src 'sha256-%s'; script-src 'sha256-%s'; connect-src 'self'; base-uri "
		"'none'; "
		"form-action 'none'; frame-ancestors 'none'",
		style, script);
	return security;
}
