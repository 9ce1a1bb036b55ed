/* LDAP by its first message, RFC 4511 4.1.1, in BER.
 *
 *     30 LL | 02 n id | 60 LL 02 01 03 04 n name 80 ...     BindRequest: version 2 or 3, a name, simple or SASL
 *                       63 LL 04 n base 0a 01 scope ...     SearchRequest
 *                       77 LL 80 n oid ...                  ExtendedRequest: StartTLS
 *                       42 00                             UnbindRequest, of a client that has changed its mind
 *                       66 LL 04 n name 30 ...            ModifyRequest; 68 add, 6e compare: likewise
 *                       6c LL 04 n name 04 n name 01 ...  ModifyDNRequest
 *                       4a n name                         DelRequest
 *                       50 n id                           AbandonRequest
 *     lengths may be long: 84 00 00 00 0c                            ^ YES
 *
 * YES with the first element of the operation; each length fits into the one around it. Of the operations that change
 * something, which most clients send behind a bind, YES comes behind the name: with the tag of the second element, or for a
 * delete with the end of a name that is text. Refuses answers. SNMP's messages begin alike and have a string in the operation's
 * place. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

enum {
	TAG_SEQUENCE = 0x30,
	TAG_INTEGER = 0x02,
	TAG_OCTETS = 0x04,
	TAG_BIND = 0x60,
	TAG_UNBIND = 0x42,
	TAG_DELETE = 0x4a,
	TAG_ABANDON = 0x50,
	TAG_SEARCH = 0x63,
	TAG_MODIFY = 0x66,
	TAG_ADD = 0x68,
	TAG_RENAME = 0x6c,
	TAG_COMPARE = 0x6e,
	TAG_EXTENDED = 0x77,
	TAG_OID = 0x80,
	ID_LEN_MAX = 4,
	MESSAGE_LEN_MAX = 1 << 20,
	NAME_LEN_MAX = 8192,
};

struct reader {
	const uint8_t *bytes;
	size_t len, at;
};

/* The tag, and the length behind it. */
static enum verdict element_read(struct reader *reader, uint8_t tag, size_t *ret_len)
{
	const uint8_t *bytes = reader->bytes + reader->at;
	size_t len = reader->len - reader->at, n;

	if (len > 0 && bytes[0] != tag)
		return VERDICT_NO;
	if (len < 2)
		return VERDICT_MORE;
	*ret_len = bytes[1];
	if (bytes[1] < 0x80) {
		reader->at += 2;
		return VERDICT_YES;
	}
	n = bytes[1] & 0x7f;
	if (n == 0 || n > 4)
		return VERDICT_NO;
	*ret_len = 0;
	for (size_t i = 0; i < n; i++) {
		if (2 + i == len)
			return VERDICT_MORE;
		*ret_len = *ret_len << 8 | bytes[2 + i];
		if (*ret_len > MESSAGE_LEN_MAX)
			return VERDICT_NO;
	}
	reader->at += 2 + n;
	return VERDICT_YES;
}

/* An integer that is not negative, of one to four bytes. */
static enum verdict integer_read(struct reader *reader, uint32_t *ret)
{
	size_t n;

	enum verdict verdict = element_read(reader, TAG_INTEGER, &n);
	if (verdict != VERDICT_YES)
		return verdict;
	if (n == 0 || n > ID_LEN_MAX)
		return VERDICT_NO;
	*ret = 0;
	for (size_t i = 0; i < n; i++) {
		if (reader->at == reader->len)
			return VERDICT_MORE;
		if (i == 0 && reader->bytes[reader->at] & 0x80)
			return VERDICT_NO;
		*ret = *ret << 8 | reader->bytes[reader->at++];
	}
	return VERDICT_YES;
}

/* A distinguished name, RFC 4514: text, of which a client of ours sends no control characters. */
static enum verdict name_read(struct reader *reader, size_t name_len)
{
	if (name_len > NAME_LEN_MAX)
		return VERDICT_NO;
	for (size_t i = 0; i < name_len; i++, reader->at++) {
		if (reader->at == reader->len)
			return VERDICT_MORE;
		if (reader->bytes[reader->at] < ' ' || reader->bytes[reader->at] == 0x7f)
			return VERDICT_NO;
	}
	return VERDICT_YES;
}

/* A name, and the tag of what follows. */
static enum verdict change_match(struct reader *reader, uint8_t tag, size_t end)
{
	size_t name_len;

	enum verdict verdict = element_read(reader, TAG_OCTETS, &name_len);
	if (verdict != VERDICT_YES)
		return verdict;
	if (name_len == 0 || reader->at + name_len + 2 > end)
		return VERDICT_NO;
	verdict = name_read(reader, name_len);
	if (verdict != VERDICT_YES)
		return verdict;
	if (reader->at == reader->len)
		return VERDICT_MORE;
	return reader->bytes[reader->at] == (tag == TAG_RENAME ? TAG_OCTETS : TAG_SEQUENCE) ? VERDICT_YES
											    : VERDICT_NO;
}

/* Operations that are a value without parts. */
static enum verdict plain_match(struct reader *reader, uint8_t tag, size_t len)
{
	if (tag == TAG_UNBIND)
		return len == 0 ? VERDICT_YES : VERDICT_NO;
	if (tag == TAG_ABANDON)
		return len >= 1 && len <= ID_LEN_MAX ? VERDICT_YES : VERDICT_NO;
	return len == 0 ? VERDICT_NO : name_read(reader, len);
}

static bool is_plain(uint8_t tag)
{
	return tag == TAG_UNBIND || tag == TAG_ABANDON || tag == TAG_DELETE;
}

static bool is_change(uint8_t tag)
{
	return tag == TAG_MODIFY || tag == TAG_ADD || tag == TAG_RENAME || tag == TAG_COMPARE;
}

/* What an operation begins with, up to `end`. */
static enum verdict operation_match(struct reader *reader, uint8_t tag, size_t end)
{
	size_t n;
	uint32_t version;

	if (tag == TAG_BIND) {
		enum verdict verdict = integer_read(reader, &version);
		if (verdict != VERDICT_YES)
			return verdict;
		if (version != 2 && version != 3)
			return VERDICT_NO;
	}
	enum verdict verdict = element_read(reader, tag == TAG_EXTENDED ? TAG_OID : TAG_OCTETS, &n);
	if (verdict != VERDICT_YES)
		return verdict;
	return reader->at + n <= end ? VERDICT_YES : VERDICT_NO;
}

enum verdict probe_ldap(const struct evidence *evidence, struct findings *findings)
{
	struct reader reader = { evidence->bytes, evidence_len(evidence), 0 };
	size_t total, operation;
	uint32_t id;

	enum verdict verdict = element_read(&reader, TAG_SEQUENCE, &total);
	if (verdict != VERDICT_YES)
		return verdict;
	size_t end = reader.at + total;
	verdict = integer_read(&reader, &id);
	if (verdict != VERDICT_YES)
		return verdict;
	if (reader.at == reader.len)
		return VERDICT_MORE;
	uint8_t tag = reader.bytes[reader.at];
	if (tag != TAG_BIND && tag != TAG_SEARCH && tag != TAG_EXTENDED && !is_change(tag) && !is_plain(tag))
		return VERDICT_NO;
	verdict = element_read(&reader, tag, &operation);
	if (verdict != VERDICT_YES)
		return verdict;
	if (is_plain(tag)) /* without controls behind it, so that the whole adds up */
		return reader.at + operation == end ? plain_match(&reader, tag, operation) : VERDICT_NO;
	if (reader.at + operation > end || operation < 2)
		return VERDICT_NO;
	if (is_change(tag))
		return change_match(&reader, tag, reader.at + operation);
	return operation_match(&reader, tag, reader.at + operation);
}
