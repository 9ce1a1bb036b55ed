/* TCPMUX, RFC 1078: the client names the service that it wants on its first line, CR LF behind it.
 *
 *     echo\r\n        the name: letters, digits and punctuation, no space, 1 to 63 bytes; case does not matter
 *
 * YES with the line feed, a bare one tolerated; the name is the attribute `service`, in lower case. Any word on a line of its own is such a
 * name, so a service should ask for its name and not for the protocol alone. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

#define NAME_MAX_LEN 63

static bool is_name_byte(uint8_t byte)
{
	return byte > ' ' && byte <= '~';
}

enum verdict probe_tcpmux(const struct evidence *evidence, struct findings *findings)
{
	size_t len = evidence_len(evidence), name_len = 0;
	const uint8_t *bytes = evidence->bytes;
	uint8_t name[NAME_MAX_LEN];

	while (name_len < len && name_len < NAME_MAX_LEN && is_name_byte(bytes[name_len])) {
		name[name_len] = look_lower(bytes[name_len]);
		name_len++;
	}
	size_t end = name_len;
	if (end < len && bytes[end] == '\r')
		end++;
	if (end == len && end <= NAME_MAX_LEN + 1)
		return VERDICT_MORE;
	if (name_len == 0 || bytes[end] != '\n')
		return VERDICT_NO;
	finding_settle(findings, ATTRIBUTE_SERVICE, name, name_len);
	return VERDICT_YES;
}
