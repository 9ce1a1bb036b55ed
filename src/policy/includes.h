/* `@include "path"` of configuration text, or `@include "conf.d/10-*"`: all files that match, in the order of their names; none is no
 * error. Included files are put into the text here, and not by libconfig, which would wait for a FIFO. */
#pragma once
#include "complaint.h"
#include "sources.h"
#include <stdbool.h>
#include <stddef.h>

struct includes;

/* The text with all that it includes in its place. Paths are relative to `folder` (NULL: the current one). What cannot be
 * included is complained about, at the line that names it, and NULL returned; `file` must live as long as what is returned. Files and patterns are added to
 * `sources`. */
struct includes *includes_expand(const char *file, const char *folder, const char *text, size_t len,
	struct sources *sources, struct complaints *complaints);
void includes_free(struct includes *includes); /* accepts NULL */

char *includes_text(const struct includes *includes, size_t *ret_len); /* with a NUL behind it; it may be changed */
bool includes_any(const struct includes *includes);                    /* there is another file in it */

/* Where a line of that text stands: the file, as it was named, and the line there. */
const char *includes_place(const struct includes *includes, unsigned line, unsigned *ret_line);
