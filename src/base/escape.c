/* Escapes into the caller's buffer. Bytes, not characters: what is not ASCII is escaped byte by byte, so that
 * no terminal and no decoder can be led astray by bytes that only look like UTF-8. */
#include "escape.h"
#include "hex.h"
#include <stdbool.h>
#include <string.h>

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Puts the escape of one byte behind `dst[used]` while it and the final NUL fit. */
static bool put(char *dst, size_t size, size_t *used, const char *unit, size_t len)
{
	if (size - *used <= len)
		return false;
	memcpy(dst + *used, unit, len);
	*used += len;
	return true;
}

size_t escape_text(char *dst, size_t size, const void *src, size_t len)
{
	const unsigned char *in = src;
	size_t used = 0;

	if (size == 0)
		return 0;
	for (size_t i = 0; i < len; i++) {
		char unit[4] = { '\\', 'x', hex_digit(in[i] >> 4), hex_digit(in[i]) };
		bool fits = is_plain(in[i]) ? put(dst, size, &used, (const char *)in + i, 1)
					    : put(dst, size, &used, unit, sizeof(unit));
		if (!fits)
			break;
	}
	dst[used] = '\0';
	return used;
}

size_t escape_json(char *dst, size_t size, const void *src, size_t len)
{
	const unsigned char *in = src;
	size_t used = 0;

	if (size == 0)
		return 0;
	for (size_t i = 0; i < len; i++) {
		char pair[2] = { '\\', (char)in[i] };
		char unit[6] = { '\\', 'u', '0', '0', hex_digit(in[i] >> 4), hex_digit(in[i]) };
		bool fits;
		if (is_plain(in[i]))
			fits = put(dst, size, &used, (const char *)in + i, 1);
		else if (in[i] == '"' || in[i] == '\\')
			fits = put(dst, size, &used, pair, sizeof(pair));
		else
			fits = put(dst, size, &used, unit, sizeof(unit));
		if (!fits)
			break;
	}
	dst[used] = '\0';
	return used;
}

void escape_json_write(FILE *to, const void *src, size_t len)
{
	const unsigned char *in = src;
	char escaped[6 * 256 + 1];

	putc('"', to);
	for (size_t done = 0; done < len; done += 256) {
		size_t n = escape_json(escaped, sizeof(escaped), in + done, len - done < 256 ? len - done : 256);
		fwrite(escaped, 1, n, to);
	}
	putc('"', to);
}

void escape_json_member(FILE *to, const char *key, const char *text)
{
	fprintf(to, ", \"%s\": ", key);
	if (text)
		escape_json_write(to, text, strlen(text));
	else
		fputs("null", to);
}
