/* A header block of HTTP/2 (RFC 7541) of any bytes, in one HEADERS frame and torn into CONTINUATION frames, with padding and
 * priority: the probe learns the same, and no cut of it changes what was settled.
 *
 *     byte 0      padding, priority, frames of the connection in front
 *     byte 1      how long the pieces are
 *     the rest    the header block */
#include "../unit/cuts.h"
#include "fuzz.h"

#define DENSE        128
#define PREFACE      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define ROOM         (EVIDENCE_MAX + 4096)
#define HEADERS      1
#define PRIORITY     2
#define SETTINGS     4
#define PING         6
#define CONTINUATION 9
#define END_HEADERS  0x4
#define PADDED       0x8
#define PRIORITIZED  0x20

struct stream {
	uint8_t bytes[ROOM];
	size_t len;
};

static void put(struct stream *to, const void *bytes, size_t len)
{
	if (len > ROOM - to->len)
		abort();
	memcpy(to->bytes + to->len, bytes, len);
	to->len += len;
}

static void put_frame(struct stream *to, uint8_t type, uint8_t flags, uint8_t stream, size_t len)
{
	const uint8_t header[9] = { (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, type, flags, 0, 0, 0,
		stream };

	put(to, header, sizeof(header));
}

static void request_make(struct stream *to, uint8_t how, const uint8_t *block, size_t len, size_t piece)
{
	static const uint8_t zeros[256];
	size_t first = len < piece ? len : piece, pad = how & 1 ? how >> 3 : 0, more = how & 2 ? 5 : 0;

	to->len = 0;
	put(to, PREFACE, sizeof(PREFACE) - 1);
	put_frame(to, SETTINGS, 0, 0, 0);
	if (how & 4) {
		put_frame(to, PING, 0, 0, 8);
		put(to, zeros, 8);
		put_frame(to, PRIORITY, 0, 3, 5);
		put(to, zeros, 5);
	}
	uint8_t flags =
		(uint8_t)((how & 1 ? PADDED : 0) | (how & 2 ? PRIORITIZED : 0) | (first == len ? END_HEADERS : 0));
	put_frame(to, HEADERS, flags, 1, (how & 1) + more + first + pad);
	if (how & 1)
		put(to, &(uint8_t){ (uint8_t)pad }, 1);
	put(to, zeros, more);
	put(to, block, first);
	put(to, zeros, pad);
	for (size_t at = first; at < len; at += piece) {
		size_t n = len - at < piece ? len - at : piece;
		put_frame(to, CONTINUATION, at + n == len ? END_HEADERS : 0, 1, n);
		put(to, block + at, n);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct stream whole, torn;
	static struct answer a, b;

	if (size < 3 || size > 2048)
		return 0;
	request_make(&whole, 0, data + 2, size - 2, size);
	request_make(&torn, data[0], data + 2, size - 2, 1 + data[1]);
	answer_get(&a, probe_find("http"), whole.bytes, whole.len);
	answer_get(&b, probe_find("http"), torn.bytes, torn.len);
	if (a.verdict != VERDICT_YES || b.verdict != VERDICT_YES)
		abort();
	for (int i = 0; i < ATTRIBUTE_COUNT; i++)
		if (!answer_equal(&a, &b, i))
			abort();
	if (cuts_check(probe_find("http"), torn.bytes, torn.len, DENSE))
		abort();
	return 0;
}
