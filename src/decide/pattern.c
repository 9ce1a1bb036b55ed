/* Patterns of a user's own protocol, put together from simple ones.
 *
 * Refuses to look further than it was told to: each has a number of bytes past which it says YES or NO. Owns copies of what
 * it is made of, and the patterns that it was put together from. */
#include "pattern.h"

#include "arena.h"
#include "regex.h"

#include <stdlib.h>
#include <string.h>

enum pattern_kind { PATTERN_REGEX, PATTERN_TEXT, PATTERN_FIELD, PATTERN_ANY, PATTERN_ALL };

struct pattern {
	const struct arena *arena;
	enum pattern_kind kind;
	union {
		struct regex *regex;
		struct {
			uint8_t *bytes, *mask; /* the mask only of a field */
			size_t len;
			size_t within, at;
		};
		struct {
			struct pattern **patterns;
			size_t n_patterns;
		};
	};
};

static struct pattern *pattern_new(struct arena *arena, enum pattern_kind kind)
{
	struct pattern *pattern = arena_take(arena, sizeof(*pattern));

	if (pattern)
		*pattern = (struct pattern){ .arena = arena, .kind = kind };
	return pattern;
}

struct pattern *pattern_regex_new(
	struct arena *arena, const char *regex, size_t within, char *error, size_t error_size)
{
	struct regex *compiled = regex_new(arena, regex, within, error, error_size);
	struct pattern *pattern = compiled ? pattern_new(arena, PATTERN_REGEX) : NULL;

	if (!pattern) {
		regex_free(compiled);
		return NULL;
	}
	pattern->regex = compiled;
	return pattern;
}

static uint8_t *bytes_copy(struct arena *arena, const uint8_t *bytes, size_t len)
{
	uint8_t *copy = arena_take(arena, len);

	if (copy && bytes)
		memcpy(copy, bytes, len);
	else if (copy)
		memset(copy, 0xff, len);
	return copy;
}

struct pattern *pattern_text_new(struct arena *arena, const uint8_t *bytes, size_t len, size_t within)
{
	struct pattern *pattern = pattern_new(arena, PATTERN_TEXT);

	if (!pattern)
		return NULL;
	pattern->bytes = bytes_copy(arena, bytes, len);
	pattern->len = len;
	pattern->within = within;
	if (pattern->bytes)
		return pattern;
	pattern_free(pattern);
	return NULL;
}

struct pattern *pattern_field_new(
	struct arena *arena, const uint8_t *bytes, const uint8_t *mask, size_t len, size_t at)
{
	struct pattern *pattern = pattern_new(arena, PATTERN_FIELD);

	if (!pattern)
		return NULL;
	pattern->bytes = bytes_copy(arena, bytes, len);
	pattern->mask = bytes_copy(arena, mask, len);
	pattern->len = len;
	pattern->at = at;
	if (pattern->bytes && pattern->mask)
		return pattern;
	pattern_free(pattern);
	return NULL;
}

static struct pattern *pattern_put_together(
	struct arena *arena, enum pattern_kind kind, struct pattern *const *patterns, size_t n)
{
	struct pattern *pattern = pattern_new(arena, kind);
	bool whole = pattern && (pattern->patterns = arena_take(arena, (n + 1) * sizeof(struct pattern *)));

	for (size_t i = 0; i < n; i++) {
		whole = whole && patterns[i];
		if (pattern && pattern->patterns)
			pattern->patterns[pattern->n_patterns++] = patterns[i];
		else
			pattern_free(patterns[i]);
	}
	if (whole)
		return pattern;
	pattern_free(pattern);
	return NULL;
}

struct pattern *pattern_any_new(struct arena *arena, struct pattern *const *patterns, size_t n)
{
	return pattern_put_together(arena, PATTERN_ANY, patterns, n);
}

struct pattern *pattern_all_new(struct arena *arena, struct pattern *const *patterns, size_t n)
{
	return pattern_put_together(arena, PATTERN_ALL, patterns, n);
}

void pattern_free(struct pattern *pattern)
{
	if (!pattern)
		return;
	const struct arena *arena = pattern->arena;
	switch (pattern->kind) {
	case PATTERN_REGEX:
		regex_free(pattern->regex);
		break;
	case PATTERN_TEXT:
	case PATTERN_FIELD:
		arena_drop(arena, pattern->bytes);
		arena_drop(arena, pattern->mask);
		break;
	case PATTERN_ANY:
	case PATTERN_ALL:
		for (size_t i = 0; i < pattern->n_patterns; i++)
			pattern_free(pattern->patterns[i]);
		arena_drop(arena, pattern->patterns);
		break;
	}
	arena_drop(arena, pattern);
}

int pattern_revive(struct pattern *pattern)
{
	int r = 0;

	if (pattern->kind == PATTERN_REGEX)
		return regex_revive(pattern->regex);
	if (pattern->kind == PATTERN_ANY || pattern->kind == PATTERN_ALL)
		for (size_t i = 0; i < pattern->n_patterns && r == 0; i++)
			r = pattern_revive(pattern->patterns[i]);
	return r;
}

static enum verdict text_match(const struct pattern *pattern, const struct evidence *evidence)
{
	size_t len = evidence->len < pattern->within ? evidence->len : pattern->within;

	if (memmem(evidence->bytes, len, pattern->bytes, pattern->len))
		return VERDICT_YES;
	return len == pattern->within || evidence->search_over ? VERDICT_NO : VERDICT_MORE;
}

static enum verdict field_match(const struct pattern *pattern, const struct evidence *evidence)
{
	for (size_t i = 0; i < pattern->len; i++) {
		if (pattern->at + i >= evidence->len)
			return VERDICT_MORE;
		if ((evidence->bytes[pattern->at + i] ^ pattern->bytes[i]) & pattern->mask[i])
			return VERDICT_NO;
	}
	return VERDICT_YES;
}

/* The verdicts are in order: NO, MORE, YES. Any-of says the greatest, all-of the least. */
static enum verdict list_match(const struct pattern *pattern, const struct evidence *evidence)
{
	enum verdict last = pattern->kind == PATTERN_ANY ? VERDICT_YES : VERDICT_NO;
	enum verdict verdict = pattern->kind == PATTERN_ANY ? VERDICT_NO : VERDICT_YES;

	for (size_t i = 0; i < pattern->n_patterns && verdict != last; i++) {
		enum verdict one = pattern_match(pattern->patterns[i], evidence);
		if (pattern->kind == PATTERN_ANY ? one > verdict : one < verdict)
			verdict = one;
	}
	return verdict;
}

enum verdict pattern_match(const struct pattern *pattern, const struct evidence *evidence)
{
	switch (pattern->kind) {
	case PATTERN_REGEX:
		return regex_match(pattern->regex, evidence);
	case PATTERN_TEXT:
		return text_match(pattern, evidence);
	case PATTERN_FIELD:
		return field_match(pattern, evidence);
	case PATTERN_ANY:
	case PATTERN_ALL:
		return list_match(pattern, evidence);
	}
	return VERDICT_NO;
}
