/* DTLS as it comes: flows of several datagrams.
 *
 * Input: datagrams, each behind its length (two bytes). */
#include "datagrams.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_flow flow;

	fuzz_flow_read(&flow, data, size);
	fuzz_flow_check(probe_find("dtls"), &flow);
	return 0;
}
