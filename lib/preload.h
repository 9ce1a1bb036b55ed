/* Can a library be preloaded into this program, and will its calls come to the library? */
#pragma once
#include <stddef.h>

/* The file that execvp() would run for `name`. 0; -ENOENT, -EACCES, -ENAMETOOLONG. */
int program_find(const char *name, char *ret_path, size_t size);

/* NULL: nothing speaks against it. Else why not, for a message that begins with the program's name. */
const char *program_refusal(const char *path);
