/* TFTP, in datagrams, by the request that opens a transfer: RFC 1350 5, options RFC 2347.
 *
 *     00 01 | file name | 00 | octet | 00 | option | 00 | value | 00 | ...
 *     00 02                    netascii, mail
 *
 * Names and values are text, the last ends with the datagram. Refuses the blocks and acknowledgements of a transfer that
 * began elsewhere: they have two fixed bytes. Owns no memory. */
#include "look.h"
#include "probe.h"

#include <string.h>

enum {
	READ = 1,
	WRITE = 2,
	REQUEST_MAX = 512, /* RFC 2347 */
};

/* The length of a text of at least `min` bytes with a zero behind it; -1: there is none. */
static int text_len(const uint8_t *at, const uint8_t *end, int min)
{
	const uint8_t *zero = memchr(at, 0, (size_t)(end - at));

	if (!zero || zero - at < min)
		return -1;
	for (const uint8_t *c = at; c < zero; c++)
		if (*c < ' ' || *c == 0x7f)
			return -1;
	return (int)(zero - at);
}

static bool is_mode(const uint8_t *at, size_t len)
{
	static const struct look_entry modes[] = { LOOK_ENTRY("octet"), LOOK_ENTRY("netascii"), LOOK_ENTRY("mail") };

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (len == modes[i].len && look_word(at, len, modes[i].text, len) == VERDICT_YES)
			return true;
	return false;
}

enum verdict probe_tftp_datagram(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *at = evidence->bytes, *end = at + evidence->len;

	if (evidence->len < 4 || evidence->len > REQUEST_MAX || at[0] != 0 || (at[1] != READ && at[1] != WRITE))
		return VERDICT_NO;
	int name_len = text_len(at += 2, end, 1);
	if (name_len < 0)
		return VERDICT_NO;
	int mode_len = text_len(at += name_len + 1, end, 1);
	if (mode_len < 0 || !is_mode(at, (size_t)mode_len))
		return VERDICT_NO;
	for (at += mode_len + 1; at < end;) {
		int option_len = text_len(at, end, 1);
		int value_len = option_len < 0 ? -1 : text_len(at + option_len + 1, end, 0);
		if (value_len < 0)
			return VERDICT_NO;
		at += option_len + 1 + value_len + 1;
	}
	return VERDICT_YES;
}
