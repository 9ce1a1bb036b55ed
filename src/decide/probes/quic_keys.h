/* The protection of QUIC's Initial packets: RFC 9001 5, RFC 9369 3.3. Its keys follow from a connection id that is in the packet
 * itself, so that it authenticates nobody; but only QUIC has it. For quic.c only. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A version of which the protection is known. */
struct quic_version {
	uint32_t number;
	const uint8_t *salt;
	bool is_2; /* it has the labels and the types of packets of version 2 */
	char text[12];
};

#define QUIC_TAG_LEN 16

/* What a client's Initial packets are protected with. */
struct quic_keys {
	uint8_t key[16], iv[12], header[16];
};

const struct quic_version *quic_version_find(uint32_t number); /* NULL: not known */

/* `id` is the destination connection id of the client's first Initial packet. False: libcrypto would not. */
bool quic_keys_derive(struct quic_keys *ret, const struct quic_version *version, const uint8_t *id, size_t id_len);

/* Takes the protection off a packet of `len` bytes, whose packet number begins at `number_at`; from there at least
 * 4 + QUIC_TAG_LEN bytes follow. Writes the payload, at most len - number_at - QUIC_TAG_LEN bytes, to `dst`. False: it was not
 * protected with these keys. */
bool quic_open(const struct quic_keys *keys, const uint8_t *packet, size_t number_at, size_t len, uint8_t *dst,
	size_t *ret_len);
