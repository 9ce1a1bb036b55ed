/* What a backend answers to a check, at every cut: a verdict is never taken back, and comes within the bounds. */
#include "fuzz.h"
#include "server_opening.h"
#include <string.h>

/* A copy of its own, so that a byte behind it is seen. */
static enum verdict match_cut(
	const struct server_opening *opening, const uint8_t *data, size_t len, unsigned *ret_status)
{
	uint8_t *copy = malloc(len + (len == 0));

	require(copy != NULL);
	if (len)
		memcpy(copy, data, len);
	enum verdict verdict = opening ? opening->match(copy, len) : http_status_read(copy, len, ret_status);
	free(copy);
	return verdict;
}

static void at_every_cut(const struct server_opening *opening, const uint8_t *data, size_t size)
{
	enum verdict old = VERDICT_MORE;
	unsigned old_status = 0;

	for (size_t len = 0; len <= size && len <= SERVER_OPENING_MAX + 16; len++) {
		unsigned status = 0;
		enum verdict verdict = match_cut(opening, data, len, &status);
		require(old == VERDICT_MORE || verdict == old);
		require(len < SERVER_OPENING_MAX || verdict != VERDICT_MORE);
		require(opening || verdict != VERDICT_YES || status < 1000);
		require(old != VERDICT_YES || status == old_status);
		old = verdict;
		old_status = status;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < n_server_openings; i++)
		at_every_cut(&server_openings[i], data, size);
	at_every_cut(NULL, data, size);
	return 0;
}
