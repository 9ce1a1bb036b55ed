/* What a name server answers to a question for SRV records: whatever its bytes, hosts are host names, and addresses are addresses with ports. */
#include "fuzz.h"
#include "srv_answer.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct srv_answer answer;
	struct resolved_address addresses[RESOLVED_ADDRESSES_MAX];
	size_t refused;

	if (srv_answer_read(data, size, &answer) < 0)
		return 0;
	if (answer.n > SRV_TARGETS_MAX || (answer.n == 0) != answer.withdrawn)
		abort();
	for (size_t i = 0; i < answer.n; i++)
		if (answer.targets[i].n > SRV_ADDRESSES_MAX || answer.targets[i].port == 0 ||
			!answer.targets[i].host[0] || strlen(answer.targets[i].host) > 254)
			abort();
	size_t n = srv_answer_addresses(&answer, NULL, NULL, addresses, &refused);
	if (n > RESOLVED_ADDRESSES_MAX || refused > 0)
		abort();
	for (size_t i = 0; i < n; i++)
		if (!address_is_ip(&addresses[i].address) || address_port(&addresses[i].address) == 0 ||
			addresses[i].weight == 0 || addresses[i].weight > 256)
			abort();
	return 0;
}
