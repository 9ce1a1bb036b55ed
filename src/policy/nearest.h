/* "Did you mean": how far one word is from another. */
#pragma once
#include <stdbool.h>

#define NEAREST_NONE 100

/* Insertions, deletions, replacements and swaps of neighbours; `-` and `_` count as the same, case does not
 * count. NEAREST_NONE where it is more than a slip of the pen: over 2, or over a third of the longer word. */
unsigned nearest_distance(const char *a, const char *b);
