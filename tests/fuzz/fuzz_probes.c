/* Every probe over the same bytes: as a stream at every cut, and as one datagram.
 *
 * Input: the bytes of a connection. Their number also chooses what the client has been told before. */
#include "../unit/cuts.h"
#include "fuzz.h"
#include "server_banner.h"

#define DENSE 64
#define EARLY 64 /* bytes within which most probes say NO */

/* The shortest beginning of at most EARLY bytes of which it says NO; 0: none. */
static size_t no_find(const struct probe *probe, const uint8_t *data, size_t size)
{
	static struct answer answer;

	for (size_t len = 1; len <= size && len <= EARLY; len++) {
		answer_get(&answer, probe, data, len);
		if (answer.verdict == VERDICT_NO)
			return len;
	}
	return 0;
}

/* A NO is looked at again a little further on, in the middle and at the end; all else at every cut. */
static bool stream_is_sound(const struct probe *probe, const uint8_t *data, size_t size)
{
	static struct answer answer;
	size_t no = no_find(probe, data, size);

	if (no == 0 || size < no + 8)
		return !cuts_check(probe, data, size, DENSE);
	const size_t further[] = { no + 1, no + 8, (no + size) / 2, size };
	for (size_t i = 0; i < sizeof(further) / sizeof(further[0]); i++) {
		answer_get(&answer, probe, data, further[i]);
		if (answer.verdict != VERDICT_NO)
			return false;
	}
	return !cuts_check(probe, data, no, DENSE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cuts_greeting = size % (1 + SERVER_BANNER_KINDS);
	for (size_t i = 0; i < n_probes; i++)
		if (!stream_is_sound(&probes[i], data, size) ||
			(size > 0 && probes[i].datagram && datagram_check(&probes[i], data, size)))
			abort();
	return 0;
}
