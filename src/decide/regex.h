/* A user's regular expression: PCRE2, compiled once with JIT, matched with partial matching so that "more
 * bytes could still make it match" is an answer, and under match, depth and heap limits so that hostile bytes
 * cannot make it run away. */
#pragma once
#include "evidence.h"

struct arena;
struct regex;

/* In the arena but for what PCRE2 makes, or without one (NULL) on the heap. `within`: only the first so many bytes are looked at (1..EVIDENCE_MAX). Bytes are bytes (no UTF), `.`
 * matches newline. NULL on failure, with a message in `error` ("at offset 7: missing
 * closing parenthesis"). */
struct regex *regex_new(struct arena *arena, const char *text, size_t within, char *error, size_t error_size);
void regex_free(struct regex *regex); /* accepts NULL */

/* In a process that got it from the one that made it: what PCRE2 made is made again. 0 or -ENOMEM. */
int regex_revive(struct regex *regex);

/* NO also when a limit was hit, and of an unanchored expression where the search is over. Monotone in the bytes otherwise:
 * YES only when more bytes cannot take the match back. */
enum verdict regex_match(const struct regex *regex, const struct evidence *evidence);
