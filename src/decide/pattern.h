/* What a user's own protocol looks like beyond a literal at its first byte: an expression, a text anywhere, bytes at an
 * offset under a mask, and any-of and all-of these. Three-valued and monotone as every matcher; within bounds that are known
 * before the first byte comes. */
#pragma once
#include "evidence.h"

struct arena;
struct pattern;

/* A regular expression, as regex_new() takes it and with its errors. Patterns are in the arena, and without one (NULL) on the heap. */
struct pattern *pattern_regex_new(
	struct arena *arena, const char *regex, size_t within, char *error, size_t error_size);

/* These bytes anywhere within the first so many (len..EVIDENCE_MAX). NULL: no memory, as below. */
struct pattern *pattern_text_new(struct arena *arena, const uint8_t *bytes, size_t len, size_t within);

/* At this offset the bytes are these, in the bits of the mask; NULL: in all. at + len <= EVIDENCE_MAX. */
struct pattern *pattern_field_new(
	struct arena *arena, const uint8_t *bytes, const uint8_t *mask, size_t len, size_t at);

/* Any of them, or all of them. Takes the patterns over, also where it fails; where one of them is NULL it fails. */
struct pattern *pattern_any_new(struct arena *arena, struct pattern *const *patterns, size_t n);
struct pattern *pattern_all_new(struct arena *arena, struct pattern *const *patterns, size_t n);

void pattern_free(struct pattern *pattern); /* accepts NULL */

/* In a process that got it from the one that made it, before it is matched. 0 or -ENOMEM. */
int pattern_revive(struct pattern *pattern);

enum verdict pattern_match(const struct pattern *pattern, const struct evidence *evidence);
