/* Serving under another program's configuration: translated by its dialect, loaded as usher's own,
 * complained of with the lines of the foreign file. */
#pragma once
#include "complaint.h"
#include "native.h"
#include "policy.h"

struct foreign {
	const char *file;
	int (*translate)(const void *options, struct native *ret, const char *file, struct complaints *complaints);
	const void *options;
	const char *control; /* where its socket was asked for; NULL: nowhere, "": there is to be none */
};

/* For master_options: the context is a struct foreign. */
int foreign_load(const void *context, struct arena *arena, struct policy **ret, struct complaints *complaints);
void foreign_tell(const struct policy *policy); /* writes the text to the log */

/* Prints the native configuration to stdout and complaints to stderr. The exit status. */
int foreign_print(const struct foreign *foreign);
