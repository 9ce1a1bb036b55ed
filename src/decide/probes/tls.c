/* TLS by the record or records that carry its ClientHello, RFC 8446 5.1; what is in the hello is in hello.c. The hello
 * may lie in any number of records, of one byte each if need be:
 *
 *     record                 |  handshake   |  hello
 *     16 03 0x LL LL         |  01 LL LL LL |  03 0x ...
 *                                                 ^ YES
 *
 * Old clients begin with a hello in the format of SSL 2.0, be it that they offer it or not (RFC 5246 E.2):
 *
 *     8x LL  01  03 0x  NN ciphers  SS session id  CC challenge  ciphers[NN] session[SS] challenge[CC]
 *                                                ^ YES: the lengths add up
 *
 * A record that runs past the end of the hello (RFC 5246 6.2.1 lets several messages be in one, RFC 8446 5.1 does not) is
 * the server's business. Refuses: empty records, records of other types, which no connection begins with. Owns no memory;
 * a hello in several records is put together in the scratch. */
#include "hello.h"
#include "look.h"
#include "probe.h"

#include <string.h>

enum {
	RECORD_HANDSHAKE = 0x16,
	RECORD_HEADER_LEN = 5,
	RECORD_LEN_MAX = 16384,
	MESSAGE_CLIENT_HELLO = 1,
	MESSAGE_HEADER_LEN = 4,
	OLD_HELLO_LEN = 11, /* up to and with the length of the challenge */
	OLD_LEN_MAX = 0x800,
	OLD_SESSION_ID = 16,
	OLD_CHALLENGE_MIN = 16,
	OLD_CHALLENGE_MAX = 32,
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

/* Takes the bytes of one record into the message, as far as they belong to it. */
static void message_append(struct message *message, const uint8_t *bytes, size_t len)
{
	size_t start = message->len;

	if (message->copy)
		memcpy(message->copy + start, bytes, len);
	message->len += len;
	if (message->total == 0 && message->len >= MESSAGE_HEADER_LEN)
		message->total = MESSAGE_HEADER_LEN + (size_t)look_be24(message->bytes + 1);
	if (message->total > 0 && message->len > message->total)
		message->len = message->total;
}

/* Before the second record: what the first one held must be followed by it. `room` is for all that can come. */
static void message_move(struct message *message, struct findings *findings, size_t room)
{
	message->copy = findings_take(findings, room);
	if (!message->copy) {
		message->broken = true;
		return;
	}
	memcpy(message->copy, message->bytes, message->len);
	message->bytes = message->copy;
}

/* Puts the message together, without copying if it is in the first record as far as can be seen. */
static void message_read(struct message *message, const uint8_t *bytes, size_t len, struct findings *findings)
{
	size_t at = 0, record_len;

	while (!message->broken && (message->total == 0 || message->len < message->total)) {
		enum verdict verdict = record_header(bytes + at, len - at, &record_len);
		if (verdict == VERDICT_NO)
			message->broken = true;
		if (verdict != VERDICT_YES)
			return;
		if (at == 0)
			message->bytes = bytes + RECORD_HEADER_LEN;
		else if (!message->copy)
			message_move(message, findings, len);
		if (message->broken)
			return;
		at += RECORD_HEADER_LEN;
		size_t here = len - at < record_len ? len - at : record_len;
		message_append(message, bytes + at, here);
		at += here;
		if (here < record_len)
			return;
	}
}

/* The handshake header, and what the hello itself says. */
static enum verdict message_match(const struct message *message, struct hello *ret_hello)
{
	if (message->len > 0 && message->bytes[0] != MESSAGE_CLIENT_HELLO)
		return VERDICT_NO;
	if (message->len < MESSAGE_HEADER_LEN)
		return message->broken ? VERDICT_NO : VERDICT_MORE;
	*ret_hello = (struct hello){ .transport = 't',
		.bytes = message->bytes + MESSAGE_HEADER_LEN,
		.len = message->len - MESSAGE_HEADER_LEN,
		.total = message->total - MESSAGE_HEADER_LEN };
	enum verdict verdict = hello_match(ret_hello);
	return verdict == VERDICT_MORE && message->broken ? VERDICT_NO : verdict;
}

/* A hello in the format of SSL 2.0, of `len` bytes at least one. */
static enum verdict old_hello_match(const uint8_t *bytes, size_t len)
{
	static const size_t least = OLD_HELLO_LEN - 2 + 3 + OLD_CHALLENGE_MIN;

	if (len < 2)
		return bytes[0] - 0x80 < OLD_LEN_MAX >> 8 ? VERDICT_MORE : VERDICT_NO;
	size_t hello_len = look_be16(bytes) & 0x7fff;
	if (hello_len < least || hello_len >= OLD_LEN_MAX)
		return VERDICT_NO;
	if ((len > 2 && bytes[2] != MESSAGE_CLIENT_HELLO) || (len > 3 && bytes[3] != 3 && bytes[3] != 0) ||
		(len > 4 && !version_text(look_be16(bytes + 3))))
		return VERDICT_NO;
	if (len < OLD_HELLO_LEN)
		return VERDICT_MORE;
	size_t ciphers = look_be16(bytes + 5), session = look_be16(bytes + 7), challenge = look_be16(bytes + 9);
	bool is_sound = ciphers >= 3 && ciphers % 3 == 0 && (session == 0 || session == OLD_SESSION_ID) &&
		challenge >= OLD_CHALLENGE_MIN && challenge <= OLD_CHALLENGE_MAX;
	return is_sound && OLD_HELLO_LEN - 2 + ciphers + session + challenge == hello_len ? VERDICT_YES : VERDICT_NO;
}

static enum verdict old_hello_read(const uint8_t *bytes, size_t len, struct findings *findings)
{
	enum verdict verdict = old_hello_match(bytes, len);

	if (verdict == VERDICT_YES) {
		const char *version = version_text(look_be16(bytes + 3));
		finding_settle(findings, ATTRIBUTE_VERSION, (const uint8_t *)version, strlen(version));
		findings->settled |= HELLO_ATTRIBUTES; /* there is no more in it */
	}
	return verdict;
}

enum verdict probe_tls(const struct evidence *evidence, struct findings *findings)
{
	struct message message = { 0 };
	struct hello hello;

	if (evidence->len == 0)
		return VERDICT_MORE;
	if (evidence->bytes[0] & 0x80)
		return old_hello_read(evidence->bytes, evidence_len(evidence), findings);
	if (evidence->bytes[0] != RECORD_HANDSHAKE)
		return VERDICT_NO;
	message_read(&message, evidence->bytes, evidence_len(evidence), findings);
	enum verdict verdict = message_match(&message, &hello);
	if (verdict != VERDICT_YES)
		return verdict;
	hello_read(findings, &hello);
	if (message.broken)
		findings->settled |= HELLO_ATTRIBUTES;
	return VERDICT_YES;
}
