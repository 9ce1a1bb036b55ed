/* The SSH probe at every cut. */
#include "../unit/cuts.h"
#include "fuzz.h"

#define DENSE 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (cuts_check(probe_find("ssh"), data, size, DENSE))
		abort();
	return 0;
}
