/* The list of the built-in probes. The order is that of the protocols in a policy. No probe learns an
 * attribute that another one learns: the decider asks one probe for each. Owns no memory. */
#include "probe.h"

#include <string.h>

const struct probe probes[] = {
	{ "ssh", probe_ssh, 0 },
	{ "http", probe_http, 1U << ATTRIBUTE_HOST },
	{ "tls", probe_tls, 1U << ATTRIBUTE_SNI | 1U << ATTRIBUTE_ALPN },
	{ "tcpmux", probe_tcpmux, 1U << ATTRIBUTE_SERVICE },
};
const size_t n_probes = sizeof(probes) / sizeof(probes[0]);

const struct probe *probe_find(const char *name)
{
	for (size_t i = 0; i < n_probes; i++)
		if (strcmp(probes[i].name, name) == 0)
			return &probes[i];
	return NULL;
}
