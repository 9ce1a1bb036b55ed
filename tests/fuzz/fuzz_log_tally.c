/* Any bytes as a log: every line is counted once, whatever it is, and what it adds up to is valid JSON. */
#include "../../src/command/log_tally.h"
#include "fuzz.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tally tally = { 0 };
	const char *at = (const char *)data, *end = at + size;
	char *text = NULL;
	size_t len = 0;
	uint64_t lines = 0;

	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *line_end = newline ? newline : end;
		if (tally_line(&tally, at, (size_t)(line_end - at)) < 0)
			abort();
		lines++;
		at = newline ? newline + 1 : end;
	}
	if (tally.connections + tally.others + tally.broken != lines)
		abort();
	FILE *to = open_memstream(&text, &len);
	if (!to)
		abort();
	tally_table(&tally, 10, to);
	long table = ftell(to);
	tally_json(&tally, 10, to);
	fclose(to);
	for (long i = 0; i < table; i++)
		if (text[i] != '\n' && (text[i] < ' ' || text[i] > '~'))
			abort();
	json_t *json = json_loads(text + table, 0, NULL);
	if (!json)
		abort();
	json_decref(json);
	free(text);
	tally_fini(&tally);
	return 0;
}
