/* SHA-256 by libcrypto, through the functions that it calls low-level: those of EVP allocate for each digest, which a
 * decision must not, and take twice as long. They are deprecated since OpenSSL 3.0 and are in every 3.x.
 *
 * Owns no memory. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "digest.h"

#include <openssl/sha.h>

_Static_assert(SHA256_LEN == SHA256_DIGEST_LENGTH, "another hash");

bool digest_sha256(uint8_t dst[SHA256_LEN], const void *bytes, size_t len)
{
	SHA256_CTX context;

	return SHA256_Init(&context) == 1 && SHA256_Update(&context, bytes, len) == 1 &&
		SHA256_Final(dst, &context) == 1;
}
