/* Hexadecimal digits: written in lower case, read in both. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* That of the lowest four bits. */
static inline char hex_digit(unsigned value)
{
	return "0123456789abcdef"[value & 15];
}

/* 0 to 15, or -1: it is none. */
int hex_value(char c);

/* Two digits a byte, and a NUL: 2 * len + 1 bytes. */
void hex_write(char *to, const void *bytes, size_t len);

/* A text of two digits for each of `len` bytes, and nothing else. 0 or -EINVAL. */
int hex_read(const char *text, void *to, size_t len);
