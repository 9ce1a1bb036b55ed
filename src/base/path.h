/* Paths as files see them. */
#pragma once
#include <stdbool.h>

/* Do both name the same place: by spelling (`/./`, `//`, `dir/..`), through symbolic links, also ones whose target is not there yet,
 * or as one file under two names? Paths of PATH_MAX bytes or more are compared as they are written. It looks at the file system,
 * and may wait for it. */
bool path_same(const char *first, const char *second);
