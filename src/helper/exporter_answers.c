/* Answers made of a snapshot, each once a second at most however many ask, and shared by all who read it. Refuses to make another one while
 * slow readers hold too many. An answer belongs to libmicrohttpd, which frees it behind its last reader. */
#include "exporter_answers.h"
#include "policy.h"
#include "snapshot.h"
#include "snapshot_page.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEPT_US         1000000
#define OUTSTANDING_MAX (64ul << 20)

struct body {
	struct exporter_answers *answers;
	char *bytes;
	size_t len, size;
};

static void body_free(void *context)
{
	struct body *body = context;
	struct exporter_answers *answers = body->answers;

	answers->outstanding -= body->len;
	if (body->size > answers->spare_size) {
		free(answers->spare);
		answers->spare = body->bytes;
		answers->spare_size = body->size;
	} else {
		free(body->bytes);
	}
	free(body);
}

/* A stream's. */
static ssize_t body_write(void *context, const char *bytes, size_t len)
{
	struct body *body = context;

	if (len > body->size - body->len) {
		size_t size = 2 * (body->size + len);
		char *larger = realloc(body->bytes, size);
		if (!larger)
			return 0;
		body->bytes = larger;
		body->size = size;
	}
	memcpy(body->bytes + body->len, bytes, len);
	body->len += len;
	return (ssize_t)len;
}

static int snapshot_take(const struct exporter_source *source, struct snapshot *ret, bool *ret_serves)
{
	int error = master_facts_read(&source->memory->facts, source->policy->file, ret, ret_serves);
	return error < 0 ? error : snapshot_gather(ret, source->shared, source->policy, source->resolved);
}

void exporter_sample(const struct exporter_source *source)
{
	struct snapshot snapshot;
	bool unused;

	if (snapshot_take(source, &snapshot, &unused) == 0)
		history_add(&source->memory->history, &snapshot, time(NULL));
	snapshot_fini(&snapshot);
}

/* ---- made of a snapshot ---- */

static void write_answer(
	const struct exporter_source *source, enum exporter_answer answer, const struct snapshot *snapshot, FILE *to)
{
	struct sample samples[HISTORY_SAMPLES];
	size_t n;

	switch (answer) {
	case ANSWER_METRICS:
	case ANSWER_OPENMETRICS:
		snapshot_metrics(snapshot, answer == ANSWER_OPENMETRICS, to);
		break;
	case ANSWER_STATUS:
		snapshot_json(snapshot, to);
		break;
	default:
		n = history_read(&source->memory->history, samples);
		snapshot_page(snapshot, samples, n, time(NULL), to);
		break;
	}
}

static struct body *body_new(struct exporter_answers *answers, enum exporter_answer answer)
{
	struct body *body = calloc(1, sizeof(*body));
	struct snapshot snapshot;
	bool unused;

	if (!body)
		return NULL;
	*body = (struct body){ .answers = answers, .bytes = answers->spare, .size = answers->spare_size };
	answers->spare = NULL;
	answers->spare_size = 0;
	FILE *to = fopencookie(body, "w", (cookie_io_functions_t){ .write = body_write });
	int error = to ? snapshot_take(&answers->source, &snapshot, &unused) : -ENOMEM;
	if (error == 0)
		write_answer(&answers->source, answer, &snapshot, to);
	if (to)
		snapshot_fini(&snapshot);
	if (to && fclose(to) != 0)
		error = -ENOMEM;
	answers->outstanding += body->len;
	if (error == 0)
		return body;
	body_free(body);
	return NULL;
}

static void add_headers(struct MHD_Response *response, const char *type, const char *policy)
{
	MHD_add_response_header(response, "Content-Type", type);
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	/* A connection has one request: then it may have a deadline. */
	MHD_add_response_header(response, "Connection", "close");
	MHD_add_response_header(response, "Content-Security-Policy", policy);
	MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
}

static const char NOTHING_ALLOWED[] = "default-src 'none'; frame-ancestors 'none'";

static struct MHD_Response *response_new(struct exporter_answers *answers, enum exporter_answer answer)
{
	static const char *const types[ANSWER_CACHED] = {
		[ANSWER_METRICS] = "text/plain; version=0.0.4; charset=utf-8",
		[ANSWER_OPENMETRICS] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
		[ANSWER_STATUS] = "application/json",
		[ANSWER_PAGE] = "text/html; charset=utf-8",
	};
	struct body *body = body_new(answers, answer);

	if (!body)
		return NULL;
	struct MHD_Response *response =
		MHD_create_response_from_buffer_with_free_callback_cls(body->len, body->bytes, body_free, body);
	if (!response)
		body_free(body);
	else
		add_headers(
			response, types[answer], answer == ANSWER_PAGE ? snapshot_page_security() : NOTHING_ALLOWED);
	return response;
}

/* The one that is kept, or a new one. NULL: there is no memory for one. */
static struct MHD_Response *response_cached(
	struct exporter_answers *answers, enum exporter_answer answer, uint64_t now_us)
{
	struct MHD_Response **kept = &answers->cached[answer].response;

	if (*kept && now_us - answers->cached[answer].made_us < KEPT_US)
		return *kept;
	if (*kept)
		MHD_destroy_response(*kept);
	*kept = answers->outstanding > OUTSTANDING_MAX ? NULL : response_new(answers, answer);
	answers->cached[answer].made_us = now_us;
	return *kept;
}

/* ---- made of a word ---- */

static enum MHD_Result say(struct MHD_Connection *connection, unsigned status, const char *text)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);

	if (!response)
		return MHD_NO;
	add_headers(response, "text/plain; charset=utf-8", NOTHING_ALLOWED);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, "Allow", "GET, HEAD");
	enum MHD_Result queued = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return queued;
}

static enum MHD_Result say_ready(const struct exporter_answers *answers, struct MHD_Connection *connection)
{
	struct snapshot snapshot;
	bool serves;

	int error =
		master_facts_read(&answers->source.memory->facts, answers->source.policy->file, &snapshot, &serves);
	enum snapshot_state state = snapshot.state;
	snapshot_fini(&snapshot);
	if (error < 0)
		return MHD_NO;
	if (state == SNAPSHOT_ENDING)
		return say(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
			"not ready: usher ends, and takes no new clients\n");
	if (!serves)
		return say(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "not ready: no configuration is in force\n");
	return say(connection, MHD_HTTP_OK, "ready\n");
}

enum MHD_Result exporter_answer(struct exporter_answers *answers, struct MHD_Connection *connection,
	enum exporter_answer answer, uint64_t now_us)
{
	switch (answer) {
	case ANSWER_HEALTH:
		return say(connection, MHD_HTTP_OK, "alive\n");
	case ANSWER_READY:
		return say_ready(answers, connection);
	case ANSWER_NOT_FOUND:
		return say(connection, MHD_HTTP_NOT_FOUND,
			"not found: there are /metrics, /status.json, /healthz, /readyz and, with `page', /\n");
	case ANSWER_NOT_ALLOWED:
		return say(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "not allowed: GET and HEAD alone are\n");
	default:
		break;
	}
	struct MHD_Response *response = response_cached(answers, answer, now_us);
	return response ? MHD_queue_response(connection, MHD_HTTP_OK, response)
			: say(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "too much to remember at once: try again\n");
}
