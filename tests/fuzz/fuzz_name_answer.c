/* What a process that ran a module of nsswitch.conf says: addresses of the two families, or no answer. */
#include "fuzz.h"
#include "name_helper.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct address addresses[RESOLVED_ADDRESSES_MAX];
	struct name_answer answer = { 0 };
	char text[ADDRESS_TEXT_MAX];
	size_t n = 0;

	memcpy(&answer, data, size < sizeof(answer) ? size : sizeof(answer));
	if (!name_answer_read(&answer, addresses, &n))
		return 0;
	if (n > RESOLVED_ADDRESSES_MAX)
		abort();
	for (size_t i = 0; i < n; i++)
		if (!address_is_ip(&addresses[i]) || !*address_format(&addresses[i], text))
			abort();
	return 0;
}
