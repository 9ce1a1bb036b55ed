/* Kerberos 5 by its requests, RFC 4120 5.4.1, in DER; over TCP behind their length (7.2.2), in a datagram alone.
 *
 *     LL LL LL LL | 6a LL | 30 LL | a1 03 02 01 05 | a2 03 02 01 0a | ...     AS-REQ
 *                   6c                               a2 03 02 01 0c           TGS-REQ
 *                                   version          type        ^ YES
 *
 * The lengths around it must agree exactly. Refuses messages to an application server, version 4 and changes of passwords
 * (RFC 3244), which have another frame. Owns no memory. */
#include "look.h"
#include "probe.h"

enum {
	TAG_AS_REQUEST = 0x6a,
	TAG_TGS_REQUEST = 0x6c,
	TAG_SEQUENCE = 0x30,
	REQUEST_MIN = 40,
	REQUEST_MAX = 1 << 20, /* tickets of who is in many groups are long */
};

struct reader {
	const uint8_t *bytes;
	size_t len, at;
	size_t end; /* of what the reader is in */
};

/* The length behind a tag, to 4 bytes long; the element must end where what is around it does. */
static enum verdict length_read(struct reader *reader)
{
	const uint8_t *bytes = reader->bytes + reader->at;
	size_t len = reader->len - reader->at, n = 0, value;

	if (len == 0)
		return VERDICT_MORE;
	value = bytes[0];
	if (value & 0x80) {
		n = value & 0x7f;
		if (n == 0 || n > 4)
			return VERDICT_NO;
		if (len < 1 + n)
			return VERDICT_MORE;
		value = 0;
		for (size_t i = 1; i <= n; i++)
			value = value << 8 | bytes[i];
	}
	reader->at += 1 + n;
	if (value < REQUEST_MIN / 2 || value > REQUEST_MAX)
		return VERDICT_NO;
	return reader->at + value == reader->end ? VERDICT_YES : VERDICT_NO;
}

/* A request that is to be `total` bytes long, of which `len` are there. */
static enum verdict request_match(const uint8_t *bytes, size_t len, size_t total)
{
	struct reader reader = { bytes, len, .at = 1, .end = total };
	uint8_t want[] = { 0xa1, 3, 2, 1, 5, 0xa2, 3, 2, 1, 0 };

	if (len == 0)
		return VERDICT_MORE;
	if (bytes[0] != TAG_AS_REQUEST && bytes[0] != TAG_TGS_REQUEST)
		return VERDICT_NO;
	want[sizeof(want) - 1] = bytes[0] & 0x1f;
	enum verdict verdict = length_read(&reader);
	if (verdict != VERDICT_YES)
		return verdict;
	if (reader.at == len)
		return VERDICT_MORE;
	if (bytes[reader.at++] != TAG_SEQUENCE)
		return VERDICT_NO;
	verdict = length_read(&reader);
	if (verdict != VERDICT_YES)
		return verdict;
	return look_literal(bytes + reader.at, len - reader.at, (const char *)want, sizeof(want));
}

enum verdict probe_kerberos(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence->len;

	if ((len > 0 && bytes[0] != 0) || (len > 1 && bytes[1] > REQUEST_MAX >> 16))
		return VERDICT_NO;
	if (len < 4)
		return VERDICT_MORE;
	size_t total = look_be32(bytes);
	if (total < REQUEST_MIN || total > REQUEST_MAX)
		return VERDICT_NO;
	return request_match(bytes + 4, len - 4, total);
}

enum verdict probe_kerberos_datagram(const struct evidence *evidence, struct findings *findings)
{
	if (evidence->len < REQUEST_MIN)
		return VERDICT_NO;
	return request_match(evidence->bytes, evidence->len, evidence->len) == VERDICT_YES ? VERDICT_YES : VERDICT_NO;
}
