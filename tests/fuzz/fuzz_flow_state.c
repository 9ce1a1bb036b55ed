/* The state of a flow that comes from a worker which may have been taken over: it is refused, or its datagrams and its header lie within it, there is nothing
 * else, and written again it is the same.
 *
 *     byte 0      how many descriptors came with it
 *     byte 1      the phase
 *     the rest    the state */
#include "flow_state.h"
#include "fuzz.h"
#include <stdlib.h>
#include <string.h>

static void state_check(enum session_phase phase, const uint8_t *bytes, size_t len, size_t n_fds)
{
	static struct pool pool = KEPT_POOL;
	struct flow_kept kept = { 0 };
	struct flow_header *header;
	struct flow_state head;

	if (flow_state_read(&head, phase, bytes, len, n_fds) < 0)
		return;
	require(n_fds == (phase == PHASE_RELAYING));
	require(flow_state_keep(&kept, &pool, bytes, len) == 0);
	require(kept.n == head.n_kept && kept.bytes <= KEPT_BYTES_MAX);

	require(flow_state_header(&header, bytes, len) == 0);
	require(!header || header->len <= PROXY_HEADER_OWN_MAX);

	uint8_t *again = malloc(len);
	require(again != NULL);
	require(flow_state_write(again, len, &head, &kept, header) == (ssize_t)len);
	require(memcmp(again, bytes, len) == 0);
	free(again);
	free(header);
	flow_kept_free(&kept, &pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	uint8_t *bytes = malloc(size > 2 ? size - 2 : 1); /* its end is seen by the sanitizer */
	require(bytes != NULL);
	memcpy(bytes, data + 2, size - 2);
	state_check((enum session_phase)(data[1] % SESSION_PHASES), bytes, size - 2, data[0] % 3);
	free(bytes);
	return 0;
}
