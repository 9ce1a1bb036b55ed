/* NTP, in datagrams: requests of clients and of symmetric peers, RFC 5905 7.3 and 7.5, RFC 4330 (SNTP), versions 1 to 4;
 * control messages as ntpq sends them, RFC 9327 2.
 *
 *     ll vvv mmm | stratum | poll | precision | delay[4] | dispersion[4] | id[4] | timestamps[4][8] | extensions | MAC
 *            3     0..16    -7..17              0..16 s    0..16 s                 the last one is the
 *         or 1                                                                     client's time
 *     ll vvv 110 | 000 opcode | number[2] | 00 00 | association[2] | 00 00 | count[2] | data[count] | MAC
 *
 * A request has 48 bytes, or what follows must be extension fields and a MAC that end with the datagram. Its
 * time may be zero, as many SNTP clients have it, if the other three timestamps are. What can be the header of a DNS
 * query is refused. Refuses answers, broadcasts, and the private messages of ntpdc (mode 7). Owns no memory. */
#include "look.h"
#include "probe.h"

enum {
	REQUEST_LEN = 48,
	TIMESTAMPS_AT = 16,
	TRANSMIT_AT = 40,
	MODE_ACTIVE = 1,
	MODE_CLIENT = 3,
	MODE_CONTROL = 6,
	VERSION_MAX = 4,
	STRATUM_MAX = 16,
	POLL_MIN = -7,
	POLL_MAX = 17,
	SECONDS_MAX = 16, /* delay and dispersion: more counts as unsynchronized */
	FIELD_LEN_MIN = 16,
	MAC_LEN_MAX = 4 + 64, /* in version 3, which has no extension fields */
	CONTROL_LEN = 12,
	OPCODE_MAX = 12, /* "request nonce"; the one behind it is 31 */
	OPCODE_LAST = 31,
};

/* A key's number, and a digest of 16 or 20 bytes or none. */
static bool mac_len_is_sound(size_t len)
{
	return len == 0 || len == 4 || len == 4 + 16 || len == 4 + 20;
}

/* Extension fields, each with its length at its third byte, and a MAC. */
static bool rest_match(const uint8_t *at, size_t len, unsigned version)
{
	if (version < VERSION_MAX)
		return len % 4 == 0 && len <= MAC_LEN_MAX;
	while (!mac_len_is_sound(len)) {
		size_t field_len = len >= FIELD_LEN_MIN ? look_be16(at + 2) : 0;
		if (field_len < FIELD_LEN_MIN || field_len % 4 != 0 || field_len > len)
			return false;
		at += field_len;
		len -= field_len;
	}
	return true;
}

static bool request_match(const uint8_t *bytes, size_t len, unsigned version)
{
	if (len < REQUEST_LEN)
		return false;
	int8_t poll = (int8_t)bytes[2];
	if (bytes[1] > STRATUM_MAX || poll < POLL_MIN || poll > POLL_MAX)
		return false;
	if (look_be32(bytes + 4) > SECONDS_MAX << 16 || look_be32(bytes + 8) > SECONDS_MAX << 16)
		return false;
	if (look_is_dns_header(bytes) && (bytes[3] & 0x0f) == 0)
		return false;
	if (look_is_zero(bytes + TRANSMIT_AT, 8) && !look_is_zero(bytes + TIMESTAMPS_AT, TRANSMIT_AT - TIMESTAMPS_AT))
		return false;
	return rest_match(bytes + REQUEST_LEN, len - REQUEST_LEN, version);
}

static bool control_match(const uint8_t *bytes, size_t len)
{
	if (len < CONTROL_LEN || bytes[1] == 0 || (bytes[1] > OPCODE_MAX && bytes[1] != OPCODE_LAST))
		return false;
	size_t count = look_be16(bytes + 10), padded = (count + 3) & ~(size_t)3;
	if (look_be16(bytes + 4) != 0 || look_be16(bytes + 8) != 0)
		return false;
	return len == CONTROL_LEN + count ||
		(len >= CONTROL_LEN + padded && (len - CONTROL_LEN - padded) % 4 == 0 &&
			len - CONTROL_LEN - padded <= MAC_LEN_MAX);
}

enum verdict probe_ntp_datagram(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	unsigned version = evidence->len > 0 ? bytes[0] >> 3 & 7 : 0, mode = evidence->len > 0 ? bytes[0] & 7 : 0;

	if (version == 0 || version > VERSION_MAX)
		return VERDICT_NO;
	if (mode == MODE_CLIENT || mode == MODE_ACTIVE)
		return request_match(bytes, evidence->len, version) ? VERDICT_YES : VERDICT_NO;
	return mode == MODE_CONTROL && control_match(bytes, evidence->len) ? VERDICT_YES : VERDICT_NO;
}
