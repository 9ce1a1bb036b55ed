/* The HTTP probe at every cut: request lines, fields, HTTP/2 frames and header blocks. */
#include "../unit/cuts.h"
#include "fuzz.h"

#define DENSE 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (cuts_check(probe_find("http"), data, size, DENSE))
		abort();
	return 0;
}
