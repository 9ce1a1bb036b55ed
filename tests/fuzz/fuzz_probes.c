/* Every probe over the same bytes: as a stream at every cut, and as one datagram.
 *
 * Input: the bytes of a connection. */
#include "../unit/cuts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DENSE 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < n_probes; i++)
		if (cuts_check(&probes[i], data, size, DENSE) ||
			(size > 0 && probes[i].datagram && datagram_check(&probes[i], data, size)))
			abort();
	return 0;
}
