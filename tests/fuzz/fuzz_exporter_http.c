/* Requests of the exporter: a method, a path and Accept, each on a line of its own. No answer but those of the list, none but to GET and
 * HEAD, and Accept without its name is never OpenMetrics. */
#include "exporter_http.h"
#include "fuzz.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	require(text != NULL);
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	char *path = strchr(text, '\n');
	char *accept = path ? strchr(path + 1, '\n') : NULL;
	if (accept) {
		*path++ = *accept++ = '\0';
		enum exporter_answer answer = exporter_route(text, path, accept, true);
		bool reads = strcmp(text, "GET") == 0 || strcmp(text, "HEAD") == 0;
		require(answer <= ANSWER_NOT_ALLOWED);
		require(reads ? answer != ANSWER_NOT_ALLOWED : answer >= ANSWER_NOT_FOUND);
		require(answer != ANSWER_OPENMETRICS || strcasestr(accept, "application/openmetrics-text"));
		require(exporter_route(text, path, accept, false) ==
				(answer == ANSWER_PAGE ? ANSWER_NOT_FOUND : answer) ||
			strcmp(path, "/") == 0);
	}
	free(text);
	return 0;
}
