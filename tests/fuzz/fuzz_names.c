/* Names and globs of a configuration, and the name that a client sent: the table finds those that cover it, compared one by one.
 *
 *     byte 0      hosts or text
 *     then        lines: the patterns; behind an empty line the name */
#include "fuzz.h"
#include "names.h"
#include <stdlib.h>
#include <string.h>

#define PATTERNS_MAX 16

static void found(void *context, const uint32_t *numbers, size_t count)
{
	bool *is_found = context;

	require(count > 0);
	for (size_t i = 0; i < count; i++) {
		require(numbers[i] < PATTERNS_MAX && (i == 0 || numbers[i] > numbers[i - 1]));
		is_found[numbers[i]] = true;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *patterns[PATTERNS_MAX];
	bool is_found[PATTERNS_MAX] = { false };
	uint32_t n = 0;

	if (size == 0)
		return 0;
	enum name_kind kind = data[0] & 1 ? NAME_HOST : NAME_TEXT;
	char *text = strndup((const char *)data + 1, size - 1), *rest = text, *line;
	struct names *names = names_new(NULL, kind);
	require(text && names);
	while ((line = strsep(&rest, "\n")) && *line) {
		bool is_no_suffix = kind == NAME_HOST && strcmp(line, "*.") == 0;
		bool usable = strlen(line) <= 255 && name_is_whole(kind, line) && !is_no_suffix;
		if (n == PATTERNS_MAX)
			continue;
		require((names_insert(names, line, n) == 0) == usable);
		if (usable)
			patterns[n++] = line;
	}
	const char *name = rest ? rest : "";
	size_t len = strlen(name);
	uint8_t *copy = malloc(len + (len == 0));
	require(copy != NULL);
	memcpy(copy, name, len);
	names_lookup(names, copy, len, found, is_found);
	for (uint32_t i = 0; i < n && len > 0; i++) /* no client says no name */
		require(is_found[i] == name_matches(kind, patterns[i], copy, len));
	free(copy);
	names_free(names);
	free(text);
	return 0;
}
