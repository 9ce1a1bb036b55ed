/* DTLS by the ClientHello: RFC 6347 4.1, 4.2.2 and 4.3.2, RFC 9147 5.3 and 5.5; and by the records of a connection that has
 * connection ids, RFC 9146 4. What is in the hello is in hello.c.
 *
 *     record                                            |  fragment of a message                           |
 *     16 | fe ff | 00 00 | 00 00 00 00 nn nn | LL LL    |  01 LL LL LL | 00 0s | OO OO OO | FF FF FF       | FF bytes
 *          fe fd   epoch   number              length      whole         number  offset     of the fragment
 *          01 00
 *
 * The hello may lie in any number of fragments, these in records, these in datagrams, in any order; of bytes that were sent twice
 * the first count. What the first fragment says of the message holds for all; others, as those of a second hello in the same flow, are passed over. Without
 * a cookie the number of the message is 0, with one it is 1. 01 00 is what OpenSSL had before DTLS was settled, and what Cisco's
 * AnyConnect speaks.
 *
 * YES: a fragment with the beginning of the hello has come, and its version exists. Attributes are settled as far as it has come.
 * MORE: only later fragments.
 *
 *     19 | fe fd | ee ee | number[6] | id[n] | LL LL | LL bytes        n is not in the record, and is tried
 *
 * YES, without attributes: the record fills the datagram, or another of its kind follows. Of a connection whose flow has expired, or
 * whose client has another address now.
 *
 * Refuses records of other types and epochs, none of which comes first: without a connection id a server could not tell whose they
 * are; those of DTLS 1.3 cannot be told from random bytes. Owns no memory; the hello is put together in the scratch. */
#include "hello.h"
#include "look.h"
#include "pieces.h"
#include "probe.h"

enum {
	RECORD_HEADER_LEN = 13,
	MESSAGE_HEADER_LEN = 12,
	RECORD_HANDSHAKE = 22,
	RECORD_CONNECTION_ID = 25,
	CONNECTION_ID_MAX = 32,     /* what libraries have at most; 255 are allowed */
	CIPHERTEXT_LEN_MIN = 1 + 8, /* the true type, and the shortest tag */
	MESSAGE_CLIENT_HELLO = 1,
	MESSAGE_NUMBER_MAX = 1, /* the second follows a cookie */
	VERSION_OLD = 0x0100,
	VERSION_1_0 = 0xfeff,
	VERSION_1_2 = 0xfefd,
};

/* What the flow's datagrams have brought so far. */
struct reading {
	size_t total; /* bytes of the hello; 0: no fragment of it has come */
	uint32_t number;
	struct pieces hello;
};

static bool version_exists(uint32_t version)
{
	return version == VERSION_1_2 || version == VERSION_1_0 || version == VERSION_OLD;
}

/* Its length with the header; 0: it is none that can carry a hello, or runs past the end. */
static size_t record_len(const uint8_t *bytes, size_t len)
{
	if (len < RECORD_HEADER_LEN || bytes[0] != RECORD_HANDSHAKE || !version_exists(look_be16(bytes + 1)) ||
		look_be16(bytes + 3) != 0 || look_be32(bytes + 5) != 0)
		return 0;
	size_t record = RECORD_HEADER_LEN + look_be16(bytes + 11);
	return record <= len ? record : 0;
}

/* Its length with the header; 0: as above. */
static size_t fragment_take(struct reading *reading, const uint8_t *bytes, size_t len)
{
	if (len < MESSAGE_HEADER_LEN || bytes[0] != MESSAGE_CLIENT_HELLO)
		return 0;
	size_t total = look_be24(bytes + 1), offset = look_be24(bytes + 6), fragment = look_be24(bytes + 9);
	uint32_t number = look_be16(bytes + 4);
	if (number > MESSAGE_NUMBER_MAX || total <= HELLO_LEN_MIN || total > PIECES_LEN_MAX || fragment == 0 ||
		offset > total || fragment > total - offset || fragment > len - MESSAGE_HEADER_LEN)
		return 0;
	if (reading->total == 0) {
		reading->total = total;
		reading->number = number;
	}
	if (total == reading->total && number == reading->number)
		pieces_put(&reading->hello, offset, bytes + MESSAGE_HEADER_LEN, fragment);
	return MESSAGE_HEADER_LEN + fragment;
}

static void datagram_take(struct reading *reading, const uint8_t *bytes, size_t len)
{
	size_t record;

	for (size_t at = 0; (record = record_len(bytes + at, len - at)) > 0; at += record) {
		size_t fragment, in = RECORD_HEADER_LEN;
		do
			fragment = fragment_take(reading, bytes + at + in, record - in);
		while (fragment > 0 && (in += fragment) < record);
		if (fragment == 0)
			return;
	}
}

static bool has_connection_id(const uint8_t *bytes, size_t len)
{
	static const size_t id_at = RECORD_HEADER_LEN - 2;

	if (len < RECORD_HEADER_LEN || bytes[0] != RECORD_CONNECTION_ID || look_be16(bytes + 1) != VERSION_1_2 ||
		look_be16(bytes + 3) == 0)
		return false;
	for (size_t n = 1; n <= CONNECTION_ID_MAX && id_at + n + 2 + CIPHERTEXT_LEN_MIN <= len; n++) {
		size_t text = look_be16(bytes + id_at + n), end = id_at + n + 2 + text;
		if (text < CIPHERTEXT_LEN_MIN || end > len)
			continue;
		if (end == len || (len - end > RECORD_HEADER_LEN && memcmp(bytes + end, bytes, 5) == 0))
			return true;
	}
	return false;
}

enum verdict probe_dtls_datagram(const struct evidence *evidence, struct findings *findings)
{
	struct reading reading = { 0 };

	if (has_connection_id(evidence->bytes, evidence->ends[0])) {
		findings->settled |= HELLO_ATTRIBUTES;
		return VERDICT_YES;
	}
	if (record_len(evidence->bytes, evidence->ends[0]) == 0)
		return VERDICT_NO;
	reading.hello.bytes = findings_take(findings, PIECES_LEN_MAX);
	if (!reading.hello.bytes)
		return VERDICT_NO;
	for (size_t i = 0, at = 0; i < evidence->n_datagrams; at = evidence->ends[i++]) {
		datagram_take(&reading, evidence->bytes + at, evidence->ends[i] - at);
		if (reading.total == 0)
			return VERDICT_NO;
	}
	struct hello hello = { .transport = 'd', .bytes = reading.hello.bytes, .total = reading.total };
	hello.len = pieces_len(&reading.hello);
	if (hello.len < 2)
		return VERDICT_MORE;
	if (!version_exists(look_be16(hello.bytes)))
		return VERDICT_NO;
	hello_read(findings, &hello);
	return VERDICT_YES;
}
