/* For targets whose input is read by libconfig. */
#pragma once
#include "fuzz.h"
#include <string.h>

/* libconfig 1.5 loses the string that it was reading where it meets a syntax error, and libFuzzer would look for what was lost
 * after every such run. The unit tests watch for what we lose. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

/* With a NUL behind it; NULL where it includes files, which are left out. The caller frees it. */
static inline char *libconfig_text(const uint8_t *data, size_t size)
{
	if (memmem(data, size, "include", 7))
		return NULL;
	char *text = malloc(size + 1);
	require(text != NULL);
	memcpy(text, data, size);
	text[size] = 0;
	return text;
}
