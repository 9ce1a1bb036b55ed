/* Can a library be preloaded into this program, and will its calls come to the library? */
#pragma once

/* NULL: nothing speaks against it. Else why not, for a message that begins with the program's name. */
const char *program_refusal(const char *path);
