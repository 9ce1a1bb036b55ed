/* Looking at bytes that may end anywhere: numbers in either order, three-valued literals and ranges. For probes. */
#pragma once
#include "evidence.h"

static inline uint32_t look_be16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

static inline uint32_t look_be24(const uint8_t *at)
{
	return (uint32_t)at[0] << 16 | look_be16(at + 1);
}

static inline uint32_t look_be32(const uint8_t *at)
{
	return look_be16(at) << 16 | look_be16(at + 2);
}

static inline uint32_t look_le16(const uint8_t *at)
{
	return (uint32_t)at[1] << 8 | at[0];
}

static inline uint32_t look_le32(const uint8_t *at)
{
	return look_le16(at + 2) << 16 | look_le16(at);
}

static inline bool look_is_zero(const uint8_t *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (at[i] != 0)
			return false;
	return true;
}

/* Are these 12 bytes the header of a request of DNS with one question, RFC 1035 4.1.1, whatever its id and flags? Its id is a
 * random number, so one in some hundred begins like a message of each protocol that has its type there. */
static inline bool look_is_dns_header(const uint8_t *bytes)
{
	return look_be16(bytes + 4) == 1 && look_be16(bytes + 6) <= 1 && bytes[8] == 0 && bytes[10] == 0;
}

/* Are these 8 bytes the frame in front of a request of memcached in a datagram? They begin with a random number, too. */
static inline bool look_is_memcached_frame(const uint8_t *bytes)
{
	return look_be16(bytes + 2) == 0 && look_be16(bytes + 4) == 1 && look_be16(bytes + 6) == 0;
}

static inline uint8_t look_lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

/* Do the bytes begin with the literal? MORE: as far as they go. */
static inline enum verdict look_literal(const uint8_t *bytes, size_t len, const char *literal, size_t literal_len)
{
	for (size_t i = 0; i < literal_len; i++) {
		if (i == len)
			return VERDICT_MORE;
		if (bytes[i] != (uint8_t)literal[i])
			return VERDICT_NO;
	}
	return VERDICT_YES;
}

/* The same without regard to the case of ASCII letters; the literal is in lower case. */
static inline enum verdict look_word(const uint8_t *bytes, size_t len, const char *literal, size_t literal_len)
{
	for (size_t i = 0; i < literal_len; i++) {
		if (i == len)
			return VERDICT_MORE;
		if (look_lower(bytes[i]) != (uint8_t)literal[i])
			return VERDICT_NO;
	}
	return VERDICT_YES;
}

/* Do the bytes have, under the mask, the wanted bits? MORE: as far as they go. */
static inline enum verdict look_masked(
	const uint8_t *bytes, size_t len, const uint8_t *want, const uint8_t *mask, size_t want_len)
{
	for (size_t i = 0; i < want_len; i++) {
		if (i == len)
			return VERDICT_MORE;
		if ((bytes[i] ^ want[i]) & mask[i])
			return VERDICT_NO;
	}
	return VERDICT_YES;
}

/* The end of a line: LF alone or with a CR before it. */
static inline enum verdict look_line_end(const uint8_t *bytes, size_t len)
{
	if (len > 0 && bytes[0] == '\n')
		return VERDICT_YES;
	return look_literal(bytes, len, "\r\n", 2);
}

struct look_entry {
	const char *text; /* in lower case; a line feed at its end stands for the end of a line in either form */
	size_t len;
};

#define LOOK_ENTRY(text)                                                                                             \
	{                                                                                                            \
		text, sizeof(text) - 1                                                                               \
	}

/* Do the bytes begin with one of the words? As look_word(). */
static inline enum verdict look_words(
	const uint8_t *bytes, size_t len, const struct look_entry *words, size_t n_words)
{
	enum verdict verdict = VERDICT_NO;

	for (size_t i = 0; i < n_words; i++) {
		size_t n = words[i].len, is_line = words[i].text[n - 1] == '\n';
		enum verdict one = look_word(bytes, len, words[i].text, n - is_line);
		if (one == VERDICT_YES && is_line)
			one = look_line_end(bytes + n - 1, len - n + 1);
		if (one == VERDICT_YES)
			return one;
		if (one == VERDICT_MORE)
			verdict = one;
	}
	return verdict;
}
