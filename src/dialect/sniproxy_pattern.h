/* Patterns of sniproxy's tables, which are regular expressions found anywhere in a name, as globs that cover the whole name. */
#pragma once
#include <stddef.h>

#define SNIPROXY_GLOBS_MAX 64 /* of one pattern */

struct sniproxy_globs {
	char *items[SNIPROXY_GLOBS_MAX];
	size_t n;
};

/* NULL; or what of it is no glob. What stands in `ret` is to be freed either way. */
const char *sniproxy_pattern(const char *pattern, struct sniproxy_globs *ret);
void sniproxy_globs_fini(struct sniproxy_globs *globs);
