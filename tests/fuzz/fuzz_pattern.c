/* A protocol of the user's own, of any form, over any bytes: it compiles or is refused with a reason, and no verdict on a
 * beginning is taken back.
 *
 *     byte 0      regex, text or field; alone, or any-of or all-of with another
 *     byte 1      within, or at
 *     byte 2      length of the pattern; then it, and then the bytes of a connection */
#include "fuzz.h"
#include "pattern.h"
#include <stdlib.h>
#include <string.h>

#define DENSE 64

static struct pattern *regex_or_refusal(const char *text, size_t within)
{
	char error[200] = "";
	struct pattern *pattern = pattern_regex_new(NULL, text, within, error, sizeof(error));

	require((pattern == NULL) == (error[0] != '\0') && strlen(error) < sizeof(error));
	return pattern;
}

/* NULL: it is none. */
static struct pattern *pattern_make(unsigned kind, const uint8_t *bytes, size_t len, size_t place)
{
	char text[256];

	switch (kind) {
	case 0:
		memcpy(text, bytes, len);
		text[len] = '\0';
		return regex_or_refusal(text, 1 + place * 4);
	case 1:
		return len ? pattern_text_new(NULL, bytes, len, len + place) : NULL;
	case 2:
		return len ? pattern_field_new(NULL, bytes, NULL, len, place) : NULL;
	default:
		return len > 1 ? pattern_field_new(NULL, bytes, bytes + len / 2, len / 2, place) : NULL;
	}
}

static void cuts_check(const struct pattern *pattern, const uint8_t *data, size_t size)
{
	enum verdict old = VERDICT_MORE;
	size_t step = 1 + size / DENSE;

	for (size_t len = 0; len <= size; len += len < 32 || size - len < 32 || size - len <= step ? 1 : step) {
		uint8_t *copy = malloc(len + (len == 0));
		require(copy != NULL);
		if (len)
			memcpy(copy, data, len);
		enum verdict verdict = pattern_match(pattern, &(struct evidence){ .bytes = copy, .len = len });
		enum verdict last =
			pattern_match(pattern, &(struct evidence){ .bytes = copy, .len = len, .search_over = true });
		free(copy);
		require(old == VERDICT_MORE || verdict == old);
		require(verdict != VERDICT_YES || last == VERDICT_YES);
		old = verdict;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3 || data[2] > size - 3)
		return 0;
	size_t len = data[2] < 255 ? data[2] : 254;
	const uint8_t *bytes = data + 3;
	struct pattern *pattern = pattern_make(data[0] % 4, bytes, len, data[1]);

	if (pattern && data[0] & 48 && len > 0) {
		struct pattern *both[] = { pattern, pattern_text_new(NULL, bytes, 1, 1 + data[1]) };
		pattern = data[0] & 16 ? pattern_any_new(NULL, both, 2) : pattern_all_new(NULL, both, 2);
		require(pattern != NULL);
	}
	if (pattern)
		cuts_check(pattern, bytes + len, size - 3 - len);
	pattern_free(pattern);
	return 0;
}
