/* JA4 as FoxIO publishes it ("JA4: TLS Client Fingerprinting", technical details, BSD 3-clause):
 *
 *     t13d1516h2_8daaf6152771_e5627efa2ab1
 *     | | |  | |       |            ^ SHA-256 of the extensions, sorted, without server name and ALPN, and of the
 *     | | |  | |       |              signature algorithms in their order, 12 digits of it
 *     | | |  | |       ^ of the cipher suites, sorted
 *     | | |  | ^ the first ALPN name's first and last character
 *     | | |  ^ number of cipher suites and of extensions, two digits each
 *     | | ^ d with a server name, i without
 *     | ^ the highest version that is offered
 *     ^ t TCP, q QUIC, d DTLS
 *
 * GREASE is skipped everywhere. Refuses lists longer than any client's: they would cost too much. Owns no memory. */
#include "ja4.h"

#include "digest.h"
#include "hex.h"
#include "look.h"

#include <string.h>

enum {
	EXTENSION_SERVER_NAME = 0,
	EXTENSION_SIGNATURE_ALGORITHMS = 13,
	EXTENSION_ALPN = 16,
	EXTENSION_SUPPORTED_VERSIONS = 43,
	LIST_MAX = 512,
	HASH_LEN = 12,
};

struct list {
	size_t n;
	uint16_t value[LIST_MAX];
};

/* What stands in the extensions. */
struct found {
	const uint8_t *alpn, *algorithms, *versions; /* their data; NULL: not there */
	size_t alpn_len, algorithms_len, versions_len;
	bool has_name;
	size_t n;          /* of extensions */
	struct list types; /* those that are hashed */
};

static bool list_add(struct list *list, uint32_t value)
{
	if (list->n == LIST_MAX)
		return false;
	list->value[list->n++] = (uint16_t)value;
	return true;
}

static bool list_fill(struct list *list, const uint8_t *bytes, size_t len)
{
	list->n = 0;
	for (size_t at = 0; at + 2 <= len; at += 2)
		if (!is_grease(look_be16(bytes + at)) && !list_add(list, look_be16(bytes + at)))
			return false;
	return true;
}

/* Shell's: the lists are short, and the C library's would allocate for long ones. */
static void list_sort(struct list *list)
{
	static const size_t gaps[] = { 132, 57, 23, 10, 4, 1 };

	for (size_t k = 0; k < sizeof(gaps) / sizeof(gaps[0]); k++) {
		for (size_t gap = gaps[k], i = gap; i < list->n; i++) {
			uint16_t value = list->value[i];
			size_t to = i;
			for (; to >= gap && list->value[to - gap] > value; to -= gap)
				list->value[to] = list->value[to - gap];
			list->value[to] = value;
		}
	}
}

static size_t list_print(uint8_t *dst, const struct list *list)
{
	uint8_t *to = dst;

	for (size_t i = 0; i < list->n; i++) {
		uint16_t value = list->value[i];
		if (i > 0)
			*to++ = ',';
		for (int shift = 12; shift >= 0; shift -= 4)
			*to++ = (uint8_t)hex_digit(value >> shift);
	}
	return (size_t)(to - dst);
}

static bool hash_write(uint8_t dst[HASH_LEN], const uint8_t *text, size_t len)
{
	uint8_t hash[SHA256_LEN];

	if (len == 0) {
		memset(dst, '0', HASH_LEN);
		return true;
	}
	if (!digest_sha256(hash, text, len))
		return false;
	for (size_t i = 0; i < HASH_LEN; i++)
		dst[i] = (uint8_t)hex_digit(hash[i / 2] >> (i % 2 ? 0 : 4));
	return true;
}

static bool extensions_find(struct found *found, const uint8_t *bytes, size_t len)
{
	size_t data_len;

	found->alpn = found->algorithms = found->versions = NULL;
	found->alpn_len = found->algorithms_len = found->versions_len = 0;
	found->has_name = false;
	found->n = found->types.n = 0;
	for (size_t at = 0; at + 4 <= len; at += 4 + data_len) {
		uint32_t type = look_be16(bytes + at);
		const uint8_t *data = bytes + at + 4;
		data_len = look_be16(bytes + at + 2);
		if (is_grease(type))
			continue;
		found->n++;
		if (type == EXTENSION_SERVER_NAME) {
			found->has_name = true;
		} else if (type == EXTENSION_ALPN) {
			found->alpn = data;
			found->alpn_len = data_len;
		} else if (!list_add(&found->types, type)) {
			return false;
		}
		if (type == EXTENSION_SIGNATURE_ALGORITHMS) {
			found->algorithms = data;
			found->algorithms_len = data_len;
		} else if (type == EXTENSION_SUPPORTED_VERSIONS) {
			found->versions = data;
			found->versions_len = data_len;
		}
	}
	return true;
}

/* DTLS counts downwards. */
static void version_write(uint8_t dst[2], uint32_t version, const struct found *found, bool is_dtls)
{
	static const struct {
		uint16_t version;
		char code[2];
	} codes[] = { { 0x304, "13" }, { 0x303, "12" }, { 0x302, "11" }, { 0x301, "10" }, { 0x300, "s3" },
		{ 0x002, "s2" }, { 0xfeff, "d1" }, { 0xfefd, "d2" }, { 0xfefc, "d3" } };
	uint32_t highest = 0;

	for (size_t at = 1; at + 2 <= found->versions_len; at += 2) {
		uint32_t one = look_be16(found->versions + at);
		if (!is_grease(one) && (highest == 0 || (is_dtls ? one < highest : one > highest)))
			highest = one;
	}
	if (found->versions)
		version = highest;
	memcpy(dst, "00", 2);
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].version == version)
			memcpy(dst, codes[i].code, 2);
}

static void count_write(uint8_t dst[2], size_t n)
{
	if (n > 99)
		n = 99;
	dst[0] = (uint8_t)('0' + n / 10);
	dst[1] = (uint8_t)('0' + n % 10);
}

static bool is_alphanumeric(uint8_t byte)
{
	uint8_t c = look_lower(byte);

	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Where either end is no letter or digit, the first and last digit of the name in hex. */
static void alpn_write(uint8_t dst[2], const uint8_t *data, size_t len)
{
	size_t name_len = len > 3 ? data[2] : 0;

	memcpy(dst, "00", 2);
	if (name_len == 0 || name_len > len - 3)
		return;
	dst[0] = data[3];
	dst[1] = data[3 + name_len - 1];
	if (is_alphanumeric(dst[0]) && is_alphanumeric(dst[1]))
		return;
	dst[0] = (uint8_t)hex_digit(dst[0] >> 4);
	dst[1] = (uint8_t)hex_digit(dst[1]);
}

bool ja4_write(uint8_t dst[JA4_LEN], const struct ja4_hello *hello)
{
	struct found found;
	struct list list; /* of ciphers, then of signature algorithms */
	uint8_t text[2 * 5 * LIST_MAX];

	if (!extensions_find(&found, hello->extensions, hello->extensions_len) ||
		!list_fill(&list, hello->ciphers, hello->ciphers_len))
		return false;
	dst[0] = (uint8_t)hello->transport;
	version_write(dst + 1, hello->version, &found, hello->transport == 'd');
	dst[3] = found.has_name ? 'd' : 'i';
	count_write(dst + 4, list.n);
	count_write(dst + 6, found.n);
	alpn_write(dst + 8, found.alpn, found.alpn_len);
	dst[10] = '_';
	list_sort(&list);
	if (!hash_write(dst + 11, text, list_print(text, &list)))
		return false;
	dst[23] = '_';
	list_sort(&found.types);
	size_t len = list_print(text, &found.types);
	if (found.algorithms_len > 2) {
		if (!list_fill(&list, found.algorithms + 2, found.algorithms_len - 2))
			return false;
		text[len] = '_';
		len += 1 + list_print(text + len + 1, &list);
	}
	return hash_write(dst + 24, text, len);
}
