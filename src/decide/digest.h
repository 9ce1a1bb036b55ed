/* SHA-256 of a few bytes, often. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA256_LEN 32

/* false: libcrypto would not. */
bool digest_sha256(uint8_t dst[SHA256_LEN], const void *bytes, size_t len);
