/* A message that comes in pieces, in any order, twice and overlapping: of bytes that came twice the first count, so that what is
 * there without a gap never changes. For probes that span datagrams. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PIECES_LEN_MAX 16384 /* bytes of the message; what lies behind is left out */

struct pieces {
	uint8_t *bytes;                      /* PIECES_LEN_MAX of them, of which those are written that have come */
	uint64_t there[PIECES_LEN_MAX / 64]; /* bit set of those */
};

/* A word of the bit set after the other. */
static inline void pieces_put(struct pieces *pieces, uint64_t offset, const uint8_t *bytes, uint64_t len)
{
	if (offset >= PIECES_LEN_MAX)
		return;
	size_t at = (size_t)offset, end = len < PIECES_LEN_MAX - offset ? at + (size_t)len : PIECES_LEN_MAX;
	while (at < end) {
		size_t bit = at % 64, n = end - at < 64 - bit ? end - at : 64 - bit;
		uint64_t mask = (n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1) << bit;
		uint64_t missing = mask & ~pieces->there[at / 64];
		const uint8_t *from = bytes + (at - (size_t)offset);
		if (missing == mask)
			memcpy(pieces->bytes + at, from, n);
		else
			for (size_t i = 0; i < n; i++)
				if (missing >> (bit + i) & 1)
					pieces->bytes[at + i] = from[i];
		pieces->there[at / 64] |= mask;
		at += n;
	}
}

/* How many bytes are there without a gap. */
static inline size_t pieces_len(const struct pieces *pieces)
{
	size_t len = 0;

	while (len < PIECES_LEN_MAX && pieces->there[len / 64] == UINT64_MAX)
		len += 64;
	return len < PIECES_LEN_MAX ? len + (size_t)__builtin_ctzll(~pieces->there[len / 64]) : len;
}
