/* A snapshot in the text formats that Prometheus reads: its own (version 0.0.4) and OpenMetrics (1.0). They differ in the names of
 * counters' families, units, and the end. Labels are names of the configuration and of usher: never what a client said. Refuses nothing;
 * owns nothing. */
#include "counters.h"
#include "escape.h"
#include "snapshot.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct metrics {
	const struct snapshot *snapshot;
	bool is_open; /* OpenMetrics */
	FILE *to;
	size_t used;
	char buffer[65536]; /* what is not written yet: a hundred thousand lines take a few milliseconds */
};

static void put_bytes(struct metrics *metrics, const char *bytes, size_t len)
{
	if (len > sizeof(metrics->buffer) - metrics->used) {
		fwrite(metrics->buffer, 1, metrics->used, metrics->to);
		metrics->used = 0;
	}
	if (len > sizeof(metrics->buffer)) {
		fwrite(bytes, 1, len, metrics->to);
		return;
	}
	memcpy(metrics->buffer + metrics->used, bytes, len);
	metrics->used += len;
}

static void put(struct metrics *metrics, const char *text)
{
	put_bytes(metrics, text, strlen(text));
}

static void put_number(struct metrics *metrics, uint64_t number)
{
	char digits[20];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + number % 10);
	while (number /= 10);
	put_bytes(metrics, digits + at, sizeof(digits) - at);
}

static void put_value(struct metrics *metrics, uint64_t number)
{
	put(metrics, " ");
	put_number(metrics, number);
	put(metrics, "\n");
}

/* `name` ends with the quotation mark in front of the value. */
static void put_label(struct metrics *metrics, const char *name, const char *value)
{
	put(metrics, name);
	for (; *value; value++) {
		const char escaped[] = { '\\', escape_printable(*value) };
		bool is_special = *value == '"' || *value == '\\';
		put_bytes(metrics, escaped + !is_special, is_special ? 2 : 1);
	}
	put(metrics, "\"");
}

/* name{label="value" */
static void put_sample(struct metrics *metrics, const char *name, const char *label, const char *value)
{
	put(metrics, name);
	put(metrics, "{");
	put(metrics, label);
	put_label(metrics, "=\"", value);
}

static void put_line(struct metrics *metrics, const char *name, const char *label, const char *value, uint64_t number)
{
	put_sample(metrics, name, label, value);
	put(metrics, "}");
	put_value(metrics, number);
}

static void put_comment(struct metrics *metrics, const char *what, const char *name, size_t len, const char *text)
{
	put(metrics, what);
	put_bytes(metrics, name, len);
	put(metrics, " ");
	put(metrics, text);
	put(metrics, "\n");
}

/* `name` is that of the samples. OpenMetrics calls a counter's family without "_total". */
static void put_family(
	struct metrics *metrics, const char *name, const char *type, const char *unit, const char *help)
{
	bool is_counter = strcmp(type, "counter") == 0;
	size_t len = strlen(name) - (metrics->is_open && is_counter ? strlen("_total") : 0);

	put_comment(metrics, "# HELP ", name, len, help);
	put_comment(metrics, "# TYPE ", name, len, type);
	if (unit && metrics->is_open)
		put_comment(metrics, "# UNIT ", name, len, unit);
}

static void put_gauge(struct metrics *metrics, const char *name, const char *help, uint64_t value)
{
	put_family(metrics, name, "gauge", NULL, help);
	put(metrics, name);
	put_value(metrics, value);
}

/* ---- the process ---- */

static void put_workers(struct metrics *metrics)
{
	const struct snapshot *snapshot = metrics->snapshot;

	put_family(metrics, "usher_workers", "gauge", NULL, "Worker processes, by what their generation does.");
	for (int state = 0; state < SNAPSHOT_GENERATION_STATES; state++) {
		const char *name = snapshot_generation_names[state];
		uint64_t n = 0;
		for (size_t i = 0; i < snapshot->n_generations; i++)
			if (strcmp(snapshot->generations[i].state, name) == 0)
				n += snapshot->generations[i].n_workers;
		put_line(metrics, "usher_workers", "state", name, n);
	}
}

static void put_process(struct metrics *metrics)
{
	const struct snapshot *snapshot = metrics->snapshot;

	put_family(metrics, "usher_build_info", "gauge", NULL, "The version of the running usher; always 1.");
	put_line(metrics, "usher_build_info", "version", snapshot->version, 1);
	put_family(metrics, "usher_start_time_seconds", "gauge", "seconds", "When usher was started, since 1970.");
	put(metrics, "usher_start_time_seconds");
	put_value(metrics, (uint64_t)snapshot->since);
	put_family(metrics, "usher_state", "gauge", NULL, "What usher does: 1 at one of the states.");
	for (int state = SNAPSHOT_SERVING; state < SNAPSHOT_STATES; state++)
		put_line(metrics, "usher_state", "state", snapshot_state_names[state],
			(enum snapshot_state)state == snapshot->state);
	put_workers(metrics);
	put_gauge(metrics, "usher_open_connections", "Connections and flows that are open.", snapshot->connections);
	put_gauge(metrics, "usher_undecided_connections", "Connections and flows that are not decided yet.",
		snapshot->undecided);
	put_gauge(metrics, "usher_max_connections", "Connections and flows that there is room for.",
		snapshot->room.in_all);
	put_gauge(metrics, "usher_programs", "Programs that run for services.", snapshot->programs);
}

/* ---- totals by name ---- */

static void put_totals(struct metrics *metrics, const struct snapshot_totals *totals, const char *name,
	const char *label, const char *help)
{
	put_family(metrics, name, "counter", NULL, help);
	for (size_t i = 0; i < totals->n; i++)
		put_line(metrics, name, label, totals->items[i].name, totals->items[i].count);
}

static void put_all_totals(struct metrics *metrics)
{
	const struct snapshot *snapshot = metrics->snapshot;

	put_totals(metrics, &snapshot->ended, "usher_ended_total", "end",
		"Connections and flows that have ended, by their end.");
	put_totals(metrics, &snapshot->refused, "usher_refused_total", "rule",
		"Connections and flows that were refused, by the rule.");
	put_totals(metrics, &snapshot->shed, "usher_shed_total", "limit",
		"Connections and flows that were shed, by the limit.");
	put_totals(metrics, &snapshot->lost, "usher_lost_total", "queue", "Log lines that were lost, by the queue.");
	put_totals(metrics, &snapshot->datagrams, "usher_datagrams_total", "event",
		"Datagrams that did not simply go on, by what became of them.");
}

/* ---- listeners and services ---- */

#define MEMBER(of, member) ((const uint64_t *)(const void *)((const char *)(of) + (member)))

static void put_listeners(
	struct metrics *metrics, size_t member, const char *name, const char *type, const char *help)
{
	const struct snapshot *snapshot = metrics->snapshot;

	put_family(metrics, name, type, NULL, help);
	for (size_t i = 0; i < snapshot->n_listeners; i++)
		put_line(metrics, name, "listener", snapshot->listeners[i].address,
			*MEMBER(&snapshot->listeners[i], member));
}

static void put_services(struct metrics *metrics, size_t member, const char *name, const char *type, const char *help)
{
	const struct snapshot *snapshot = metrics->snapshot;

	put_family(metrics, name, type, NULL, help);
	for (size_t i = 0; i < snapshot->n_services; i++)
		put_line(metrics, name, "service", snapshot->services[i].name,
			*MEMBER(&snapshot->services[i], member));
}

static void put_service_bytes(struct metrics *metrics)
{
	const struct snapshot *snapshot = metrics->snapshot;
	static const char name[] = "usher_service_bytes_total";

	put_family(metrics, name, "counter", "bytes",
		"Bytes of relayed connections that have ended: up to the server, down to the client.");
	for (size_t i = 0; i < snapshot->n_services; i++) {
		const struct snapshot_service *service = &snapshot->services[i];
		put_sample(metrics, name, "service", service->name);
		put(metrics, ",direction=\"up\"}");
		put_value(metrics, service->bytes_up);
		put_sample(metrics, name, "service", service->name);
		put(metrics, ",direction=\"down\"}");
		put_value(metrics, service->bytes_down);
	}
}

/* ---- backends ---- */

/* One that has no address yet is called by its name. */
static const char *backend_text(const struct snapshot_backend *backend)
{
	return *backend->address ? backend->address : backend->name ? backend->name : "-";
}

static int backends_compare(const void *a, const void *b)
{
	const struct snapshot_backend *one = *(const struct snapshot_backend *const *)a;
	const struct snapshot_backend *other = *(const struct snapshot_backend *const *)b;
	int difference = strcmp(one->service, other->service);

	return difference ? difference : strcmp(backend_text(one), backend_text(other));
}

/* Two names of a service may lead to one address, which is counted once; a sample that is there twice is an error. To be freed; NULL: no
 * memory. */
static const struct snapshot_backend **backends_once(const struct snapshot *snapshot, size_t *ret_n)
{
	const struct snapshot_backend **sorted = malloc((snapshot->n_backends + 1) * sizeof(*sorted));
	size_t n = 0;

	if (!sorted)
		return NULL;
	for (size_t i = 0; i < snapshot->n_backends; i++)
		sorted[i] = &snapshot->backends[i];
	qsort(sorted, snapshot->n_backends, sizeof(*sorted), backends_compare);
	for (size_t i = 0; i < snapshot->n_backends; i++)
		if (n == 0 || backends_compare(&sorted[n - 1], &sorted[i]) != 0)
			sorted[n++] = sorted[i];
	*ret_n = n;
	return sorted;
}

static void put_backend_sample(struct metrics *metrics, const char *name, const struct snapshot_backend *backend)
{
	put_sample(metrics, name, "service", backend->service);
	put_label(metrics, ",backend=\"", backend_text(backend));
	put(metrics, "}");
}

static void put_backends_member(struct metrics *metrics, const struct snapshot_backend *const *backends, size_t n,
	size_t member, const char *name, const char *type, const char *help)
{
	put_family(metrics, name, type, NULL, help);
	for (size_t i = 0; i < n; i++) {
		put_backend_sample(metrics, name, backends[i]);
		put_value(metrics, *MEMBER(backends[i], member));
	}
}

static void put_backends_latency(struct metrics *metrics, const struct snapshot_backend *const *backends, size_t n)
{
	static const char name[] = "usher_backend_latency_seconds";
	char text[32];

	put_family(metrics, name, "gauge", "seconds",
		"Until a connection is made, or a first datagram answered, averaged over the last few.");
	for (size_t i = 0; i < n; i++) {
		if (backends[i]->latency_s <= 0)
			continue;
		put_backend_sample(metrics, name, backends[i]);
		snprintf(text, sizeof(text), " %.6f\n", backends[i]->latency_s);
		put(metrics, text);
	}
}

static void put_checks_member(struct metrics *metrics, const struct snapshot_backend *const *backends, size_t n,
	size_t member, const char *name, const char *help)
{
	put_family(metrics, name, "counter", NULL, help);
	for (size_t i = 0; i < n; i++) {
		if (!backends[i]->check.is_there)
			continue;
		put_backend_sample(metrics, name, backends[i]);
		put_value(metrics, *MEMBER(backends[i], member));
	}
}

static void put_checks(struct metrics *metrics, const struct snapshot_backend *const *backends, size_t n)
{
	static const char passed[] = "usher_backend_check_passed", latency[] = "usher_backend_check_latency_seconds";
	char text[32];
	size_t first = 0;

	while (first < n && !backends[first]->check.is_there)
		first++;
	if (first == n)
		return;
	put_checks_member(metrics, backends, n, offsetof(struct snapshot_backend, check.total),
		"usher_backend_checks_total", "Checks of the backend that had a result.");
	put_checks_member(metrics, backends, n, offsetof(struct snapshot_backend, check.failed),
		"usher_backend_checks_failed_total", "Checks of the backend that failed.");
	put_family(metrics, passed, "gauge", NULL, "1: the last check of the backend passed.");
	for (size_t i = 0; i < n; i++) {
		if (backends[i]->check.total == 0)
			continue;
		put_backend_sample(metrics, passed, backends[i]);
		put_value(metrics, backends[i]->check.passed);
	}
	put_family(metrics, latency, "gauge", "seconds", "How long the last check that passed took.");
	for (size_t i = 0; i < n; i++) {
		if (backends[i]->check.latency_s <= 0)
			continue;
		put_backend_sample(metrics, latency, backends[i]);
		snprintf(text, sizeof(text), " %.6f\n", backends[i]->check.latency_s);
		put(metrics, text);
	}
}

static void put_backends(struct metrics *metrics)
{
	size_t n;
	const struct snapshot_backend **backends = backends_once(metrics->snapshot, &n);

	if (!backends)
		return;
	put_family(metrics, "usher_backend_up", "gauge", NULL, "1: the backend gets new clients.");
	for (size_t i = 0; i < n; i++) {
		put_backend_sample(metrics, "usher_backend_up", backends[i]);
		put_value(metrics, backends[i]->state == SNAPSHOT_BACKEND_UP);
	}
	put_backends_member(metrics, backends, n, offsetof(struct snapshot_backend, weight), "usher_backend_weight",
		"gauge", "The weight in force.");
	put_backends_member(metrics, backends, n, offsetof(struct snapshot_backend, open),
		"usher_backend_open_connections", "gauge", "Connections and flows that are open, by backend.");
	put_backends_member(metrics, backends, n, offsetof(struct snapshot_backend, total),
		"usher_backend_connections_total", "counter", "Connections and flows that were made to the backend.");
	put_backends_member(metrics, backends, n, offsetof(struct snapshot_backend, failed),
		"usher_backend_failed_total", "counter", "Attempts to reach the backend that failed.");
	put_backends_latency(metrics, backends, n);
	put_checks(metrics, backends, n);
	free(backends);
}

/* ---- histograms ---- */

static const struct {
	const char *name, *unit, *help;
} histograms[HISTOGRAMS] = {
	[HISTOGRAM_DECISION] = { "usher_decision_seconds", "seconds", "From accept to the decision for a service." },
	[HISTOGRAM_CONNECT] = { "usher_connect_seconds", "seconds",
		"From the decision to the connection to a backend." },
	[HISTOGRAM_ANSWER] = { "usher_answer_seconds", "seconds",
		"From the decision to the first byte of the answer." },
	[HISTOGRAM_SESSION] = { "usher_session_seconds", "seconds", "From accept to the end." },
	[HISTOGRAM_BYTES] = { "usher_session_bytes", "bytes",
		"Bytes of a relayed connection that has ended, both ways together." },
};

struct bounds {
	char text[HISTOGRAM_BOUNDS + 1][40]; /* `",le="0.0025"} ` */
	size_t len[HISTOGRAM_BOUNDS + 1];
};

/* OpenMetrics wants a point or an exponent in a bound. */
static void bounds_write(struct bounds *ret, int kind)
{
	for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++) {
		char number[24] = "+Inf";
		if (i < HISTOGRAM_BOUNDS)
			snprintf(number, sizeof(number), "%.12g",
				(double)histogram_bounds[kind][i] / (kind == HISTOGRAM_BYTES ? 1 : 1e6));
		int len = snprintf(ret->text[i], sizeof(ret->text[i]), ",le=\"%s%s\"} ", number,
			strpbrk(number, ".eI") ? "" : ".0");
		ret->len[i] = (size_t)len;
	}
}

static void put_sum(struct metrics *metrics, int kind, uint64_t sum)
{
	char fraction[8];

	put(metrics, "} ");
	put_number(metrics, kind == HISTOGRAM_BYTES ? sum : sum / 1000000);
	if (kind != HISTOGRAM_BYTES) {
		snprintf(fraction, sizeof(fraction), ".%06u", (unsigned)(sum % 1000000));
		put(metrics, fraction);
	}
	put(metrics, "\n");
}

/* `name{service="ssh"`, which is in front of each bucket; names of services are short. */
struct prefix {
	char text[256];
	size_t len;
};

static void prefix_write(struct prefix *ret, const char *name, const char *service)
{
	ret->len = (size_t)snprintf(ret->text, sizeof(ret->text), "%s_bucket{service=\"%s\"", name, service);
	if (ret->len >= sizeof(ret->text))
		ret->len = sizeof(ret->text) - 1;
}

static void put_histogram(
	struct metrics *metrics, const struct snapshot_service *service, int kind, const struct bounds *bounds)
{
	const struct measured *measured = &service->measured[kind];
	struct prefix prefix;
	char sum[64], count[64];
	uint64_t n = 0;

	prefix_write(&prefix, histograms[kind].name, service->name);
	snprintf(sum, sizeof(sum), "%s_sum", histograms[kind].name);
	snprintf(count, sizeof(count), "%s_count", histograms[kind].name);
	for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++) {
		n += measured->buckets[i];
		put_bytes(metrics, prefix.text, prefix.len);
		put_bytes(metrics, bounds->text[i], bounds->len[i]);
		put_number(metrics, n);
		put_bytes(metrics, "\n", 1);
	}
	put_sample(metrics, sum, "service", service->name);
	put_sum(metrics, kind, measured->sum);
	put_line(metrics, count, "service", service->name, n);
}

static void put_histograms(struct metrics *metrics)
{
	const struct snapshot *snapshot = metrics->snapshot;

	for (int kind = 0; kind < HISTOGRAMS; kind++) {
		struct bounds bounds;
		bounds_write(&bounds, kind);
		put_family(metrics, histograms[kind].name, "histogram", histograms[kind].unit, histograms[kind].help);
		for (size_t i = 0; i < snapshot->n_services; i++)
			if (snapshot->services[i].measured)
				put_histogram(metrics, &snapshot->services[i], kind, &bounds);
	}
}

void snapshot_metrics(const struct snapshot *snapshot, bool is_open, FILE *to)
{
	struct metrics metrics;

	metrics.snapshot = snapshot;
	metrics.is_open = is_open;
	metrics.to = to;
	metrics.used = 0;

	put_process(&metrics);
	put_listeners(&metrics, offsetof(struct snapshot_listener, open), "usher_listener_open_connections", "gauge",
		"Connections and flows that are open, by where they came in.");
	put_listeners(&metrics, offsetof(struct snapshot_listener, accepted), "usher_listener_accepted_total",
		"counter", "Connections and flows that came in.");
	put_listeners(&metrics, offsetof(struct snapshot_listener, shed), "usher_listener_shed_total", "counter",
		"Connections and flows that were shed as they came in.");
	put_services(&metrics, offsetof(struct snapshot_service, open), "usher_service_open_connections", "gauge",
		"Connections and flows that are open, by service.");
	put_services(&metrics, offsetof(struct snapshot_service, total), "usher_service_connections_total", "counter",
		"Connections and flows that were decided for the service.");
	put_services(&metrics, offsetof(struct snapshot_service, failed), "usher_service_failed_total", "counter",
		"Deliveries of the service that failed.");
	put_service_bytes(&metrics);
	put_backends(&metrics);
	put_all_totals(&metrics);
	put_histograms(&metrics);
	if (is_open)
		put(&metrics, "# EOF\n");
	fwrite(metrics.buffer, 1, metrics.used, to);
}
