/* SHA-256 by libcrypto, in a context that is made once and kept: fetching an algorithm anew costs more than hashing.
 *
 * Reads no configuration of libcrypto's: a library context of its own never does, and workers open no files. The
 * contexts are the process's for as long as it lives; one thread uses them. */
#include "digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

static EVP_MD_CTX *sha256_context(void)
{
	static EVP_MD_CTX *context;
	static bool tried;

	if (tried)
		return context;
	tried = true;
	OSSL_LIB_CTX *library = OSSL_LIB_CTX_new();
	EVP_MD *sha256 = library ? EVP_MD_fetch(library, "SHA256", NULL) : NULL;
	EVP_MD_CTX *fresh = sha256 ? EVP_MD_CTX_new() : NULL;
	if (fresh && EVP_DigestInit_ex2(fresh, sha256, NULL) == 1)
		context = fresh;
	else
		EVP_MD_CTX_free(fresh);
	EVP_MD_free(sha256); /* the context holds it */
	if (!context)
		OSSL_LIB_CTX_free(library);
	return context;
}

bool digest_sha256(uint8_t dst[SHA256_LEN], const void *bytes, size_t len)
{
	EVP_MD_CTX *context = sha256_context();

	return context && EVP_DigestInit_ex2(context, NULL, NULL) == 1 &&
		EVP_DigestUpdate(context, bytes, len) == 1 && EVP_DigestFinal_ex(context, dst, NULL) == 1;
}
