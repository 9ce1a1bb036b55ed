/* What a foreign configuration becomes: native text, and where each line of it comes from. */
#pragma once
#include "complaint.h"
#include <stddef.h>

struct native {
	char *text;
	unsigned *lines; /* of the foreign file, for each line of the text; 0: of none (command line, defaults) */
	size_t n_lines;
};

void native_fini(struct native *native); /* start from a zeroed one */

/* The foreign line behind a line of the text, counted from 1; 0: none. */
unsigned native_line(const struct native *native, unsigned line);

/* Complaints about the text, with the lines of the foreign file instead of the text's own. */
void native_complain(const struct native *native, const struct complaints *from, struct complaints *to);
