/* A TLS ClientHello: RFC 8446 4.1.2, RFC 5246 7.4.1.2, RFC 6101 5.6.1.2; server name RFC 6066 3, ALPN RFC 7301 3.1,
 * versions RFC 8446 4.2.1, GREASE RFC 8701.
 *
 *     03 xx  random[32]  n sid[n]  [n cookie[n]]  NN ciphers[NN]  n comp[n]  NN extensions[NN]
 *         ^ YES                    DTLS only
 *
 * The length of the message and the version, behind headers that agree with them, leave no room for a stranger. A
 * version that does not exist yet asks for the highest that the server has (RFC 5246 E.1). What
 * goes wrong after that leaves YES standing (more bytes never take it back) and settles what is not known yet as
 * absent. Everything is read strictly from front to back and each attribute settles when its extension has been
 * passed, so the answer of n bytes never depends on a byte behind them; ja4 is about the whole hello.
 *
 * A draft of TLS 1.3 is 1.3. Two extensions of one type (RFC 8446 4.2; checked for types below 64, where those in use are)
 * end the reading. ALPN names are written as RFC 7838 3 has it: what is not printable as %XX; of names that need that,
 * ALPN_ESCAPED_MAX bytes of a hello are told, so that the scratch has room for the rest. Owns no memory. */
#include "hello.h"

#include "ja4.h"
#include "look.h"

#include <string.h>

enum {
	RANDOM_END = 2 + 32,
	SESSION_ID_MAX = 32,
	EXTENSION_SERVER_NAME = 0,
	EXTENSION_ALPN = 16,
	EXTENSION_SUPPORTED_VERSIONS = 43,
	ALPN_ESCAPED_MAX = 2048,
};

enum verdict hello_match(const struct hello *hello)
{
	if (hello->total < HELLO_LEN_MIN || hello->total > HELLO_LEN_MAX)
		return VERDICT_NO;
	if (hello->len > 0 && hello->bytes[0] != 3)
		return VERDICT_NO;
	return hello->len < 2 ? VERDICT_MORE : VERDICT_YES;
}

const char *version_text(uint32_t version)
{
	static const char *const texts[] = { "ssl3", "1.0", "1.1", "1.2", "1.3" };

	if (version == 0x0002)
		return "ssl2";
	return version >> 8 == 3 && (version & 0xff) < 5 ? texts[version & 0xff] : NULL;
}

/* DTLS counts downwards from 1.0 (RFC 6347 4.1); what it had before is the same. */
static uint32_t version_read(const struct hello *hello, const uint8_t *at)
{
	uint32_t version = look_be16(at);

	if (hello->transport != 'd')
		return version;
	if (version == 0xfeff || version == 0x0100)
		return 0x0301;
	return version == 0xfefd || version == 0xfefc ? 0x0303 + (0xfefd - version) : 0;
}

static void version_settle(struct findings *findings, uint32_t version)
{
	const char *text = version_text(version);

	finding_settle(findings, ATTRIBUTE_VERSION, (const uint8_t *)text, text ? strlen(text) : 0);
}

/* RFC 8446's drafts were numbered 7f00 and their own number, up to 28; before it was published Facebook's implementation and
 * Google's experiments had numbers of their own. */
static uint32_t draft_version(uint32_t version)
{
	bool is_draft = (version > 0x7f00 && version <= 0x7f1c) || (version > 0xfb00 && version <= 0xfb1c) ||
		(version >= 0x7e01 && version <= 0x7e02);

	return is_draft ? 0x0304 : version;
}

/* The highest that exists; GREASE does not. */
static void supported_versions_settle(
	struct findings *findings, const struct hello *hello, const uint8_t *data, size_t len)
{
	uint32_t highest = 0;

	if (len >= 3 && data[0] == len - 1 && data[0] % 2 == 0) {
		for (size_t at = 1; at < len; at += 2) {
			uint32_t version = version_read(hello, data + at);
			if (hello->transport != 'd')
				version = draft_version(version);
			if (version_text(version) && version > highest)
				highest = version;
		}
	}
	version_settle(findings, highest);
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

static bool is_plain(uint8_t byte)
{
	return byte > ' ' && byte <= '~' && byte != '%';
}

/* How long the name is when it is written down. */
static size_t escaped_len(const uint8_t *name, size_t len)
{
	size_t escaped = len;

	for (size_t i = 0; i < len; i++)
		escaped += is_plain(name[i]) ? 0 : 2;
	return escaped;
}

static void escaped_write(uint8_t *to, const uint8_t *name, size_t len)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < len; i++) {
		*to++ = is_plain(name[i]) ? name[i] : '%';
		if (is_plain(name[i]))
			continue;
		*to++ = (uint8_t)digits[name[i] >> 4];
		*to++ = (uint8_t)digits[name[i] & 15];
	}
}

static void alpn_settle(struct findings *findings, const uint8_t *data, size_t len)
{
	size_t room = ALPN_ESCAPED_MAX;

	for (size_t at = 2; alpn_is_sound(data, len) && at < len; at += 1 + data[at]) {
		const uint8_t *name = data + at + 1;
		size_t name_len = escaped_len(name, data[at]);
		if (name_len > data[at]) {
			uint8_t *to = name_len <= room && name_len <= FINDING_TEXT_MAX
				? findings_take(findings, name_len)
				: NULL;
			if (!to)
				continue;
			escaped_write(to, name, data[at]);
			room -= name_len;
			name = to;
		}
		finding_add(findings, ATTRIBUTE_ALPN, name, name_len);
	}
	finding_close(findings, ATTRIBUTE_ALPN);
}

/* One that is all there. */
static void extension_take(
	struct findings *findings, const struct hello *hello, uint32_t type, const uint8_t *data, size_t len)
{
	switch (type) {
	case EXTENSION_SERVER_NAME:
		server_name_settle(findings, data, len);
		break;
	case EXTENSION_ALPN:
		alpn_settle(findings, data, len);
		break;
	case EXTENSION_SUPPORTED_VERSIONS:
		if (!finding_is_settled(findings, ATTRIBUTE_VERSION))
			supported_versions_settle(findings, hello, data, len);
		break;
	default:
		break;
	}
}

static bool all_is_settled(const struct findings *findings)
{
	return (findings->settled & HELLO_ATTRIBUTES) == HELLO_ATTRIBUTES;
}

/* Reads extensions from `at` until everything is settled. NO: nothing more can be learned. MORE: the bytes end. YES:
 * they were read to the end, or as far as was needed. */
static enum verdict extensions_read(struct findings *findings, const struct hello *hello, size_t at)
{
	uint64_t seen = 0;

	while (at < hello->total && !all_is_settled(findings)) {
		if (hello->total - at < 4)
			return VERDICT_NO;
		if (hello->len < at + 4)
			return VERDICT_MORE;
		uint32_t type = look_be16(hello->bytes + at);
		size_t len = look_be16(hello->bytes + at + 2);
		at += 4;
		if (len > hello->total - at || (type < 64 && seen >> type & 1))
			return VERDICT_NO;
		if (type < 64)
			seen |= UINT64_C(1) << type;
		if (hello->len - at < len)
			return VERDICT_MORE;
		extension_take(findings, hello, type, hello->bytes + at, len);
		at += len;
	}
	return VERDICT_YES;
}

/* At the end of the hello. `ja4` has its lists. */
static void rest_settle(struct findings *findings, const struct hello *hello, const struct ja4_hello *ja4)
{
	uint8_t text[JA4_LEN];

	if (!finding_is_settled(findings, ATTRIBUTE_VERSION))
		version_settle(findings, version_read(hello, hello->bytes));
	if (!finding_is_settled(findings, ATTRIBUTE_JA4))
		finding_settle(findings, ATTRIBUTE_JA4, text, ja4_write(text, ja4) ? JA4_LEN : 0);
}

/* As extensions_read(), from the start. */
static enum verdict parts_read(struct findings *findings, const struct hello *hello)
{
	const uint8_t *bytes = hello->bytes;
	struct ja4_hello ja4 = { .transport = hello->transport, .version = (uint16_t)look_be16(bytes) };
	size_t at = RANDOM_END;

	if (hello->len <= at)
		return VERDICT_MORE;
	if (bytes[at] > SESSION_ID_MAX || hello->total - at - 1 < bytes[at] + 2U)
		return VERDICT_NO;
	at += 1 + bytes[at];
	if (hello->transport == 'd') { /* a cookie, RFC 6347 4.2.1 */
		if (hello->len <= at)
			return VERDICT_MORE;
		if (hello->total - at - 1 < bytes[at] + 2U)
			return VERDICT_NO;
		at += 1 + bytes[at];
	}
	if (hello->len < at + 2)
		return VERDICT_MORE;
	ja4.ciphers_len = look_be16(bytes + at);
	at += 2;
	if (ja4.ciphers_len < 2 || ja4.ciphers_len % 2 != 0 || ja4.ciphers_len + 2 > hello->total - at)
		return VERDICT_NO;
	ja4.ciphers = bytes + at;
	at += ja4.ciphers_len;
	if (hello->len <= at)
		return VERDICT_MORE;
	if (bytes[at] == 0 || bytes[at] > hello->total - at - 1)
		return VERDICT_NO;
	at += 1 + bytes[at];
	if (at < hello->total) { /* without extensions it is whole here, RFC 5246 7.4.1.2 */
		if (hello->total - at < 2)
			return VERDICT_NO;
		if (hello->len < at + 2)
			return VERDICT_MORE;
		if (look_be16(bytes + at) != hello->total - at - 2)
			return VERDICT_NO;
		at += 2;
		ja4.extensions = bytes + at;
		ja4.extensions_len = hello->total - at;
	} else if (hello->len < at) {
		return VERDICT_MORE;
	}
	enum verdict verdict = extensions_read(findings, hello, at);
	if (verdict == VERDICT_YES && !all_is_settled(findings))
		rest_settle(findings, hello, &ja4);
	return verdict;
}

void hello_read(struct findings *findings, const struct hello *hello)
{
	if (!(findings->wanted >> ATTRIBUTE_JA4 & 1))
		finding_close(findings, ATTRIBUTE_JA4);
	if (parts_read(findings, hello) != VERDICT_MORE)
		findings->settled |= HELLO_ATTRIBUTES;
}
