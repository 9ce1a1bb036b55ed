/* What a running usher answered, shown. */
#pragma once
#include <stdbool.h>
#include <stdio.h>

/* The answer to a request that begins with `word`, lines of JSON: for people, or as it came. What is not JSON, or not all of
 * printable ASCII, is complained of on stderr. The text is cut into its lines. 0, or 1 where it says that something went wrong. */
int control_show(const char *word, char *answer, bool json, FILE *to);
