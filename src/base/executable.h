/* The file of a program: found in PATH, and looked at before it is run. */
#pragma once
#include <stddef.h>

/* May the caller, by its effective identity, run this file? 0 or -errno; -EISDIR: it is a folder; -EACCES: it may not, or it is no
 * regular file. */
int executable_check(const char *path);

/* The file that a name stands for: with a slash that file, else the first in the absolute folders of PATH that may be run; the current
 * folder is no place to take programs from by accident. Where PATH is not set, the usual folders. 0 or -errno: -ENOENT: it is in none of
 * them; -EACCES: one that is there may not be run; -ENAMETOOLONG: `size` is too small. */
int executable_find(const char *name, char *ret_path, size_t size);
