/* DICOM by its A-ASSOCIATE-RQ, PS3.8 9.3.2.
 *
 *     01 00 | LL LL LL LL | 00 01 | 00 00 | called AE title[16] | calling AE title[16] | 00[32] | 10 00 LL LL ...
 *             what follows  version                                                    ^ YES     application context
 *
 * YES with the titles: printable, filled up with blanks (or, by some, zeros), and not empty. Refuses other PDUs, none of
 * which comes first. Owns no memory. */
#include "look.h"
#include "probe.h"

enum {
	HEADER_LEN = 10,
	TITLE_LEN = 16,
	REQUEST_LEN_MIN = 68 + 4, /* behind the length: all that is fixed, and one item's header */
	REQUEST_LEN_MAX = 1 << 20,
};

/* As far as it is there. */
static bool title_match(const uint8_t *title, size_t len)
{
	size_t n = 0;

	while (n < len && title[n] >= ' ' && title[n] <= '~')
		n++;
	for (size_t i = n; i < len; i++)
		if (title[i] != 0)
			return false;
	for (size_t i = 0; i < n; i++)
		if (title[i] != ' ')
			return true;
	return len < TITLE_LEN && n == len;
}

enum verdict probe_dicom(const struct evidence *evidence, struct findings *findings)
{
	static const uint8_t want[HEADER_LEN] = { 1, [7] = 1 };
	static const uint8_t mask[HEADER_LEN] = { 0xff, 0xff, 0xff, [6] = 0xff, 0xff, 0xff, 0xff };
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence->len;

	enum verdict verdict = look_masked(bytes, len, want, mask, HEADER_LEN);
	if (verdict == VERDICT_NO || len < 6)
		return verdict;
	if (look_be32(bytes + 2) < REQUEST_LEN_MIN || look_be32(bytes + 2) > REQUEST_LEN_MAX)
		return VERDICT_NO;
	for (size_t at = HEADER_LEN; at < HEADER_LEN + 2 * TITLE_LEN; at += TITLE_LEN) {
		if (len <= at)
			return VERDICT_MORE;
		if (!title_match(bytes + at, len - at < TITLE_LEN ? len - at : TITLE_LEN))
			return VERDICT_NO;
	}
	return len < HEADER_LEN + 2 * TITLE_LEN ? VERDICT_MORE : VERDICT_YES;
}
