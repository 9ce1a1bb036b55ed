/* SSDP, in datagrams, by the search of a control point: UPnP Device Architecture 2.0, 1.3.2.
 *
 *     M-SEARCH * HTTP/1.1\r\n ... \r\n\r\n
 *                             ^ a line MAN with "ssdp:discover", in any case
 *
 * A search is mostly sent to a group's address; it may also be sent to a device's own (1.3.3), and then has no MX.
 * Refuses announcements (NOTIFY) and answers, which devices send, and BT-SEARCH, which looks for other things. Owns no
 * memory. */
#include "look.h"
#include "probe.h"

#define SEARCH "M-SEARCH * HTTP/1.1"
#define FIELD  "man:"
#define VALUE  "\"ssdp:discover\""

/* Is the field that begins here the one that a search has? */
static bool field_match(const uint8_t *at, size_t len)
{
	if (look_word(at, len, FIELD, sizeof(FIELD) - 1) != VERDICT_YES)
		return false;
	for (at += sizeof(FIELD) - 1, len -= sizeof(FIELD) - 1; len > 0 && (*at == ' ' || *at == '\t'); at++)
		len--;
	return look_word(at, len, VALUE, sizeof(VALUE) - 1) == VERDICT_YES;
}

enum verdict probe_ssdp_datagram(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence->len, at = sizeof(SEARCH) - 1;

	if (look_literal(bytes, len, SEARCH, at) != VERDICT_YES || look_line_end(bytes + at, len - at) != VERDICT_YES)
		return VERDICT_NO;
	for (; at < len; at++)
		if (bytes[at] == '\n' && field_match(bytes + at + 1, len - at - 1))
			return VERDICT_YES;
	return VERDICT_NO;
}
