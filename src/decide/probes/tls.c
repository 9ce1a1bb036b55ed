/* TLS by its ClientHello: RFC 8446 4.1.2 and 5.1, RFC 5246 7.4.1.2, RFC 6101 (SSL 3.0); server name RFC 6066
 * 3, ALPN RFC 7301 3.1. The hello may lie in any number of records, of one byte each if need be:
 *
 *     record                 |  handshake   |  hello
 *     16 03 0x LL LL         |  01 LL LL LL |  03 0x  random[32]  n sid[n]  NN ciphers[NN]  n comp[n]  NN
 * extensions[NN]
 *                                              ~~~~~~ fixed part, up to here ~~~~~~^ : YES
 *
 * YES once the length of the cipher suites is seen and every length so far fits into the next outer one. What
 * goes wrong after that leaves YES standing (more bytes never take it back) and settles what is not known yet
 * as absent. Everything is read strictly from front to back and each attribute settles when its extension has
 * been passed, so the answer of n bytes never depends on a byte behind them.
 *
 * Refuses: SSL 2.0 hellos, empty records, a record that runs past the end of the hello (RFC 8446 5.1: it must
 * end with it). Two extensions of one type (RFC 8446 4.2; checked for types below 64, where those in use are)
 * end the reading. Owns no memory; a hello in several records is put together in the scratch. */
#include "probe.h"

#include "finding.h"
#include "look.h"

#include <string.h>

enum {
	RECORD_HANDSHAKE = 0x16,
	RECORD_HEADER_LEN = 5,
	RECORD_LEN_MAX = 16384,
	MESSAGE_CLIENT_HELLO = 1,
	MESSAGE_HEADER_LEN = 4,
	RANDOM_END = 2 + 32,
	SESSION_ID_MAX = 32,
	HELLO_LEN_MIN = RANDOM_END + 1 + 2 + 2 + 1 + 1,
	HELLO_LEN_MAX = RANDOM_END + 1 + SESSION_ID_MAX + 2 + 65534 + 1 + 255 + 2 + 65535,
	EXTENSION_SERVER_NAME = 0,
	EXTENSION_ALPN = 16,
};

/* The handshake message as far as it has come. bytes[0 .. len) of `total`; `total` is 0 until its header is
 * there. */
struct message {
	const uint8_t *bytes;
	uint8_t *copy; /* the same, once it is put together in the scratch */
	size_t len;
	size_t total;
	bool broken; /* nothing can follow what is there */
};

/* NO, MORE, or YES and the length of the record. Each byte counts as soon as it is there. */
static enum verdict record_header(const uint8_t *bytes, size_t len, size_t *ret_len)
{
	if ((len > 0 && bytes[0] != RECORD_HANDSHAKE) || (len > 1 && bytes[1] != 3) || (len > 2 && bytes[2] > 4))
		return VERDICT_NO;
	if (len > 3 && bytes[3] > RECORD_LEN_MAX >> 8)
		return VERDICT_NO;
	if (len < RECORD_HEADER_LEN)
		return VERDICT_MORE;
	*ret_len = look_be16(bytes + 3);
	return *ret_len > 0 && *ret_len <= RECORD_LEN_MAX ? VERDICT_YES : VERDICT_NO;
}

/* Takes the bytes of one record, of `record_len` in all, into the message. */
static void message_append(struct message *message, const uint8_t *bytes, size_t len, size_t record_len)
{
	size_t start = message->len;

	if (message->total > 0 && start + record_len > message->total) {
		message->broken = true;
		return;
	}
	if (message->copy)
		memcpy(message->copy + start, bytes, len);
	message->len += len;
	if (message->total > 0 || message->len < MESSAGE_HEADER_LEN)
		return;
	const uint8_t *length = message->bytes + 1;
	message->total = MESSAGE_HEADER_LEN + ((size_t)length[0] << 16 | look_be16(length + 1));
	if (start + record_len > message->total) {
		message->len = MESSAGE_HEADER_LEN;
		message->broken = true;
	}
}

/* Puts the message together, without copying if it is in the first record as far as can be seen. */
static void message_read(struct message *message, const uint8_t *bytes, size_t len, struct findings *findings)
{
	size_t at = 0, record_len;

	message->bytes = bytes + (len > RECORD_HEADER_LEN ? RECORD_HEADER_LEN : 0);
	if (len > RECORD_HEADER_LEN && len > RECORD_HEADER_LEN + look_be16(bytes + 3)) {
		message->copy = findings_take(findings, len);
		message->bytes = message->copy;
		message->broken = !message->copy;
	}
	while (!message->broken && (message->total == 0 || message->len < message->total)) {
		enum verdict verdict = record_header(bytes + at, len - at, &record_len);
		if (verdict == VERDICT_MORE)
			return;
		if (verdict == VERDICT_NO) {
			message->broken = true;
			return;
		}
		at += RECORD_HEADER_LEN;
		size_t here = len - at < record_len ? len - at : record_len;
		message_append(message, bytes + at, here, record_len);
		at += here;
		if (here < record_len)
			return;
	}
}

/* The handshake header and the hello up to the length of the cipher suites; `ret_end` is where these end in
 * the hello. */
static enum verdict fixed_match(const struct message *message, size_t *ret_end)
{
	if (message->len > 0 && message->bytes[0] != MESSAGE_CLIENT_HELLO)
		return VERDICT_NO;
	if (message->len < MESSAGE_HEADER_LEN)
		return VERDICT_MORE;
	const uint8_t *hello = message->bytes + MESSAGE_HEADER_LEN;
	size_t len = message->len - MESSAGE_HEADER_LEN, hello_len = message->total - MESSAGE_HEADER_LEN;
	if (hello_len < HELLO_LEN_MIN || hello_len > HELLO_LEN_MAX)
		return VERDICT_NO;
	if ((len > 0 && hello[0] != 3) || (len > 1 && hello[1] > 4))
		return VERDICT_NO;
	if (len <= RANDOM_END)
		return VERDICT_MORE;
	size_t ciphers = RANDOM_END + 1 + hello[RANDOM_END];
	if (hello[RANDOM_END] > SESSION_ID_MAX || ciphers + 2 + 2 + 2 > hello_len)
		return VERDICT_NO;
	if (len < ciphers + 2)
		return VERDICT_MORE;
	size_t ciphers_len = look_be16(hello + ciphers);
	*ret_end = ciphers + 2 + ciphers_len;
	return ciphers_len >= 2 && ciphers_len % 2 == 0 && *ret_end + 2 <= hello_len ? VERDICT_YES : VERDICT_NO;
}

/* One name, of type host_name (RFC 6066 3 allows no second one of a type, and there is no other type). */
static void server_name_settle(struct findings *findings, const uint8_t *data, size_t len)
{
	uint8_t name[HOST_MAX];
	size_t name_len = 0;

	if (len >= 5 && look_be16(data) == len - 2 && data[2] == 0 && look_be16(data + 3) == len - 5)
		name_len = host_normalize(name, data + 5, len - 5, HOST_BARE);
	finding_settle(findings, ATTRIBUTE_SNI, name, name_len);
}

static bool alpn_is_sound(const uint8_t *data, size_t len)
{
	if (len < 2 + 2 || look_be16(data) != len - 2)
		return false;
	for (size_t at = 2; at < len; at += 1 + data[at])
		if (data[at] == 0 || data[at] > len - at - 1)
			return false;
	return true;
}

static void alpn_settle(struct findings *findings, const uint8_t *data, size_t len)
{
	if (alpn_is_sound(data, len))
		for (size_t at = 2; at < len; at += 1 + data[at])
			finding_add(findings, ATTRIBUTE_ALPN, data + at + 1, data[at]);
	finding_close(findings, ATTRIBUTE_ALPN);
}

/* Reads extensions from `at` until both attributes are settled. NO: nothing more can be learned. MORE: the
 * bytes end. */
static enum verdict extensions_read(
	struct findings *findings, const uint8_t *hello, size_t at, size_t len, size_t hello_len)
{
	uint64_t seen = 0;

	while (!finding_is_settled(findings, ATTRIBUTE_SNI) || !finding_is_settled(findings, ATTRIBUTE_ALPN)) {
		if (at == hello_len)
			return VERDICT_NO;
		if (hello_len - at < 4)
			return VERDICT_NO;
		if (len < at + 4)
			return VERDICT_MORE;
		size_t type = look_be16(hello + at), extension_len = look_be16(hello + at + 2);
		at += 4;
		if (extension_len > hello_len - at || (type < 64 && seen >> type & 1))
			return VERDICT_NO;
		if (type < 64)
			seen |= UINT64_C(1) << type;
		if (type == EXTENSION_SERVER_NAME || type == EXTENSION_ALPN) {
			if (len < at + extension_len)
				return VERDICT_MORE;
			(type == EXTENSION_ALPN ? alpn_settle : server_name_settle)(
				findings, hello + at, extension_len);
		}
		at += extension_len;
	}
	return VERDICT_YES;
}

/* What follows the cipher suites, which end at `at`. */
static enum verdict attributes_read(struct findings *findings, const struct message *message, size_t at)
{
	const uint8_t *hello = message->bytes + MESSAGE_HEADER_LEN;
	size_t len = message->len - MESSAGE_HEADER_LEN, hello_len = message->total - MESSAGE_HEADER_LEN;

	if (len <= at)
		return VERDICT_MORE;
	if (hello[at] == 0 || hello[at] > hello_len - at - 1)
		return VERDICT_NO;
	at += 1 + hello[at];
	/* A hello without extensions is whole: RFC 5246 7.4.1.2. */
	if (hello_len - at < 2)
		return VERDICT_NO;
	if (len < at + 2)
		return VERDICT_MORE;
	if (look_be16(hello + at) != hello_len - at - 2)
		return VERDICT_NO;
	return extensions_read(findings, hello, at + 2, len, hello_len);
}

enum verdict probe_tls(const struct evidence *evidence, struct findings *findings)
{
	struct message message = { 0 };
	size_t ciphers_end;

	if (evidence->len == 0)
		return VERDICT_MORE;
	message_read(&message, evidence->bytes, evidence_len(evidence), findings);
	enum verdict verdict = fixed_match(&message, &ciphers_end);
	if (verdict == VERDICT_MORE && message.broken)
		verdict = VERDICT_NO;
	if (verdict != VERDICT_YES)
		return verdict;
	if (attributes_read(findings, &message, ciphers_end) == VERDICT_MORE && !message.broken)
		return VERDICT_YES;
	finding_close(findings, ATTRIBUTE_SNI);
	finding_close(findings, ATTRIBUTE_ALPN);
	return VERDICT_YES;
}
