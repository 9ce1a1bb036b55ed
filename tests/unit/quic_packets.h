/* Packets of QUIC's handshake as a client makes them, with a derivation of the keys that is not the probe's. For unit tests and
 * fuzz targets. */
#pragma once
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define QUIC_1 0x00000001U
#define QUIC_2 0x6b3343cfU

enum quic_type { QUIC_INITIAL, QUIC_0_RTT, QUIC_HANDSHAKE, QUIC_RETRY };

/* What all packets of a connection have. */
struct quic_client {
	uint32_t version;
	uint8_t id[20]; /* of the destination, in packets */
	size_t id_len;
	const uint8_t *token;
	size_t token_len;
	uint8_t key[16], iv[12], header[16];
};

static inline void quic_expand(
	uint8_t *dst, size_t len, const uint8_t secret[32], const char *prefix, const char *label)
{
	uint8_t text[64] = { 0, (uint8_t)len, (uint8_t)(6 + strlen(prefix) + strlen(label)) }, block[32];
	size_t at = 3;

	for (const char *const *part = (const char *const[]){ "tls13 ", prefix, label, NULL }; *part; part++) {
		memcpy(text + at, *part, strlen(*part));
		at += strlen(*part);
	}
	text[at + 1] = 1;
	if (!HMAC(EVP_sha256(), secret, 32, text, at + 2, block, NULL))
		abort();
	memcpy(dst, block, len);
}

/* The keys follow from the id, which may be changed after that. */
static inline void quic_client_init(
	struct quic_client *ret, uint32_t version, const uint8_t *salt, const void *id, size_t id_len)
{
	static const uint8_t salt_1[] = { 0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6,
		0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a };
	static const uint8_t salt_2[] = { 0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe,
		0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9 };
	const char *prefix = version == QUIC_2 ? "quicv2 " : "quic ";
	uint8_t secret[32], client[32];

	if (!salt)
		salt = version == QUIC_2 ? salt_2 : salt_1;
	*ret = (struct quic_client){ .version = version, .id_len = id_len };
	memcpy(ret->id, id, id_len);
	if (!HMAC(EVP_sha256(), salt, 20, id, id_len, secret, NULL))
		abort();
	quic_expand(client, 32, secret, "", "client in");
	quic_expand(ret->key, 16, client, prefix, "key");
	quic_expand(ret->iv, 12, client, prefix, "iv");
	quic_expand(ret->header, 16, client, prefix, "hp");
}

static inline void quic_protect(
	const struct quic_client *client, uint8_t *packet, size_t number_at, size_t number_len, size_t payload_len)
{
	uint8_t *payload = packet + number_at + number_len, nonce[12], mask[16];
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	int n;

	memcpy(nonce, client->iv, sizeof(nonce));
	for (size_t i = 0; i < number_len; i++)
		nonce[12 - number_len + i] ^= packet[number_at + i];
	if (!EVP_EncryptInit_ex(cipher, EVP_aes_128_gcm(), NULL, client->key, nonce) ||
		!EVP_EncryptUpdate(cipher, NULL, &n, packet, (int)(number_at + number_len)) ||
		!EVP_EncryptUpdate(cipher, payload, &n, payload, (int)payload_len) ||
		!EVP_EncryptFinal_ex(cipher, payload + n, &n) ||
		!EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, 16, payload + payload_len) ||
		!EVP_EncryptInit_ex(cipher, EVP_aes_128_ecb(), NULL, client->header, NULL) ||
		!EVP_EncryptUpdate(cipher, mask, &n, packet + number_at + 4, 16))
		abort();
	EVP_CIPHER_CTX_free(cipher);
	packet[0] ^= mask[0] & 0x0f;
	for (size_t i = 0; i < number_len; i++)
		packet[number_at + i] ^= mask[1 + i];
}

/* Writes a packet and returns its length: at most 60 bytes more than payload and token. */
static inline size_t quic_packet_write(uint8_t *dst, const struct quic_client *client, enum quic_type type,
	uint32_t number, size_t number_len, const uint8_t *payload, size_t payload_len)
{
	size_t at = 0, len = number_len + payload_len + 16;
	unsigned wire = client->version == QUIC_2 ? (type + 1) % 4 : type;

	dst[at++] = (uint8_t)(0xc0 | wire << 4 | (number_len - 1));
	for (int shift = 24; shift >= 0; shift -= 8)
		dst[at++] = (uint8_t)(client->version >> shift);
	dst[at++] = (uint8_t)client->id_len;
	memcpy(dst + at, client->id, client->id_len);
	at += client->id_len;
	dst[at++] = 0;
	if (type == QUIC_INITIAL && client->token_len < 64) {
		dst[at++] = (uint8_t)client->token_len;
	} else if (type == QUIC_INITIAL) {
		dst[at++] = (uint8_t)(0x40 | client->token_len >> 8);
		dst[at++] = (uint8_t)client->token_len;
	}
	if (type == QUIC_INITIAL && client->token_len > 0) {
		memcpy(dst + at, client->token, client->token_len);
		at += client->token_len;
	}
	dst[at++] = (uint8_t)(0x40 | len >> 8);
	dst[at++] = (uint8_t)len;
	size_t number_at = at;
	for (size_t i = number_len; i > 0; i--)
		dst[at++] = (uint8_t)(number >> 8 * (i - 1));
	if (payload_len > 0)
		memcpy(dst + at, payload, payload_len);
	quic_protect(client, dst, number_at, number_len, payload_len);
	return at + payload_len + 16;
}

/* A number of two bytes. */
static inline uint8_t *quic_number_write(uint8_t *at, size_t number)
{
	*at++ = (uint8_t)(0x40 | number >> 8);
	*at++ = (uint8_t)number;
	return at;
}

/* A CRYPTO frame with `len` bytes of the handshake from `offset` on; both below 16384. Returns where it ends. */
static inline uint8_t *quic_crypto_write(uint8_t *at, const uint8_t *handshake, size_t offset, size_t len)
{
	*at++ = 6;
	at = quic_number_write(at, offset);
	at = quic_number_write(at, len);
	memcpy(at, handshake + offset, len);
	return at + len;
}

/* An extension of a hello. Returns where it ends. */
static inline uint8_t *quic_extension_write(uint8_t *at, unsigned type, const void *data, size_t len)
{
	const uint8_t head[] = { (uint8_t)(type >> 8), (uint8_t)type, (uint8_t)(len >> 8), (uint8_t)len };

	memcpy(at, head, sizeof(head));
	memcpy(at + sizeof(head), data, len);
	return at + sizeof(head) + len;
}
