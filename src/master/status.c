/* Writes the state of a running usher. Reads counters that workers write at the same time: each number is right, and they are not of
 * one moment. Owns nothing. */
#include "status.h"
#include "capacity.h"
#include "counters.h"
#include "escape.h"
#include "reasons.h"
#include "shared.h"
#include "shared_limits.h"
#include "worker_process.h"
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

static const char *const state_names[] = { [GENERATION_STARTING] = "starting",
	[GENERATION_SERVING] = "serving",
	[GENERATION_RETIRING] = "retiring",
	[GENERATION_KILLED] = "retiring" };

static void write_text(FILE *to, const char *text)
{
	char escaped[1024];

	escape_json(escaped, sizeof(escaped), text, strlen(text));
	fprintf(to, "\"%s\"", escaped);
}

static void write_generation(const struct generation *generation, FILE *to)
{
	bool first = true;

	fprintf(to, "{\"state\": \"%s\", \"file\": ", state_names[generation->state]);
	write_text(to, generation->policy->file);
	fputs(", \"workers\": [", to);
	for (unsigned i = 0; i < generation->n_workers; i++) {
		const struct worker_process *worker = &generation->workers[i];
		if (!worker->pid)
			continue;
		fprintf(to, "%s{\"pid\": %d, \"ready\": %s}", first ? "" : ", ", (int)worker->pid,
			worker->ready ? "true" : "false");
		first = false;
	}
	fputs("]}", to);
}

static void write_generations(const struct status *status, FILE *to)
{
	bool first = true;

	fputs(", \"generations\": [", to);
	for (const struct generation *generation = status->all; generation; generation = generation->next) {
		fputs(first ? "" : ", ", to);
		write_generation(generation, to);
		first = false;
	}
	fputs("]", to);
}

static void write_listeners(const struct status *status, const struct policy *policy, FILE *to)
{
	fputs(", \"listeners\": [", to);
	for (size_t i = 0; i < policy->n_listeners; i++) {
		struct counted counted;
		shared_sum(status->shared, COUNTER_LISTENER, policy->listeners[i].text, &counted);
		fprintf(to, "%s{\"address\": ", i ? ", " : "");
		write_text(to, policy->listeners[i].text);
		fprintf(to, ", \"open\": %" PRIu64 ", \"accepted\": %" PRIu64 ", \"shed\": %" PRIu64 "}",
			counted.open, counted.total, counted.failed);
	}
	fputs("]", to);
}

/* Most of a hundred thousand services have never had a client: no numbers are formatted for them. */
static void write_service_counts(const struct counted *counted, FILE *to)
{
	if (!counted->total && !counted->open && !counted->failed)
		fputs(", \"open\": 0, \"total\": 0, \"failed\": 0, \"bytes_up\": 0, \"bytes_down\": 0}", to);
	else
		fprintf(to,
			", \"open\": %" PRIu64 ", \"total\": %" PRIu64 ", \"failed\": %" PRIu64
			", \"bytes_up\": %" PRIu64 ", \"bytes_down\": %" PRIu64 "}",
			counted->open, counted->total, counted->failed, counted->bytes_up, counted->bytes_down);
}

static void write_services(const struct status *status, const struct policy *policy, FILE *to)
{
	fputs(", \"services\": [", to);
	for (size_t i = 0; i < policy->n_services; i++) {
		struct counted counted;
		shared_sum(status->shared, COUNTER_SERVICE, policy->services[i].name, &counted);
		fputs(i ? ", {\"name\": \"" : "{\"name\": \"", to);
		fputs(policy->services[i].name, to); /* has nothing that is to be escaped */
		putc_unlocked('"', to);
		write_service_counts(&counted, to);
	}
	fputs("]", to);
}

static void write_totals(const struct status *status, enum counter_kind kind, const char *key,
	const char *const *names, size_t n, FILE *to)
{
	fprintf(to, ", \"%s\": {", key);
	for (size_t i = 0; i < n; i++) {
		struct counted counted;
		counters_sum(status->shared->counters, kind, names[i], &counted);
		fprintf(to, "%s\"%s\": %" PRIu64, i ? ", " : "", names[i], counted.total);
	}
	fputs("}", to);
}

static void write_room(const struct policy *policy, FILE *to)
{
	struct capacity capacity;

	capacity_of(policy, &capacity);
	fprintf(to, ", \"max_connections\": %u, \"descriptors\": %lu", policy->max_connections, capacity.descriptors);
	fprintf(to, ", \"room\": {\"worker\": %u, \"in_all\": %u, \"undecided\": %u, \"undecided_per_source\": %u}",
		capacity.connections, capacity.in_all, capacity.undecided, capacity.of_one_source);
}

void status_write(const struct status *status, FILE *to)
{
	const struct generation *serving = status->serving ? status->serving : status->coming;

	fprintf(to,
		"{\"version\": \"" VERSION
		"\", \"pid\": %d, \"since\": %jd, \"state\": \"%s\", \"connections\": %" PRIu64 ", "
		"\"undecided\": %" PRIu64 ", \"programs\": %zu",
		(int)getpid(), (intmax_t)status->since,
		status->ending_since                                ? "ending"
			: status->coming || status->reloading_since ? "reloading"
								    : "serving",
		limits_live_all(status->shared->limits), limits_undecided(status->shared->limits), status->programs);
	if (status->reloading_since)
		fprintf(to, ", \"reloading_since\": %jd", (intmax_t)status->reloading_since);
	if (status->ending_since)
		fprintf(to, ", \"ending_since\": %jd", (intmax_t)status->ending_since);
	write_generations(status, to);
	if (serving) {
		char file[PATH_MAX * 2];
		escape_json(file, sizeof(file), serving->policy->file, strlen(serving->policy->file));
		fprintf(to, ", \"file\": \"%s\"", file);
		write_room(serving->policy, to);
		write_listeners(status, serving->policy, to);
		write_services(status, serving->policy, to);
	}
	write_totals(status, COUNTER_END, "ended", session_end_names, SESSION_ENDS, to);
	write_totals(status, COUNTER_RULE, "refused", rule_names, n_rule_names, to);
	write_totals(status, COUNTER_LIMIT, "lost", queue_names, n_queue_names, to);
	write_totals(status, COUNTER_LIMIT, "shed", limit_names, n_limit_names, to);
	fputs("}\n", to);
}
