/* Cuts a handshake message into records of a size of one's own. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Returns how many bytes it wrote, 0 if that is more than there is room for. */
static size_t records_cut(uint8_t *dst, size_t room, const uint8_t *message, size_t len, size_t record_len)
{
	size_t at = 0;

	for (size_t n; len > 0; message += n, len -= n) {
		n = len < record_len ? len : record_len;
		if (room - at < 5 + n)
			return 0;
		uint8_t header[5] = { 0x16, 3, 1, (uint8_t)(n >> 8), (uint8_t)n };
		memcpy(dst + at, header, sizeof(header));
		memcpy(dst + at + sizeof(header), message, n);
		at += sizeof(header) + n;
	}
	return at;
}
