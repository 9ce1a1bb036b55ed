/* LDAP, RFC 4511 4.14, in BER.
 *
 *     client    30 LL | 02 n id | 77 LL 80 16 1.3.6.1.4.1.1466.20037     StartTLS
 *               ->  30 LL | 02 n id | 78 07 0a 01 00 04 00 04 00         success, and TLS
 *     server    the StartTLS with id 1  ->  78 ... 0a 01 00, and TLS; another result: it has no TLS
 *
 * Lengths may be long ones. Refuses every other request: a client that binds or searches first has not asked for TLS. */
#include "starttls_kind.h"
#include <string.h>

#define OID "1.3.6.1.4.1.1466.20037"

enum {
	TAG_SEQUENCE = 0x30,
	TAG_INTEGER = 0x02,
	TAG_ENUMERATED = 0x0a,
	TAG_EXTENDED_REQUEST = 0x77,
	TAG_EXTENDED_RESPONSE = 0x78,
	TAG_REQUEST_NAME = 0x80,
	ID_LEN_MAX = 4,
};

static const uint8_t request[] = "\x30\x1d\x02\x01\x01\x77\x18\x80\x16" OID;
static const uint8_t success[] = "\x78\x07\x0a\x01\x00\x04\x00\x04\x00"; /* behind the id */

struct reader {
	const uint8_t *bytes;
	size_t len, at;
};

/* The tag and the length of an element. */
static enum verdict element_read(struct reader *reader, uint8_t tag, size_t *ret_len)
{
	const uint8_t *bytes = reader->bytes + reader->at;
	size_t len = reader->len - reader->at, n = 0;

	if (len > 0 && bytes[0] != tag)
		return VERDICT_NO;
	if (len < 2)
		return VERDICT_MORE;
	*ret_len = bytes[1];
	if (bytes[1] & 0x80) {
		n = bytes[1] & 0x7f;
		*ret_len = 0;
		if (n == 0 || n > 4)
			return VERDICT_NO;
		if (len < 2 + n)
			return VERDICT_MORE;
		for (size_t i = 0; i < n; i++)
			*ret_len = *ret_len << 8 | bytes[2 + i];
	}
	reader->at += 2 + n;
	return *ret_len < STARTTLS_MESSAGE_MAX ? VERDICT_YES : VERDICT_NO;
}

/* A message as far as its operation; where it ends, and its id. */
static enum verdict message_read(
	struct reader *reader, uint8_t operation, size_t *ret_end, const uint8_t **ret_id, size_t *ret_id_len)
{
	size_t len;

	enum verdict verdict = element_read(reader, TAG_SEQUENCE, &len);
	if (verdict != VERDICT_YES)
		return verdict;
	*ret_end = reader->at + len;
	verdict = element_read(reader, TAG_INTEGER, ret_id_len);
	if (verdict != VERDICT_YES)
		return verdict;
	if (*ret_id_len == 0 || *ret_id_len > ID_LEN_MAX)
		return VERDICT_NO;
	if (reader->len - reader->at < *ret_id_len)
		return VERDICT_MORE;
	*ret_id = reader->bytes + reader->at;
	reader->at += *ret_id_len;
	return element_read(reader, operation, &len);
}

/* A request for TLS, whole. */
static enum verdict request_read(
	const uint8_t *bytes, size_t len, size_t *ret_end, const uint8_t **ret_id, size_t *ret_id_len)
{
	struct reader reader = { bytes, len, 0 };
	size_t name_len, oid_len = strlen(OID);

	enum verdict verdict = message_read(&reader, TAG_EXTENDED_REQUEST, ret_end, ret_id, ret_id_len);
	if (verdict == VERDICT_YES)
		verdict = element_read(&reader, TAG_REQUEST_NAME, &name_len);
	if (verdict != VERDICT_YES)
		return verdict;
	size_t there = len - reader.at < oid_len ? len - reader.at : oid_len;
	if (name_len != oid_len || memcmp(bytes + reader.at, OID, there) != 0 || *ret_end < reader.at + oid_len)
		return VERDICT_NO;
	return len < *ret_end ? VERDICT_MORE : VERDICT_YES;
}

static enum verdict request_probe(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *id;
	size_t end, id_len;

	return request_read(evidence->bytes, evidence->len, &end, &id, &id_len);
}

static enum starttls_step hear_client(struct starttls *starttls, const uint8_t *bytes, size_t len, size_t *ret_taken)
{
	const uint8_t *id;
	size_t end, id_len;

	enum verdict verdict = request_read(bytes, len, &end, &id, &id_len);
	if (verdict == VERDICT_MORE)
		return STARTTLS_MORE;
	if (verdict == VERDICT_NO)
		return STARTTLS_REFUSED;
	*ret_taken = end;
	const uint8_t head[] = { TAG_SEQUENCE, (uint8_t)(2 + id_len + sizeof(success) - 1), TAG_INTEGER,
		(uint8_t)id_len };
	starttls_say(starttls, head, sizeof(head));
	starttls_say(starttls, id, id_len);
	starttls_say(starttls, success, sizeof(success) - 1);
	return STARTTLS_TLS;
}

static void meet_server(struct starttls *starttls)
{
	starttls_say(starttls, request, sizeof(request) - 1);
}

static enum starttls_step hear_server(struct starttls *starttls, const uint8_t *bytes, size_t len, size_t *ret_taken)
{
	struct reader reader = { bytes, len, 0 };
	const uint8_t *id = NULL;
	size_t end = 0, id_len = 0, code_len = 0;

	enum verdict verdict = message_read(&reader, TAG_EXTENDED_RESPONSE, &end, &id, &id_len);
	if (verdict == VERDICT_YES)
		verdict = element_read(&reader, TAG_ENUMERATED, &code_len);
	if (verdict == VERDICT_NO)
		return STARTTLS_REFUSED;
	if (verdict == VERDICT_MORE || len < end)
		return STARTTLS_MORE;
	*ret_taken = end;
	bool agrees = id_len == 1 && id[0] == 1 && code_len == 1 && reader.at < end && bytes[reader.at] == 0;
	return agrees ? STARTTLS_TLS : STARTTLS_REFUSED;
}

const struct starttls_protocol starttls_ldap = {
	.name = "ldap",
	.probe = { .name = "ldap-starttls", .stream = request_probe },
	.hear_client = hear_client,
	.hear_server = hear_server,
	.meet_server = meet_server,
};
