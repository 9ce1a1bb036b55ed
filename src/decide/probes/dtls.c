/* DTLS, in datagrams, by the ClientHello: RFC 6347 4.1, 4.2.2 and 4.3.2, RFC 9147 5.3; what is in the hello is in hello.c.
 *
 *     16 | fe ff | 00 00 | 00 00 00 00 nn nn | LL LL |  01 LL LL LL | 00 0s | 00 00 00 | FF FF FF |  fe fd ...
 *          fe fd   epoch   number              record   whole         number  offset     fragment    or fe ff
 *          01 00                                                                                     01 00
 *
 * The fragment must begin with the hello and fit into its record, the record into the datagram. A hello in several fragments
 * is known by the first, and so are `sni`, `alpn` and `version` as far as that goes. 01 00 is what OpenSSL had before DTLS was
 * settled, and what Cisco's AnyConnect speaks. Refuses records of other types and epochs, none of which comes first. Owns no
 * memory. */
#include "hello.h"
#include "look.h"
#include "probe.h"

enum {
	RECORD_HEADER_LEN = 13,
	MESSAGE_HEADER_LEN = 12,
	RECORD_HANDSHAKE = 22,
	MESSAGE_CLIENT_HELLO = 1,
	MESSAGE_NUMBER_MAX = 1, /* the second follows a cookie */
	FRAGMENT_LEN_MIN = 2 + 32,
	VERSION_OLD = 0x0100,
	VERSION_1_0 = 0xfeff,
	VERSION_1_2 = 0xfefd,
};

static bool version_exists(uint32_t version)
{
	return version == VERSION_1_2 || version == VERSION_1_0 || version == VERSION_OLD;
}

static bool record_match(const uint8_t *bytes, size_t len)
{
	if (len < RECORD_HEADER_LEN + MESSAGE_HEADER_LEN + FRAGMENT_LEN_MIN)
		return false;
	return bytes[0] == RECORD_HANDSHAKE && version_exists(look_be16(bytes + 1)) && look_be16(bytes + 3) == 0 &&
		look_be32(bytes + 5) == 0 && look_be16(bytes + 11) <= len - RECORD_HEADER_LEN;
}

/* Of the message in a record of `len` bytes. */
static bool message_match(const uint8_t *bytes, size_t len, struct hello *ret_hello)
{
	if (bytes[0] != MESSAGE_CLIENT_HELLO || look_be16(bytes + 4) > MESSAGE_NUMBER_MAX ||
		look_be24(bytes + 6) != 0)
		return false;
	size_t total = look_be24(bytes + 1), fragment = look_be24(bytes + 9);
	if (total <= HELLO_LEN_MIN || total > UINT16_MAX || fragment > total || fragment < FRAGMENT_LEN_MIN ||
		fragment > len - MESSAGE_HEADER_LEN)
		return false;
	*ret_hello = (struct hello){
		.transport = 'd', .bytes = bytes + MESSAGE_HEADER_LEN, .len = fragment, .total = total
	};
	return version_exists(look_be16(ret_hello->bytes));
}

enum verdict probe_dtls_datagram(const struct evidence *evidence, struct findings *findings)
{
	static const uint32_t learned = 1U << ATTRIBUTE_SNI | 1U << ATTRIBUTE_ALPN | 1U << ATTRIBUTE_VERSION;
	const uint8_t *bytes = evidence->bytes;
	uint32_t others = findings->settled & ~learned;
	struct hello hello;

	if (!record_match(bytes, evidence->len))
		return VERDICT_NO;
	size_t record_len = look_be16(bytes + 11);
	if (record_len < MESSAGE_HEADER_LEN + FRAGMENT_LEN_MIN ||
		!message_match(bytes + RECORD_HEADER_LEN, record_len, &hello))
		return VERDICT_NO;
	finding_close(findings, ATTRIBUTE_JA4); /* not for us to find */
	hello_read(findings, &hello);
	findings->settled = others | learned;
	return VERDICT_YES;
}
