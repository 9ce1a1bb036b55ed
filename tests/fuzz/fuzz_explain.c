/* A line to be explained: whatever it is, the answer is one line of JSON. And bytes in two cuts: the answers are the same.
 *
 *     byte 0      0: the rest is a line
 *                 else: where the bytes, which are the rest, are cut
 */
#include "explain_batch.h"
#include "fuzz.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static struct explainer *explainer;

/* To be freed. */
static char *answer(const char *line, size_t len)
{
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);

	require(to);
	explain_line(explainer, line, len, to);
	require(fclose(to) == 0);
	require(size > 1 && text[size - 1] == '\n' && strlen(text) == size);
	json_t *object = json_loadb(text, size - 1, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
	require(json_is_object(object));
	json_decref(object);
	for (size_t i = 0; i < size - 1; i++)
		require(text[i] >= ' ' && text[i] <= '~');
	return text;
}

/* As a line of one segment or, with `cut`, of two. To be freed. */
static char *answer_cut(const uint8_t *bytes, size_t len, size_t cut)
{
	char *line = malloc(2 * len + 100), *to = line;

	require(line);
	to += sprintf(to, "{\"id\": 1, \"transport\": \"tcp\", \"segments\": [\"");
	for (size_t i = 0; i < len; i++)
		to += sprintf(to, "%s%02x", i == cut && i > 0 ? "\", \"" : "", bytes[i]);
	to += sprintf(to, "\"]}");
	char *text = answer(line, (size_t)(to - line));
	free(line);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!explainer)
		require(explainer_new(&explainer, NULL, 0) == 0);
	if (size == 0)
		return 0;
	if (data[0] == 0) {
		free(answer((const char *)data + 1, size - 1));
		return 0;
	}
	char *whole = answer_cut(data + 1, size - 1, 0), *pieces = answer_cut(data + 1, size - 1, data[0]);
	require(strcmp(whole, pieces) == 0);
	free(whole);
	free(pieces);
	return 0;
}
