/* Hexadecimal digits. Owns nothing. */
#include "hex.h"
#include <errno.h>
#include <string.h>

int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void hex_write(char *to, const void *bytes, size_t len)
{
	const uint8_t *in = bytes;

	for (size_t i = 0; i < len; i++) {
		to[2 * i] = hex_digit(in[i] >> 4);
		to[2 * i + 1] = hex_digit(in[i]);
	}
	to[2 * len] = '\0';
}

int hex_read(const char *text, void *to, size_t len)
{
	uint8_t *out = to;

	if (strlen(text) != 2 * len)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return -EINVAL;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}
