/* The built-in probes. Each looks at the first bytes that a client sent and answers YES, NO or MORE.
 * Each file says which document it follows and what it demands. */
#pragma once
#include "evidence.h"

typedef enum verdict probe_function(const struct evidence *evidence, struct findings *findings);

struct probe {
	const char *name;
	probe_function *run;
	unsigned attributes; /* bit set of 1 << enum attribute that it can learn */
};

extern const struct probe probes[];
extern const size_t n_probes;

const struct probe *probe_find(const char *name); /* NULL: no such */

probe_function probe_ssh, probe_http, probe_tls, probe_tcpmux;
