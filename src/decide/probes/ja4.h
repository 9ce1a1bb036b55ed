/* JA4, the fingerprint of a TLS client. For the probes that read hellos only. */
#pragma once
#include "evidence.h"

#define JA4_LEN 36

/* A hello that was found sound: the two lists without the lengths in front of them. */
struct ja4_hello {
	char transport;   /* 't' over TCP, 'q' in QUIC, 'd' in DTLS */
	uint16_t version; /* as the hello itself has it; supported_versions goes first */
	const uint8_t *ciphers;
	size_t ciphers_len;
	const uint8_t *extensions; /* each with type and length, none running past the end */
	size_t extensions_len;
};

/* false: it has more ciphers, extensions or signature algorithms than any client. */
bool ja4_write(uint8_t dst[JA4_LEN], const struct ja4_hello *hello);

/* RFC 8701: values that mean nothing and are sent so that servers learn to skip such. */
static inline bool is_grease(uint32_t value)
{
	return (value & 0x0f0f) == 0x0a0a && value >> 8 == (value & 0xff);
}
