/* nsswitch.conf: whatever is in it, the services are names that a file can be called by, and each name has a way that can be told. */
#include "fuzz.h"
#include "nsswitch.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char lookups[3], said[NSSWITCH_TEXT_MAX];
	struct nsswitch nsswitch;
	char *text = strndup((const char *)data, size);

	if (!text)
		return 0;
	nsswitch_parse(text, &nsswitch);
	if (nsswitch.n == 0 || nsswitch.n > NSSWITCH_SERVICES_MAX)
		abort();
	for (size_t i = 0; i < nsswitch.n; i++)
		if (!nsswitch.services[i][0] || strpbrk(nsswitch.services[i], "/. \t[]"))
			abort();
	nsswitch_lookups(&nsswitch, lookups);
	if (strlen(lookups) < 1 || strspn(lookups, "fb") != strlen(lookups))
		abort();
	nsswitch_describe(&nsswitch, text, said);
	nsswitch_describe(&nsswitch, "printer.local", said);
	if (!said[0])
		abort();
	free(text);
	return 0;
}
