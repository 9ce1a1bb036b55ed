/* A TLS ClientHello as far as it has come, put together from whatever carried it. For the probes that read hellos
 * only. */
#pragma once
#include "finding.h"

/* What hello_read() learns. */
#define HELLO_ATTRIBUTES (1U << ATTRIBUTE_SNI | 1U << ATTRIBUTE_ALPN | 1U << ATTRIBUTE_VERSION | 1U << ATTRIBUTE_JA4)

struct hello {
	char transport;       /* as JA4 has it: 't' TCP, 'q' QUIC, 'd' DTLS */
	const uint8_t *bytes; /* behind the header of the handshake message */
	size_t len;           /* that are there */
	size_t total;         /* that the header promises */
};

/* How long one can be at least (SSL 3.0, one cipher suite) and at most. */
#define HELLO_LEN_MIN (2 + 32 + 1 + 2 + 2 + 1 + 1)
#define HELLO_LEN_MAX (2 + 32 + 1 + 32 + 2 + 65534 + 1 + 255 + 2 + 65535)

/* By its length and its version: YES with the second byte. */
enum verdict hello_match(const struct hello *hello);

/* After YES: settles each attribute as soon as what it depends on has been passed, and all of them once nothing more
 * can be learned. A version that is settled before stays. */
void hello_read(struct findings *findings, const struct hello *hello);

/* The version as the attribute has it, "1.2"; NULL: none that exists. */
const char *version_text(uint32_t version);
