/* What `usher top' shows, made of answers of the control socket. Refuses to believe that an answer is whole: what is missing is 0 or "-".
 * The tables are the caller's. */
#include "top_views.h"
#include "snapshot.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SERVICE_NAME,
	SERVICE_OPEN,
	SERVICE_NEW,
	SERVICE_TOTAL,
	SERVICE_FAILED,
	SERVICE_UP_RATE,
	SERVICE_DOWN_RATE,
	SERVICE_UP,
	SERVICE_DOWN,
	SERVICE_COLUMNS
};

static const struct top_column service_columns[SERVICE_COLUMNS] = {
	[SERVICE_NAME] = { "SERVICE", TOP_TEXT, .is_key = true },
	[SERVICE_OPEN] = { "OPEN", TOP_COUNT, 7 },
	[SERVICE_NEW] = { "NEW/s", TOP_RATE, 8, .of = SERVICE_TOTAL },
	[SERVICE_TOTAL] = { "TOTAL", TOP_COUNT, 10 },
	[SERVICE_FAILED] = { "FAILED", TOP_COUNT, 8, .rank = 1 },
	[SERVICE_UP_RATE] = { "UP/s", TOP_BYTE_RATE, 10, .of = SERVICE_UP, .rank = 2 },
	[SERVICE_DOWN_RATE] = { "DOWN/s", TOP_BYTE_RATE, 10, .of = SERVICE_DOWN, .rank = 2 },
	[SERVICE_UP] = { "UP", TOP_BYTES, 10, .rank = 3 },
	[SERVICE_DOWN] = { "DOWN", TOP_BYTES, 10, .rank = 3 },
};

enum {
	BACKEND_SERVICE,
	BACKEND_ADDRESS,
	BACKEND_STATE,
	BACKEND_OPEN,
	BACKEND_NEW,
	BACKEND_TOTAL,
	BACKEND_FAILED,
	BACKEND_LATENCY,
	BACKEND_WEIGHT,
	BACKEND_WHY,
	BACKEND_COLUMNS
};

static const struct top_column backend_columns[BACKEND_COLUMNS] = {
	[BACKEND_SERVICE] = { "SERVICE", TOP_TEXT, 10, .is_key = true },
	[BACKEND_ADDRESS] = { "BACKEND", TOP_TEXT, .is_key = true },
	[BACKEND_STATE] = { "STATE", TOP_TEXT, 10 },
	[BACKEND_OPEN] = { "OPEN", TOP_COUNT, 6 },
	[BACKEND_NEW] = { "NEW/s", TOP_RATE, 7, .of = BACKEND_TOTAL },
	[BACKEND_TOTAL] = { "TOTAL", TOP_COUNT, 9, .rank = 2 },
	[BACKEND_FAILED] = { "FAILED", TOP_COUNT, 7, .rank = 1 },
	[BACKEND_LATENCY] = { "LATENCY", TOP_MS, 10, .rank = 3 },
	[BACKEND_WEIGHT] = { "WEIGHT", TOP_COUNT, 6, .rank = 4 },
	[BACKEND_WHY] = { "WHY", TOP_TEXT, 24, .rank = 5 },
};

enum {
	SESSION_ID,
	SESSION_CLIENT,
	SESSION_SERVICE,
	SESSION_PROTOCOL,
	SESSION_PHASE,
	SESSION_AGE,
	SESSION_UP_RATE,
	SESSION_DOWN_RATE,
	SESSION_UP,
	SESSION_DOWN,
	SESSION_COLUMNS
};

static const struct top_column session_columns[SESSION_COLUMNS] = {
	[SESSION_ID] = { "ID", TOP_COUNT, 9, .is_key = true },
	[SESSION_CLIENT] = { "CLIENT", TOP_TEXT },
	[SESSION_SERVICE] = { "SERVICE", TOP_TEXT, 10 },
	[SESSION_PROTOCOL] = { "PROTOCOL", TOP_TEXT, 10, .rank = 3 },
	[SESSION_PHASE] = { "PHASE", TOP_TEXT, 10, .rank = 2 },
	[SESSION_AGE] = { "AGE", TOP_SECONDS, 7 },
	[SESSION_UP_RATE] = { "UP/s", TOP_BYTE_RATE, 10, .of = SESSION_UP },
	[SESSION_DOWN_RATE] = { "DOWN/s", TOP_BYTE_RATE, 10, .of = SESSION_DOWN },
	[SESSION_UP] = { "UP", TOP_BYTES, 10, .rank = 4 },
	[SESSION_DOWN] = { "DOWN", TOP_BYTES, 10, .rank = 4 },
};

const struct top_view_kind top_view_kinds[TOP_VIEWS] = {
	[TOP_SERVICES] = { "Services", service_columns, SERVICE_COLUMNS, { SERVICE_OPEN, false } },
	[TOP_BACKENDS] = { "Backends", backend_columns, BACKEND_COLUMNS, { BACKEND_OPEN, false } },
	[TOP_SESSIONS] = { "Sessions", session_columns, SESSION_COLUMNS, { SESSION_DOWN_RATE, false } },
};

static int rows_new(struct top_table *ret, enum top_view view, json_t *source, size_t n, uint64_t at_us)
{
	*ret = (struct top_table){
		.columns = top_view_kinds[view].columns,
		.n_columns = top_view_kinds[view].n_columns,
		.source = source,
		.at_us = at_us,
		.rows = calloc(n + 1, sizeof(*ret->rows)),
	};
	if (!ret->rows)
		return -ENOMEM;
	ret->n_rows = n;
	return 0;
}

/* ---- services and totals ---- */

static double sum_of(const struct snapshot_totals *totals)
{
	double sum = 0;

	for (size_t i = 0; i < totals->n; i++)
		sum += (double)totals->items[i].count;
	return sum;
}

static struct top_totals totals_of(const struct snapshot *snapshot, uint64_t at_us)
{
	struct top_totals ret = {
		.since = snapshot->since,
		.ending_since = snapshot->ending_since,
		.reloading_since = snapshot->reloading_since,
		.at_us = at_us,
		.connections = (double)snapshot->connections,
		.undecided = (double)snapshot->undecided,
		.programs = (double)snapshot->programs,
		.ended = sum_of(&snapshot->ended),
		.refused = sum_of(&snapshot->refused),
		.shed = sum_of(&snapshot->shed),
		.lost = sum_of(&snapshot->lost),
	};

	snprintf(ret.version, sizeof(ret.version), "%s", snapshot->version ? snapshot->version : "-");
	snprintf(ret.state, sizeof(ret.state), "%s", snapshot_state_names[snapshot->state]);
	snprintf(ret.file, sizeof(ret.file), "%s", snapshot->file ? snapshot->file : "-");
	for (size_t i = 0; i < snapshot->n_generations; i++)
		ret.workers += (double)snapshot->generations[i].n_workers;
	for (size_t i = 0; i < snapshot->n_listeners; i++)
		ret.accepted += (double)snapshot->listeners[i].accepted;
	for (size_t i = 0; i < snapshot->n_services; i++) {
		ret.failed += (double)snapshot->services[i].failed;
		ret.bytes_up += (double)snapshot->services[i].bytes_up;
		ret.bytes_down += (double)snapshot->services[i].bytes_down;
	}
	return ret;
}

static void service_row(struct top_row *row, const struct snapshot_service *service)
{
	row->cells[SERVICE_NAME].text = service->name;
	row->cells[SERVICE_OPEN].number = (double)service->open;
	row->cells[SERVICE_TOTAL].number = (double)service->total;
	row->cells[SERVICE_FAILED].number = (double)service->failed;
	row->cells[SERVICE_UP].number = (double)service->bytes_up;
	row->cells[SERVICE_DOWN].number = (double)service->bytes_down;
}

int top_services_read(struct top_table *ret, struct top_totals *ret_totals, json_t *status, uint64_t at_us)
{
	struct snapshot snapshot;

	*ret = (struct top_table){ .source = status };
	int r = snapshot_read(&snapshot, status);
	if (r == 0)
		r = rows_new(ret, TOP_SERVICES, status, snapshot.n_services, at_us);
	if (r == 0) {
		*ret_totals = totals_of(&snapshot, at_us);
		for (size_t i = 0; i < snapshot.n_services; i++)
			service_row(&ret->rows[i], &snapshot.services[i]);
	} else {
		top_table_fini(ret);
	}
	snapshot_fini(&snapshot);
	return r;
}

/* ---- backends ---- */

/* Texts are those of the JSON: the snapshot's end with it. */
static void backend_row(struct top_row *row, const json_t *from)
{
	const char *address = json_string_value(json_object_get(from, "address"));
	struct snapshot_backend backend;

	snapshot_backend_read(&backend, from);
	row->cells[BACKEND_SERVICE].text = backend.service;
	row->cells[BACKEND_ADDRESS].text = address ? address : backend.name;
	row->cells[BACKEND_STATE].text = snapshot_backend_names[backend.state];
	row->cells[BACKEND_OPEN].number = (double)backend.open;
	row->cells[BACKEND_TOTAL].number = (double)backend.total;
	row->cells[BACKEND_FAILED].number = (double)backend.failed;
	row->cells[BACKEND_LATENCY].number = backend.latency_s * 1e3;
	row->cells[BACKEND_WEIGHT].number = (double)backend.weight;
	row->cells[BACKEND_WHY].text = json_string_value(json_object_get(from, "why"));
}

int top_backends_read(struct top_table *ret, json_t *status, uint64_t at_us)
{
	const json_t *backends = json_object_get(status, "backends"), *from;
	size_t i;

	int r = rows_new(ret, TOP_BACKENDS, status, json_array_size(backends), at_us);
	if (r < 0) {
		top_table_fini(ret);
		return r;
	}
	json_array_foreach(backends, i, from) backend_row(&ret->rows[i], from);
	return 0;
}

void top_backend_of(const struct top_row *row, const char **ret_service, const char **ret_address)
{
	*ret_service = row->cells[BACKEND_SERVICE].text;
	*ret_address = row->cells[BACKEND_ADDRESS].text;
}

/* ---- sessions ---- */

static void session_row(struct top_row *row, const struct snapshot_session *session)
{
	row->cells[SESSION_ID].number = (double)session->id;
	row->cells[SESSION_CLIENT].text = session->client;
	row->cells[SESSION_SERVICE].text = session->service;
	row->cells[SESSION_PROTOCOL].text = session->protocol;
	row->cells[SESSION_PHASE].text = session->phase;
	row->cells[SESSION_AGE].number = session->age_s;
	row->cells[SESSION_UP].number = (double)session->bytes_up;
	row->cells[SESSION_DOWN].number = (double)session->bytes_down;
}

int top_sessions_read(struct top_table *ret, json_t *sessions, uint64_t at_us)
{
	struct snapshot_session session;
	const json_t *line;
	size_t i;

	int r = rows_new(ret, TOP_SESSIONS, sessions, json_array_size(sessions), at_us);
	if (r < 0) {
		top_table_fini(ret);
		return r;
	}
	json_array_foreach(sessions, i, line)
	{
		snapshot_session_read(&session, line);
		session_row(&ret->rows[i], &session);
	}
	return 0;
}

json_t *top_answer_read(char *answer, char ret_error[TOP_MESSAGE_MAX])
{
	json_t *lines = json_array();
	char *rest = NULL;

	ret_error[0] = '\0';
	for (char *text = strtok_r(answer, "\n", &rest); text; text = strtok_r(NULL, "\n", &rest)) {
		json_t *line = json_loads(text, 0, NULL);
		const char *error = json_string_value(json_object_get(line, "error"));
		if (error)
			snprintf(ret_error, TOP_MESSAGE_MAX, "%s", error);
		if (!line || (!error && json_array_append(lines, line) < 0)) {
			json_decref(line);
			json_decref(lines);
			return NULL;
		}
		json_decref(line);
	}
	return lines;
}
