/* Keys and protection of QUIC's Initial packets by libcrypto.
 *
 *     first destination id --HMAC(salt)--> secret --"client in"--> client's secret --+-- "quic key" --> AES-128-GCM
 *                                                                                    +-- "quic iv"
 *                                                                                    +-- "quic hp"  --> AES-128, for the header
 *
 * The hash is that of digest.c, for the reason that is given there. Ciphers have to be those of EVP, as the older functions know
 * nothing of the processor's instructions; two contexts are made once for the process, in a library context of their own that
 * reads no configuration file, because a worker opens none. After that nothing is allocated. Refuses packets whose tag is
 * wrong. Owns the two contexts, for the life of the process. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "quic_keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>

enum {
	HASH_LEN = SHA256_DIGEST_LENGTH,
	HASH_BLOCK_LEN = 64,
	SALT_LEN = 20,
	SAMPLE_AT = 4, /* behind the place of the packet number, whatever that one's length */
	SAMPLE_LEN = 16,
	MASK_LONG = 0x0f,
	NUMBER_LEN = 3, /* the bits that have it, less one */
};

/* ---- Versions ------------------------------------------------------------------------- */

static const uint8_t salt_1[SALT_LEN] = { 0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6,
	0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a };
static const uint8_t salt_2[SALT_LEN] = { 0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe,
	0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9 };
static const uint8_t salt_29[SALT_LEN] = { 0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97, 0x86, 0xf1,
	0x9c, 0x61, 0x11, 0xe0, 0x43, 0x90, 0xa8, 0x99 };
static const uint8_t salt_23[SALT_LEN] = { 0xc3, 0xee, 0xf7, 0x12, 0xc7, 0x2e, 0xbb, 0x5a, 0x11, 0xa7, 0xd2, 0x43,
	0x2b, 0xb4, 0x63, 0x65, 0xbe, 0xf9, 0xf5, 0x02 };

static const struct quic_version versions[] = {
	{ 0x00000001, salt_1, false, "1" },
	{ 0x6b3343cf, salt_2, true, "2" },
	{ 0xff000022, salt_1, false, "draft-34" },
	{ 0xff000021, salt_1, false, "draft-33" },
	{ 0xff000020, salt_29, false, "draft-32" },
	{ 0xff00001f, salt_29, false, "draft-31" },
	{ 0xff00001e, salt_29, false, "draft-30" },
	{ 0xff00001d, salt_29, false, "draft-29" },
	{ 0xff00001c, salt_23, false, "draft-28" },
	{ 0xff00001b, salt_23, false, "draft-27" },
};

const struct quic_version *quic_version_find(uint32_t number)
{
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		if (versions[i].number == number)
			return &versions[i];
	return NULL;
}

/* ---- Keys ----------------------------------------------------------------------------- */

/* HMAC-SHA-256, RFC 2104, with one key for several texts. */
struct mac {
	SHA256_CTX inner, outer; /* with the padded key taken in */
};

static bool mac_init(struct mac *ret, const uint8_t *key, size_t len)
{
	uint8_t inner[HASH_BLOCK_LEN], outer[HASH_BLOCK_LEN];

	memset(inner, 0x36, sizeof(inner));
	memset(outer, 0x5c, sizeof(outer));
	for (size_t i = 0; i < len; i++) {
		inner[i] ^= key[i];
		outer[i] ^= key[i];
	}
	return SHA256_Init(&ret->inner) == 1 && SHA256_Update(&ret->inner, inner, sizeof(inner)) == 1 &&
		SHA256_Init(&ret->outer) == 1 && SHA256_Update(&ret->outer, outer, sizeof(outer)) == 1;
}

static bool mac_write(uint8_t dst[HASH_LEN], const struct mac *mac, const uint8_t *text, size_t len)
{
	SHA256_CTX inner = mac->inner, outer = mac->outer;

	return SHA256_Update(&inner, text, len) == 1 && SHA256_Final(dst, &inner) == 1 &&
		SHA256_Update(&outer, dst, HASH_LEN) == 1 && SHA256_Final(dst, &outer) == 1;
}

/* HKDF-Expand-Label without a context, RFC 8446 7.1; one block of HKDF-Expand has all of it, RFC 5869 2.3:
 *
 *     LL LL | nn "tls13 " label | 00 | 01
 */
static bool expand(uint8_t *dst, size_t len, const struct mac *secret, const char *label)
{
	uint8_t text[32], block[HASH_LEN];
	size_t label_len = strlen(label), at = 0;

	text[at++] = 0;
	text[at++] = (uint8_t)len;
	text[at++] = (uint8_t)(6 + label_len);
	memcpy(text + at, "tls13 ", 6);
	memcpy(text + at + 6, label, label_len);
	at += 6 + label_len;
	text[at++] = 0;
	text[at++] = 1;
	if (!mac_write(block, secret, text, at))
		return false;
	memcpy(dst, block, len);
	return true;
}

bool quic_keys_derive(struct quic_keys *ret, const struct quic_version *version, const uint8_t *id, size_t id_len)
{
	uint8_t secret[HASH_LEN];
	struct mac mac;

	return mac_init(&mac, version->salt, SALT_LEN) && mac_write(secret, &mac, id, id_len) &&
		mac_init(&mac, secret, HASH_LEN) && expand(secret, HASH_LEN, &mac, "client in") &&
		mac_init(&mac, secret, HASH_LEN) &&
		expand(ret->key, sizeof(ret->key), &mac, version->is_2 ? "quicv2 key" : "quic key") &&
		expand(ret->iv, sizeof(ret->iv), &mac, version->is_2 ? "quicv2 iv" : "quic iv") &&
		expand(ret->header, sizeof(ret->header), &mac, version->is_2 ? "quicv2 hp" : "quic hp");
}

/* ---- Packets -------------------------------------------------------------------------- */

static EVP_CIPHER_CTX *payload_cipher, *header_cipher;

static EVP_CIPHER_CTX *cipher_new(OSSL_LIB_CTX *library, const char *name)
{
	static const uint8_t key[16];
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(library, name, "");
	EVP_CIPHER_CTX *context = cipher ? EVP_CIPHER_CTX_new() : NULL;

	if (context && EVP_CipherInit_ex(context, cipher, NULL, key, NULL, 1) != 1) {
		EVP_CIPHER_CTX_free(context);
		context = NULL;
	}
	EVP_CIPHER_free(cipher); /* the context has a reference of its own */
	return context;
}

static bool ciphers_are_there(void)
{
	static bool were_made;

	if (were_made)
		return payload_cipher && header_cipher;
	were_made = true;
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	OSSL_LIB_CTX *library = OSSL_LIB_CTX_new();
	if (library) {
		payload_cipher = cipher_new(library, "AES-128-GCM");
		header_cipher = cipher_new(library, "AES-128-ECB");
	}
	return payload_cipher && header_cipher;
}

/* The first byte and the packet number without protection, and the nonce that the number makes, RFC 9001 5.3 and 5.4. The number
 * is as it stands: before a client has heard anything, it sends numbers whole (RFC 9000 A.2). */
struct opened {
	uint8_t first, number[4], number_len, nonce[12];
};

static bool header_open(
	struct opened *ret, const struct quic_keys *keys, const uint8_t *packet, const uint8_t *number)
{
	uint8_t mask[SAMPLE_LEN];
	int len;

	if (EVP_CipherInit_ex(header_cipher, NULL, NULL, keys->header, NULL, 1) != 1 ||
		EVP_CipherUpdate(header_cipher, mask, &len, number + SAMPLE_AT, SAMPLE_LEN) != 1)
		return false;
	ret->first = packet[0] ^ (mask[0] & MASK_LONG);
	ret->number_len = (ret->first & NUMBER_LEN) + 1;
	memcpy(ret->nonce, keys->iv, sizeof(ret->nonce));
	for (size_t i = 0; i < ret->number_len; i++) {
		ret->number[i] = number[i] ^ mask[1 + i];
		ret->nonce[sizeof(ret->nonce) - ret->number_len + i] ^= ret->number[i];
	}
	return true;
}

bool quic_open(const struct quic_keys *keys, const uint8_t *packet, size_t number_at, size_t len, uint8_t *dst,
	size_t *ret_len)
{
	struct opened opened;
	uint8_t tag[QUIC_TAG_LEN];
	int written, more;

	if (!ciphers_are_there() || !header_open(&opened, keys, packet, packet + number_at))
		return false;
	EVP_CIPHER_CTX *cipher = payload_cipher;
	const uint8_t *payload = packet + number_at + opened.number_len;
	int payload_len = (int)(len - number_at - opened.number_len - sizeof(tag));
	memcpy(tag, packet + len - sizeof(tag), sizeof(tag));
	if (EVP_CipherInit_ex(cipher, NULL, NULL, keys->key, opened.nonce, 0) != 1 ||
		EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, sizeof(tag), tag) != 1 ||
		EVP_CipherUpdate(cipher, NULL, &more, &opened.first, 1) != 1 ||
		EVP_CipherUpdate(cipher, NULL, &more, packet + 1, (int)number_at - 1) != 1 ||
		EVP_CipherUpdate(cipher, NULL, &more, opened.number, opened.number_len) != 1 ||
		EVP_CipherUpdate(cipher, dst, &written, payload, payload_len) != 1 ||
		EVP_CipherFinal_ex(cipher, dst + written, &more) != 1)
		return false;
	*ret_len = (size_t)payload_len;
	return true;
}
