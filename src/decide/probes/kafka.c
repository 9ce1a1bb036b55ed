/* Kafka by its first request, "Kafka protocol guide", "Request Header": ApiVersions, Metadata or SaslHandshake of clients
 * of today, and what those before 0.10 begin with.
 *
 *     LL LL LL LL | key[2] | version[2] | correlation id[4] | NN NN client id[NN] | ...
 *     the rest      below    below        small, or at the     ffff: none          ^ YES
 *                                         top: SASL's of Java
 *
 * YES with the client id, which is printable; the request has room for it. Of requests without a client id all are taken but
 * Produce and Fetch, whose zeros would be too much like noise. Refuses other requests first. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

enum {
	LENGTH_LEN = 4,
	HEADER_LEN = 14, /* to the client id */
	REQUEST_LEN_MAX = 1 << 20,
	CLIENT_ID_MAX = 255,
	NO_CLIENT_ID = 0xffff,
	CORRELATION_MAX = 0xffff,
	KEY_FETCH = 1,
};

#define CORRELATION_RESERVED 0x7ffffff8U /* and above: Java clients' during SASL */

/* The requests that a client begins with, and the highest version of each. */
static const struct {
	uint8_t key, version_max;
} requests[] = {
	{ 0, 12 }, /* Produce */
	{ 1, 17 }, /* Fetch */
	{ 2, 10 }, /* ListOffsets */
	{ 3, 13 }, /* Metadata */
	{ 10, 6 }, /* FindCoordinator */
	{ 17, 1 }, /* SaslHandshake */
	{ 18, 4 }, /* ApiVersions */
};

static bool request_exists(uint32_t key, uint32_t version)
{
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		if (requests[i].key == key)
			return version <= requests[i].version_max;
	return false;
}

static enum verdict header_match(const uint8_t *bytes, size_t len)
{
	if ((len > 0 && bytes[0] != 0) || (len > 1 && bytes[1] > REQUEST_LEN_MAX >> 16))
		return VERDICT_NO;
	if (len > 3 && look_be32(bytes) < HEADER_LEN - LENGTH_LEN)
		return VERDICT_NO;
	if ((len > 5 && !request_exists(look_be16(bytes + 4), 0)) || (len > 6 && bytes[6] != 0))
		return VERDICT_NO;
	if (len > 7 && !request_exists(look_be16(bytes + 4), look_be16(bytes + 6)))
		return VERDICT_NO;
	if (len > 11 && look_be32(bytes + 8) > CORRELATION_MAX && look_be32(bytes + 8) < CORRELATION_RESERVED)
		return VERDICT_NO;
	return len < HEADER_LEN ? VERDICT_MORE : VERDICT_YES;
}

enum verdict probe_kafka(const struct evidence *evidence, struct findings *findings)
{
	size_t len = evidence_len(evidence);
	const uint8_t *bytes = evidence->bytes;

	enum verdict verdict = header_match(bytes, len);
	if (verdict != VERDICT_YES)
		return verdict;
	uint32_t id_len = look_be16(bytes + 12), room = look_be32(bytes) + LENGTH_LEN - HEADER_LEN;
	if (id_len == NO_CLIENT_ID || id_len == 0)
		return look_be16(bytes + 4) > KEY_FETCH ? VERDICT_YES : VERDICT_NO;
	if (id_len > CLIENT_ID_MAX || id_len > room)
		return VERDICT_NO;
	for (size_t i = HEADER_LEN; i < HEADER_LEN + id_len; i++) {
		if (i == len)
			return VERDICT_MORE;
		if (bytes[i] < ' ' || bytes[i] > '~')
			return VERDICT_NO;
	}
	return VERDICT_YES;
}
