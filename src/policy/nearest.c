/* The distance between two words, for suggestions in complaints. Refuses words over 63 bytes: nobody mistypes
 * those into one another. Owns no memory. */
#include "nearest.h"
#include <string.h>

#define WORD_MAX 63

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static char fold(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c + ('a' - 'A'));
	return c == '_' ? '-' : c;
}

unsigned nearest_distance(const char *a, const char *b)
{
	size_t n = strnlen(a, WORD_MAX + 1), m = strnlen(b, WORD_MAX + 1);
	unsigned row[3][WORD_MAX + 1]; /* of the classic table: two before, the one before, this one */
	unsigned *before = row[0], *last = row[1], *this = row[2];

	if (n > WORD_MAX || m > WORD_MAX || n > m + 2 || m > n + 2)
		return NEAREST_NONE;
	for (size_t j = 0; j <= m; j++)
		last[j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		this[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			bool same = fold(a[i - 1]) == fold(b[j - 1]);
			this[j] = least(least(last[j], this[j - 1]) + 1, last[j - 1] + !same);
			if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) && fold(a[i - 2]) == fold(b[j - 1]))
				this[j] = least(this[j], before[j - 2] + 1);
		}
		unsigned *spare = before;
		before = last;
		last = this;
		this = spare;
	}
	unsigned longer = (unsigned)(n > m ? n : m);
	return last[m] <= 2 && last[m] * 3 <= longer ? last[m] : NEAREST_NONE;
}
