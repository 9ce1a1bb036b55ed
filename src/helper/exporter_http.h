/* What the exporter makes of a request that a stranger sent: which answer it is to get. No answer changes anything. */
#pragma once
#include <stdbool.h>

enum exporter_answer {
	ANSWER_METRICS,
	ANSWER_OPENMETRICS,
	ANSWER_STATUS, /* JSON */
	ANSWER_PAGE,
	ANSWER_CACHED, /* those above are made once a second, for all who ask */
	ANSWER_HEALTH = ANSWER_CACHED,
	ANSWER_READY,
	ANSWER_NOT_FOUND,
	ANSWER_NOT_ALLOWED, /* another method than GET and HEAD */
};

/* `path` is without its query; `accept` is the header field, NULL: there is none. */
enum exporter_answer exporter_route(const char *method, const char *path, const char *accept, bool has_page);

/* Does who sent this Accept (RFC 9110 12.5.1) want OpenMetrics at least as much as plain text? A range that names it must be there. What
 * is malformed counts as far as it is understood. */
bool exporter_wants_openmetrics(const char *accept);
