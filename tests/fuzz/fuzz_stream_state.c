/* The state of a stream that comes from a worker which may have been taken over: it is refused, or each part of it lies within it, there is
 * nothing else, and written again it is the same.
 *
 *     byte 0      how many descriptors came with it
 *     byte 1      the phase
 *     the rest    the state */
#include "fuzz.h"
#include "stream_state.h"
#include <stdlib.h>
#include <string.h>

static void state_check(enum session_phase phase, const uint8_t *bytes, size_t len, size_t n_fds)
{
	struct stream_state_parts parts;
	size_t n = 0;

	if (stream_state_read(&parts, phase, bytes, len, n_fds) < 0)
		return;
	require(parts.up == bytes + sizeof(*parts.head));
	require(parts.down == parts.up + parts.head->up.pending_len);
	require(parts.down + parts.head->down.pending_len == bytes + len);
	for (size_t i = 0; i < STREAM_FDS; i++)
		n += parts.head->has_fd[i];
	require(n == n_fds && parts.head->has_fd[STREAM_FD_CLIENT]);
	require(parts.head->has_fd[STREAM_FD_SERVER] == (phase == PHASE_RELAYING));

	uint8_t *again = malloc(len);
	require(again != NULL);
	require(stream_state_write(again, len, &parts) == (ssize_t)len);
	require(memcmp(again, bytes, len) == 0);
	free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	uint8_t *bytes = malloc(size > 2 ? size - 2 : 1); /* aligned, and its end is seen by the sanitizer */
	require(bytes != NULL);
	memcpy(bytes, data + 2, size - 2);
	state_check(
		(enum session_phase)(data[1] % SESSION_PHASES), bytes, size - 2, data[0] % (MIGRATION_FDS_MAX + 1));
	free(bytes);
	return 0;
}
