/* Minecraft (Java edition): the handshake packet, "Java Edition protocol" in the Minecraft Wiki, and the older server list
 * ping. Numbers of 7 bits a byte, low ones first.
 *
 *     length | 00 | version | n host[n] | port[2] | 01, 02, 03
 *                                                   ^ YES     what next: status, login, transfer
 *     fe 01
 *        ^ YES
 *
 * The length must be that of all this. The host may carry what proxies and mods have added behind a zero byte; `host` is what
 * is before it, as far as it is a name or an address. An old ping settles it as absent. `fe` alone, as
 * the very first versions ping, is one byte and not claimed; those of 1.4 to 1.6 have `01` behind it, and wait then. Versions
 * before 1.7 begin to play with `02`, not claimed either. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

#include <string.h>

enum {
	PACKET_LEN_MIN = 1 + 1 + 1 + 1 + 2 + 1,
	HOST_LEN_MAX = 8192, /* with what proxies forward; the game itself sends at most 255 */
	PACKET_LEN_MAX = 1 + 5 + 2 + HOST_LEN_MAX + 2 + 1,
	NEXT_MAX = 3,
	OLD_PING = 0xfe,
};

static enum verdict number_read(const uint8_t *bytes, size_t len, size_t len_max, size_t *at, uint32_t *ret)
{
	uint32_t value = 0;

	for (size_t i = 0; i < len_max; i++) {
		if (*at + i == len)
			return VERDICT_MORE;
		uint8_t byte = bytes[*at + i];
		value |= (uint32_t)(byte & 0x7f) << 7 * i;
		if (!(byte & 0x80)) {
			*at += i + 1;
			*ret = value;
			return i > 0 && byte == 0 ? VERDICT_NO : VERDICT_YES;
		}
	}
	return VERDICT_NO;
}

/* Printable, with zeros between its parts but not in front; in an old mod's or a proxy's part anything that is not a control.
 */
static bool host_match(const uint8_t *host, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (host[i] == 0x7f || (host[i] < ' ' && (i == 0 || host[i] != 0)))
			return false;
	return true;
}

/* What the player typed, or what an SRV record made of it. An address of IPv6 may be without brackets. */
static void host_settle(struct findings *findings, const uint8_t *host, size_t len)
{
	const uint8_t *end = memchr(host, 0, len);
	uint8_t name[HOST_MAX], bracketed[HOST_MAX];
	size_t host_len = end ? (size_t)(end - host) : len;

	if (host[0] != '[' && memchr(host, ':', host_len) && host_len + 2 <= sizeof(bracketed)) {
		bracketed[0] = '[';
		memcpy(bracketed + 1, host, host_len);
		bracketed[host_len + 1] = ']';
		host = bracketed;
		host_len += 2;
	}
	finding_settle(findings, ATTRIBUTE_HOST, name,
		host_normalize(name, host, host_len, host[0] == '[' ? HOST_AUTHORITY : HOST_BARE));
}

/* Behind the packet's length. */
static enum verdict handshake_match(
	const uint8_t *bytes, size_t len, size_t at, size_t end, struct findings *findings)
{
	uint32_t version, host_len;

	if (at == len)
		return VERDICT_MORE;
	if (bytes[at++] != 0)
		return VERDICT_NO;
	enum verdict verdict = number_read(bytes, len, 5, &at, &version);
	if (verdict == VERDICT_YES)
		verdict = number_read(bytes, len, 2, &at, &host_len);
	if (verdict != VERDICT_YES)
		return verdict;
	if (host_len == 0 || host_len > HOST_LEN_MAX || at + host_len + 2 + 1 != end)
		return VERDICT_NO;
	if (!host_match(bytes + at, len - at < host_len ? len - at : host_len))
		return VERDICT_NO;
	if (len < end)
		return VERDICT_MORE;
	if (bytes[end - 1] < 1 || bytes[end - 1] > NEXT_MAX)
		return VERDICT_NO;
	host_settle(findings, bytes + at, host_len);
	return VERDICT_YES;
}

static enum verdict old_ping_match(const uint8_t *bytes, size_t len, struct findings *findings)
{
	enum verdict verdict = look_literal(bytes, len, "\xfe\x01", 2);

	if (verdict == VERDICT_YES)
		finding_close(findings, ATTRIBUTE_HOST);
	return verdict;
}

enum verdict probe_minecraft(const struct evidence *evidence, struct findings *findings)
{
	size_t len = evidence_len(evidence), at = 0;
	const uint8_t *bytes = evidence->bytes;
	uint32_t packet_len;

	if (len > 0 && bytes[0] == OLD_PING)
		return old_ping_match(bytes, len, findings);
	enum verdict verdict = number_read(bytes, len, 2, &at, &packet_len);
	if (verdict != VERDICT_YES)
		return verdict;
	if (packet_len < PACKET_LEN_MIN || packet_len > PACKET_LEN_MAX)
		return VERDICT_NO;
	return handshake_match(bytes, len, at, at + packet_len, findings);
}
