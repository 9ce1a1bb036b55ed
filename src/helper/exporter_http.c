/* Paths and the header field Accept of the exporter's requests. Refuses every method but GET and HEAD, and every path that is not listed.
 * Owns nothing. */
#include "exporter_http.h"
#include <stddef.h>
#include <string.h>
#include <strings.h>

/* ---- Accept ---- */

/* "0.75" in thousandths; what is no number is 1. */
static unsigned quality_read(const char *at, const char *end)
{
	unsigned value = 0, digit = 1000;

	if (at == end || (*at != '0' && *at != '1'))
		return 1000;
	value = *at == '1' ? 1000 : 0;
	if (++at == end || *at != '.')
		return value;
	for (at++; at < end && *at >= '0' && *at <= '9' && digit >= 10; at++) {
		digit /= 10;
		value += (unsigned)(*at - '0') * digit;
	}
	return value > 1000 ? 1000 : value;
}

static const char *blanks_skip(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\t'))
		at++;
	return at;
}

/* The weight of one range, whose parameters are at `at`. */
static unsigned range_quality(const char *at, const char *end)
{
	while (at < end) {
		at = blanks_skip(at + 1, end); /* behind the semicolon */
		if (end - at >= 2 && (at[0] == 'q' || at[0] == 'Q') && at[1] == '=')
			return quality_read(at + 2, end);
		const char *next = memchr(at, ';', (size_t)(end - at));
		at = next ? next : end;
	}
	return 1000;
}

static bool range_is(const char *at, size_t len, const char *name)
{
	return len == strlen(name) && strncasecmp(at, name, len) == 0;
}

bool exporter_wants_openmetrics(const char *accept)
{
	unsigned open = 0, plain = 0;

	while (accept && *accept) {
		const char *end = accept + strcspn(accept, ",");
		const char *at = blanks_skip(accept, end);
		size_t len = strcspn(at, "; \t,");
		const char *parameters = blanks_skip(at + len, end);
		unsigned quality = range_quality(parameters, end);
		if (range_is(at, len, "application/openmetrics-text") && quality > open)
			open = quality;
		else if ((range_is(at, len, "text/plain") || range_is(at, len, "text/*")) && quality > plain)
			plain = quality;
		accept = *end ? end + 1 : end;
	}
	return open > 0 && open >= plain;
}

/* ---- paths ---- */

enum exporter_answer exporter_route(const char *method, const char *path, const char *accept, bool has_page)
{
	static const struct {
		const char *path;
		enum exporter_answer answer;
	} paths[] = {
		{ "/metrics", ANSWER_METRICS },
		{ "/status.json", ANSWER_STATUS },
		{ "/healthz", ANSWER_HEALTH },
		{ "/readyz", ANSWER_READY },
		{ "/", ANSWER_PAGE },
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		enum exporter_answer answer = paths[i].answer;
		if (strcmp(path, paths[i].path) != 0 || (answer == ANSWER_PAGE && !has_page))
			continue;
		if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
			return ANSWER_NOT_ALLOWED;
		return answer == ANSWER_METRICS && exporter_wants_openmetrics(accept) ? ANSWER_OPENMETRICS : answer;
	}
	return ANSWER_NOT_FOUND;
}
