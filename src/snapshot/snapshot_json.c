/* A snapshot as JSON, and back. Bytes that are not printable ASCII are escaped, so that a line is one line. Refuses nothing when it reads: the
 * line may be another version's, and what is not known is not there. Owns the arrays that it reads into, and no text. */
#include "counters.h"
#include "escape.h"
#include "snapshot.h"
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* By their keys, where a snapshot has them. */
static const struct {
	const char *key;
	size_t at;
} totals[] = {
	{ "ended", offsetof(struct snapshot, ended) },
	{ "refused", offsetof(struct snapshot, refused) },
	{ "lost", offsetof(struct snapshot, lost) },
	{ "shed", offsetof(struct snapshot, shed) },
	{ "datagrams", offsetof(struct snapshot, datagrams) },
};
#define N_TOTALS (sizeof(totals) / sizeof(totals[0]))

/* ---- writing ---- */

static void write_generations(const struct snapshot *snapshot, FILE *to)
{
	fputs(", \"generations\": [", to);
	for (size_t i = 0; i < snapshot->n_generations; i++) {
		const struct snapshot_generation *generation = &snapshot->generations[i];
		fprintf(to, "%s{\"state\": \"%s\"", i ? ", " : "", generation->state);
		escape_json_member(to, "file", generation->file);
		fputs(", \"workers\": [", to);
		for (size_t j = 0; j < generation->n_workers; j++)
			fprintf(to, "%s{\"pid\": %" PRId64 ", \"ready\": %s}", j ? ", " : "",
				generation->workers[j].pid, generation->workers[j].is_ready ? "true" : "false");
		fputs("]}", to);
	}
	fputs("]", to);
}

static void write_listeners(const struct snapshot *snapshot, FILE *to)
{
	fputs(", \"listeners\": [", to);
	for (size_t i = 0; i < snapshot->n_listeners; i++) {
		const struct snapshot_listener *one = &snapshot->listeners[i];
		fputs(i ? ", {\"address\": " : "{\"address\": ", to);
		escape_json_write(to, one->address, strlen(one->address));
		fprintf(to, ", \"open\": %" PRIu64 ", \"accepted\": %" PRIu64 ", \"shed\": %" PRIu64 "}", one->open,
			one->accepted, one->shed);
	}
	fputs("]", to);
}

static void write_histogram(const struct measured *measured, enum histogram_kind kind, FILE *to)
{
	fprintf(to, "%s\"%s\": {\"buckets\": [", kind ? ", " : "", histogram_names[kind]);
	for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++)
		fprintf(to, "%s%" PRIu64, i ? ", " : "", measured->buckets[i]);
	if (kind == HISTOGRAM_BYTES)
		fprintf(to, "], \"sum\": %" PRIu64 "}", measured->sum);
	else
		fprintf(to, "], \"sum_s\": %" PRIu64 ".%06" PRIu64 "}", measured->sum / 1000000,
			measured->sum % 1000000);
}

static void write_measured(const struct measured measured[HISTOGRAMS], FILE *to)
{
	fputs(", \"histograms\": {", to);
	for (int kind = 0; kind < HISTOGRAMS; kind++)
		write_histogram(&measured[kind], (enum histogram_kind)kind, to);
	fputs("}", to);
}

/* Upper bounds of the buckets, of which the last has none. */
static void write_bounds(FILE *to)
{
	fputs(", \"histogram_bounds\": {", to);
	for (int kind = 0; kind < HISTOGRAMS; kind++) {
		fprintf(to, "%s\"%s\": [", kind ? ", " : "", histogram_names[kind]);
		for (size_t i = 0; i < HISTOGRAM_BOUNDS; i++)
			fprintf(to, "%s%.12g", i ? ", " : "",
				(double)histogram_bounds[kind][i] / (kind == HISTOGRAM_BYTES ? 1 : 1e6));
		fputs("]", to);
	}
	fputs("}", to);
}

static void write_services(const struct snapshot *snapshot, FILE *to)
{
	fputs(", \"services\": [", to);
	for (size_t i = 0; i < snapshot->n_services; i++) {
		const struct snapshot_service *one = &snapshot->services[i];
		fputs(i ? ", {\"name\": \"" : "{\"name\": \"", to);
		fputs(one->name, to); /* has nothing that is to be escaped */
		/* Most of a hundred thousand services have never had a client: no numbers are formatted for them. */
		if (!one->total && !one->open && !one->failed)
			fputs("\", \"open\": 0, \"total\": 0, \"failed\": 0, \"bytes_up\": 0, \"bytes_down\": 0", to);
		else
			fprintf(to,
				"\", \"open\": %" PRIu64 ", \"total\": %" PRIu64 ", \"failed\": %" PRIu64
				", \"bytes_up\": %" PRIu64 ", \"bytes_down\": %" PRIu64,
				one->open, one->total, one->failed, one->bytes_up, one->bytes_down);
		if (one->measured)
			write_measured(one->measured, to);
		putc('}', to);
	}
	fputs("]", to);
}

static void write_check(const struct snapshot_check *check, FILE *to)
{
	fprintf(to, ", \"check\": {\"total\": %" PRIu64 ", \"failed\": %" PRIu64, check->total, check->failed);
	if (check->total) {
		fprintf(to, ", \"at\": %" PRId64 ", \"passed\": %s", check->at, check->passed ? "true" : "false");
		escape_json_member(to, "result", check->result);
	}
	if (check->latency_s > 0)
		fprintf(to, ", \"latency_s\": %.6f", check->latency_s);
	putc('}', to);
}

void snapshot_backend_json(const struct snapshot_backend *backend, FILE *to)
{
	fprintf(to, "{\"service\": \"%s\"", backend->service); /* has nothing that is to be escaped */
	escape_json_member(to, "address", *backend->address ? backend->address : NULL);
	if (backend->name)
		escape_json_member(to, "name", backend->name);
	fprintf(to, ", \"state\": \"%s\"", snapshot_backend_names[backend->state]);
	if (*backend->why)
		escape_json_member(to, "why", backend->why);
	if (backend->since)
		fprintf(to, ", \"since\": %" PRId64, backend->since);
	fprintf(to, ", \"weight\": %" PRIu64, backend->weight);
	if (backend->weight != backend->of_file)
		fprintf(to, ", \"weight_of_file\": %" PRIu64, backend->of_file);
	if (backend->backup)
		fputs(", \"backup\": true", to);
	if (backend->most)
		fprintf(to, ", \"max_connections\": %" PRIu64, backend->most);
	fprintf(to, ", \"open\": %" PRIu64 ", \"total\": %" PRIu64 ", \"failed\": %" PRIu64, backend->open,
		backend->total, backend->failed);
	if (backend->latency_s > 0)
		fprintf(to, ", \"latency_s\": %.6f", backend->latency_s);
	if (backend->check.is_there)
		write_check(&backend->check, to);
	putc('}', to);
}

static void write_backends(const struct snapshot *snapshot, FILE *to)
{
	fputs(", \"backends\": [", to);
	for (size_t i = 0; i < snapshot->n_backends; i++) {
		fputs(i ? ", " : "", to);
		snapshot_backend_json(&snapshot->backends[i], to);
	}
	fputs("]", to);
}

static void write_totals(const struct snapshot_totals *these, const char *key, FILE *to)
{
	fprintf(to, ", \"%s\": {", key);
	for (size_t i = 0; i < these->n; i++)
		fprintf(to, "%s\"%s\": %" PRIu64, i ? ", " : "", these->items[i].name, these->items[i].count);
	fputs("}", to);
}

void snapshot_json(const struct snapshot *snapshot, FILE *to)
{
	const struct snapshot_room *room = &snapshot->room;

	fprintf(to,
		"{\"version\": \"%s\", \"pid\": %" PRId64 ", \"since\": %" PRId64
		", \"state\": \"%s\", \"connections\": %" PRIu64 ", \"undecided\": %" PRIu64
		", \"programs\": %" PRIu64,
		snapshot->version, snapshot->pid, snapshot->since, snapshot_state_names[snapshot->state],
		snapshot->connections, snapshot->undecided, snapshot->programs);
	if (snapshot->reloading_since)
		fprintf(to, ", \"reloading_since\": %" PRId64, snapshot->reloading_since);
	if (snapshot->ending_since)
		fprintf(to, ", \"ending_since\": %" PRId64, snapshot->ending_since);
	write_generations(snapshot, to);
	if (snapshot->file) {
		escape_json_member(to, "file", snapshot->file);
		fprintf(to, ", \"max_connections\": %" PRIu64 ", \"descriptors\": %" PRIu64,
			snapshot->max_connections, snapshot->descriptors);
		fprintf(to,
			", \"room\": {\"worker\": %" PRIu64 ", \"in_all\": %" PRIu64 ", \"undecided\": %" PRIu64
			", \"undecided_per_source\": %" PRIu64 "}",
			room->worker, room->in_all, room->undecided, room->undecided_per_source);
		write_listeners(snapshot, to);
		write_services(snapshot, to);
		write_backends(snapshot, to);
		write_bounds(to);
	}
	for (size_t i = 0; i < N_TOTALS; i++)
		write_totals(
			(const struct snapshot_totals *)((const char *)snapshot + totals[i].at), totals[i].key, to);
	fputs("}\n", to);
}

void snapshot_session_json(const struct snapshot_session *session, FILE *to)
{
	fprintf(to, "{\"id\": %" PRIu64, session->id);
	escape_json_member(to, "client", session->client);
	if (session->via)
		escape_json_member(to, "via", session->via);
	escape_json_member(to, "listener", session->listener);
	escape_json_member(to, "service", session->service);
	escape_json_member(to, "protocol", session->protocol);
	if (session->known_by)
		escape_json_member(to, "known_by", session->known_by);
	escape_json_member(to, "phase", session->phase);
	fprintf(to, ", \"age_s\": %.3f", session->age_s);
	if (session->idle_s >= 0)
		fprintf(to, ", \"idle_s\": %.3f", session->idle_s);
	if (session->datagrams_up)
		fprintf(to, ", \"datagrams_up\": %" PRIu64 ", \"datagrams_down\": %" PRIu64, session->datagrams_up,
			session->datagrams_down);
	fprintf(to, ", \"bytes_up\": %" PRIu64 ", \"bytes_down\": %" PRIu64 ", \"worker\": %" PRId64 "}\n",
		session->bytes_up, session->bytes_down, session->worker);
}

/* ---- reading ---- */

static int64_t whole_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static uint64_t count_of(const json_t *object, const char *key)
{
	int64_t whole = whole_of(object, key);
	return whole > 0 ? (uint64_t)whole : 0;
}

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* An array of the snapshot's for the elements of an array of JSON: *ret_n elements, all of them zero. NULL: no memory. */
static void *elements_new(const json_t *array, size_t size, size_t *ret_n)
{
	size_t n = json_array_size(array);
	void *elements = calloc(n + 1, size);

	*ret_n = elements ? n : 0;
	return elements;
}

static int generations_read(struct snapshot *ret, const json_t *array)
{
	const json_t *from, *worker;
	size_t i, j;

	ret->generations = elements_new(array, sizeof(*ret->generations), &ret->n_generations);
	json_array_foreach(array, i, from)
	{
		struct snapshot_generation *one = ret->n_generations ? &ret->generations[i] : NULL;
		const json_t *workers = json_object_get(from, "workers");
		if (one)
			one->workers = elements_new(workers, sizeof(*one->workers), &one->n_workers);
		if (!one || !one->workers)
			return -ENOMEM;
		one->state = text_of(from, "state");
		one->file = text_of(from, "file");
		json_array_foreach(workers, j, worker)
		{
			one->workers[j] = (struct snapshot_worker){ whole_of(worker, "pid"),
				json_is_true(json_object_get(worker, "ready")) };
		}
	}
	return ret->generations ? 0 : -ENOMEM;
}

static int listeners_read(struct snapshot *ret, const json_t *array)
{
	ret->listeners = elements_new(array, sizeof(*ret->listeners), &ret->n_listeners);
	for (size_t i = 0; i < ret->n_listeners; i++) {
		const json_t *from = json_array_get(array, i);
		ret->listeners[i] = (struct snapshot_listener){ text_of(from, "address"), count_of(from, "open"),
			count_of(from, "accepted"), count_of(from, "shed") };
	}
	return ret->listeners ? 0 : -ENOMEM;
}

static int services_read(struct snapshot *ret, const json_t *array)
{
	ret->services = elements_new(array, sizeof(*ret->services), &ret->n_services);
	for (size_t i = 0; i < ret->n_services; i++) {
		const json_t *from = json_array_get(array, i);
		ret->services[i] = (struct snapshot_service){ text_of(from, "name"), count_of(from, "open"),
			count_of(from, "total"), count_of(from, "failed"), count_of(from, "bytes_up"),
			count_of(from, "bytes_down") };
	}
	return ret->services ? 0 : -ENOMEM;
}

static enum snapshot_backend_state backend_state_read(const char *name)
{
	for (int i = 0; name && i < SNAPSHOT_BACKEND_STATES; i++)
		if (strcmp(snapshot_backend_names[i], name) == 0)
			return (enum snapshot_backend_state)i;
	return SNAPSHOT_BACKEND_UNRESOLVED;
}

static void check_read(struct snapshot_check *ret, const json_t *from)
{
	const char *result = text_of(from, "result");

	*ret = (struct snapshot_check){
		.is_there = json_is_object(from),
		.total = count_of(from, "total"),
		.failed = count_of(from, "failed"),
		.at = whole_of(from, "at"),
		.passed = json_is_true(json_object_get(from, "passed")),
		.latency_s = json_number_value(json_object_get(from, "latency_s")),
	};
	snprintf(ret->result, sizeof(ret->result), "%s", result ? result : "");
}

void snapshot_backend_read(struct snapshot_backend *ret, const json_t *from)
{
	const char *address = text_of(from, "address"), *why = text_of(from, "why");
	const json_t *of_file = json_object_get(from, "weight_of_file");

	*ret = (struct snapshot_backend){
		.service = text_of(from, "service"),
		.name = text_of(from, "name"),
		.state = backend_state_read(text_of(from, "state")),
		.since = whole_of(from, "since"),
		.weight = count_of(from, "weight"),
		.of_file = count_of(from, of_file ? "weight_of_file" : "weight"),
		.most = count_of(from, "max_connections"),
		.backup = json_is_true(json_object_get(from, "backup")),
		.open = count_of(from, "open"),
		.total = count_of(from, "total"),
		.failed = count_of(from, "failed"),
		.latency_s = json_number_value(json_object_get(from, "latency_s")),
	};
	snprintf(ret->address, sizeof(ret->address), "%s", address ? address : "");
	snprintf(ret->why, sizeof(ret->why), "%s", why ? why : "");
	check_read(&ret->check, json_object_get(from, "check"));
}

static int backends_read(struct snapshot *ret, const json_t *array)
{
	ret->backends = elements_new(array, sizeof(*ret->backends), &ret->n_backends);
	for (size_t i = 0; i < ret->n_backends; i++)
		snapshot_backend_read(&ret->backends[i], json_array_get(array, i));
	return ret->backends ? 0 : -ENOMEM;
}

static int totals_read(struct snapshot_totals *ret, json_t *object)
{
	const char *key;
	json_t *value;

	ret->items = calloc(json_object_size(object) + 1, sizeof(*ret->items));
	if (!ret->items)
		return -ENOMEM;
	json_object_foreach(object, key, value) ret->items[ret->n++] = (struct snapshot_total){ key,
		json_integer_value(value) > 0 ? (uint64_t)json_integer_value(value) : 0 };
	return 0;
}

static enum snapshot_state state_read(const char *name)
{
	for (int i = 0; name && i < SNAPSHOT_STATES; i++)
		if (strcmp(snapshot_state_names[i], name) == 0)
			return (enum snapshot_state)i;
	return SNAPSHOT_UNKNOWN;
}

int snapshot_read(struct snapshot *ret, const json_t *from)
{
	const json_t *room = json_object_get(from, "room");

	*ret = (struct snapshot){
		.version = text_of(from, "version"),
		.pid = whole_of(from, "pid"),
		.state = state_read(text_of(from, "state")),
		.since = whole_of(from, "since"),
		.reloading_since = whole_of(from, "reloading_since"),
		.ending_since = whole_of(from, "ending_since"),
		.programs = count_of(from, "programs"),
		.descriptors = count_of(from, "descriptors"),
		.connections = count_of(from, "connections"),
		.undecided = count_of(from, "undecided"),
		.file = text_of(from, "file"),
		.max_connections = count_of(from, "max_connections"),
		.room = { count_of(room, "worker"), count_of(room, "in_all"), count_of(room, "undecided"),
			count_of(room, "undecided_per_source") },
	};
	int r = generations_read(ret, json_object_get(from, "generations"));
	if (r == 0)
		r = listeners_read(ret, json_object_get(from, "listeners"));
	if (r == 0)
		r = services_read(ret, json_object_get(from, "services"));
	if (r == 0)
		r = backends_read(ret, json_object_get(from, "backends"));
	for (size_t i = 0; r == 0 && i < N_TOTALS; i++)
		r = totals_read(
			(struct snapshot_totals *)((char *)ret + totals[i].at), json_object_get(from, totals[i].key));
	return r;
}

void snapshot_session_read(struct snapshot_session *ret, const json_t *from)
{
	const json_t *idle_s = json_object_get(from, "idle_s");

	*ret = (struct snapshot_session){
		.id = count_of(from, "id"),
		.client = text_of(from, "client"),
		.via = text_of(from, "via"),
		.listener = text_of(from, "listener"),
		.service = text_of(from, "service"),
		.protocol = text_of(from, "protocol"),
		.known_by = text_of(from, "known_by"),
		.phase = text_of(from, "phase"),
		.age_s = json_number_value(json_object_get(from, "age_s")),
		.idle_s = json_is_number(idle_s) ? json_number_value(idle_s) : -1,
		.datagrams_up = count_of(from, "datagrams_up"),
		.datagrams_down = count_of(from, "datagrams_down"),
		.bytes_up = count_of(from, "bytes_up"),
		.bytes_down = count_of(from, "bytes_down"),
		.worker = whole_of(from, "worker"),
	};
}
