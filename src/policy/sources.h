/* The files that a configuration is read from: whoever follows it looks at them. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct source {
	char *path;      /* of a file, whether it is there or not */
	bool is_pattern; /* of files, as glob(3) takes it */
};

struct sources {
	struct source *list;
	size_t n;
};

/* The file, the files and patterns that it includes, what matches these, and its lists of addresses (`file:'), as far as it can be read.
 * Not modules, programs and other files that it only names. Some may be listed twice. */
void sources_read(const char *file, struct sources *ret);
void sources_add(struct sources *sources, const char *path, bool is_pattern); /* NULL: nobody wants to know */
void sources_free(struct sources *sources);
