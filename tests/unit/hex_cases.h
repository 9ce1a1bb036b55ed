/* Tables of datagrams in hexadecimal, and what a probe must say of each. Blanks are for the eye. */
#pragma once
#include "probe_cases.h"

struct hex_case {
	const char *hex;
	enum verdict verdict;
	const char *values; /* with YES, as in probe_cases.h */
};

static inline size_t hex_read(const char *hex, uint8_t *dst, size_t size)
{
	size_t len = 0;
	unsigned byte;

	for (; *hex; hex += *hex == ' ' ? 1 : 2) {
		if (*hex == ' ')
			continue;
		if (len == size || sscanf(hex, "%2x", &byte) != 1)
			abort();
		dst[len++] = (uint8_t)byte;
	}
	return len;
}

/* How many went otherwise. */
static inline int hex_check(const char *name, const struct hex_case *cases, size_t n)
{
	int wrong = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t bytes[2048];
		struct probe_case one = { bytes, hex_read(cases[i].hex, bytes, sizeof(bytes)), cases[i].verdict, 0,
			cases[i].values ? cases[i].values : "" };
		if (datagrams_check(name, &one, 1)) {
			fprintf(stderr, "%s, case %zu: %.60s\n", name, i, cases[i].hex);
			wrong++;
		}
	}
	return wrong;
}

#define HEX_CHECK(name, cases) assert_int_equal(hex_check(name, cases, sizeof(cases) / sizeof((cases)[0])), 0)
