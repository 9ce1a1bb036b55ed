/* OpenVPN by the packet that resets the control channel, the first that a client sends: the network protocol in
 * OpenVPN's developer documentation, its section on tls-crypt-v2, and what OpenVPN 2.6 was seen to send.
 *
 *     TCP: LL LL before each packet; UDP: nothing
 *     38 session[8]  00 00000000                              14 bytes: neither tls-auth nor tls-crypt
 *     38 session[8]  HMAC[16..64]  id[4] time[4]  00 00000000  38 to 86, by the digest: tls-auth
 *     38 session[8]  id[4] time[4]  tag[32]  secret[5]        54: tls-crypt
 *     50 session[8]  id[4] time[4]  tag[32]  secret[5]  key   54 and a wrapped key of 290 to 1024: tls-crypt-v2
 *                                              ~~~~~~~~~~~ no acknowledgements, message 0
 *
 *     48+ peer[3]  id[4]  tag[16]  data                       UDP: data of a session whose client has another address now
 *     18+ as the first two                                    UDP: such a client that renews its keys
 *
 * The first byte is an opcode of five bits (1, 7, 10: the client's hard reset, version 1, 2, 3) and a key id, 0. What
 * cannot be read behind a digest or a cipher is not looked at; a datagram with a wrapped key must end with that key's
 * length. Ids count packets from 1, with tls-crypt-v2 from 0x0f000001; the first packet may have been lost, or its id
 * been kept from an earlier run (--replay-persist).
 *
 * YES with the id where it stands in front of what is secret (tls-crypt), else with the whole packet: the length alone
 * says too little. Demands a length that such a packet can have, a session id, ids that are likely, and zeros where there
 * are zeros. One DNS query in 256 has an id that begins like such a packet: a session id that reads as the rest of the
 * header of a query (RFC 1035 4.1.1: one question, at most one answer) is refused; of random ones one in 2^39 is. A
 * datagram with data must have a peer id below 65536 (a server counts from 0), a packet id below 2^24, and be neither the
 * header of a DNS query, nor memcached's frame, nor data of a TURN channel; of random bytes one in 2^21 is taken. Does
 * not claim: static keys (nothing in them can be told from noise), other packets of a session that began elsewhere,
 * obfuscated packets. Owns no memory. */
#include "look.h"
#include "probe.h"

enum {
	RESET_CLIENT_V1 = 1 << 3,
	RESET_CLIENT_V2 = 7 << 3,
	RESET_CLIENT_V3 = 10 << 3,
	SOFT_RESET = 3 << 3, /* with the number of the key, from 1 */
	DATA_V2 = 9 << 3,
	KEY_MASK = 7,
	DATA_LEN_MIN = 1 + 3 + 4 + 16 + 1,
	SESSION_END = 1 + 8,
	ID_LEN = 4 + 4,
	TAG_LEN = 32,
	TAIL_LEN = 1 + 4, /* how many acknowledgements, and the number of the message */
	PLAIN_LEN = SESSION_END + TAIL_LEN,
	CRYPT_LEN = SESSION_END + ID_LEN + TAG_LEN + TAIL_LEN,
	WRAPPED_KEY_MIN = 32 + 256 + 2, /* tag, keys, its own length */
	WRAPPED_KEY_MAX = 1024,
	ID_MAX = 0xffffff,
};

/* The length of the HMAC of a packet with tls-auth, by the lengths of digests in use: MD5 to SHA-512; -1: none has
 * it. */
static int hmac_len(size_t packet_len)
{
	int len = (int)packet_len - PLAIN_LEN - ID_LEN;

	return len == 16 || len == 20 || len == 28 || len == 32 || len == 48 || len == 64 ? len : -1;
}

static bool length_is_sound(uint8_t opcode, size_t packet_len)
{
	if (opcode == RESET_CLIENT_V3)
		return packet_len >= CRYPT_LEN + WRAPPED_KEY_MIN && packet_len <= CRYPT_LEN + WRAPPED_KEY_MAX;
	return packet_len == PLAIN_LEN || hmac_len(packet_len) > 0;
}

/* A number that counts packets; `at` has all of it. */
static bool id_is_likely(const uint8_t *at, bool is_wrapped)
{
	uint32_t id = look_be32(at);

	if (is_wrapped && id >> 24 == 0x0f)
		id &= ID_MAX;
	return id > 0 && id <= ID_MAX;
}

/* The session id; behind the opcode, which would be the first byte of the query's id. */
static bool session_is_likely(const uint8_t *session)
{
	bool is_query = look_be16(session + 3) == 1 && look_be16(session + 5) <= 1 && session[7] == 0;

	return !is_query && !look_is_zero(session, SESSION_END - 1);
}

/* Without a wrapping, or with tls-auth: an id, where there is one, and then zeros to the end. */
static enum verdict open_match(const uint8_t *bytes, size_t len, size_t packet_len)
{
	size_t tail = packet_len - TAIL_LEN, id = tail - ID_LEN;

	if (packet_len > PLAIN_LEN && len >= id + 4 && !id_is_likely(bytes + id, false))
		return VERDICT_NO;
	if (len > tail && !look_is_zero(bytes + tail, (len < packet_len ? len : packet_len) - tail))
		return VERDICT_NO;
	return len < packet_len ? VERDICT_MORE : VERDICT_YES;
}

/* A packet of `packet_len` bytes, `len` of which are there. */
static enum verdict packet_match(const uint8_t *bytes, size_t len, size_t packet_len)
{
	if (len == 0)
		return VERDICT_MORE;
	if (bytes[0] != RESET_CLIENT_V1 && bytes[0] != RESET_CLIENT_V2 && bytes[0] != RESET_CLIENT_V3)
		return VERDICT_NO;
	if (!length_is_sound(bytes[0], packet_len))
		return VERDICT_NO;
	if (len >= SESSION_END && !session_is_likely(bytes + 1))
		return VERDICT_NO;
	/* Version 1 is older than tls-crypt. */
	if (bytes[0] == RESET_CLIENT_V1 || (bytes[0] == RESET_CLIENT_V2 && packet_len != CRYPT_LEN))
		return open_match(bytes, len, packet_len);
	if (len < SESSION_END + 4)
		return VERDICT_MORE;
	if (id_is_likely(bytes + SESSION_END, true))
		return VERDICT_YES;
	/* With a digest of 32 bytes tls-auth makes a packet of the same length. */
	return bytes[0] == RESET_CLIENT_V3 ? VERDICT_NO : open_match(bytes, len, packet_len);
}

enum verdict probe_openvpn(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;

	if (evidence->len > 0 && bytes[0] > (CRYPT_LEN + WRAPPED_KEY_MAX) >> 8)
		return VERDICT_NO;
	if (evidence->len < 2)
		return VERDICT_MORE;
	size_t packet_len = look_be16(bytes);
	if (!length_is_sound(RESET_CLIENT_V2, packet_len) && !length_is_sound(RESET_CLIENT_V3, packet_len))
		return VERDICT_NO;
	return packet_match(bytes + 2, evidence->len - 2, packet_len);
}

/* A wrapped key ends with its length. */
static bool reset_match(const uint8_t *bytes, size_t len)
{
	if (packet_match(bytes, len, len) != VERDICT_YES)
		return false;
	return bytes[0] != RESET_CLIENT_V3 || look_be16(bytes + len - 2) == len - CRYPT_LEN;
}

static bool data_match(const uint8_t *bytes, size_t len)
{
	if (len < DATA_LEN_MIN || (bytes[0] & ~KEY_MASK) != DATA_V2 || bytes[1] != 0 ||
		!id_is_likely(bytes + 4, false))
		return false;
	return !look_is_dns_header(bytes) && !look_is_memcached_frame(bytes) && look_be16(bytes + 2) + 4 != len;
}

/* As the packets that open a session, but with another first byte and a small number: it is early in the session. */
static bool soft_reset_match(const uint8_t *bytes, size_t len)
{
	if ((bytes[0] & ~KEY_MASK) != SOFT_RESET || (bytes[0] & KEY_MASK) == 0 ||
		!length_is_sound(RESET_CLIENT_V2, len) || !session_is_likely(bytes + 1))
		return false;
	if (len == CRYPT_LEN && look_be16(bytes + SESSION_END) == 0 && look_be16(bytes + SESSION_END + 2) != 0)
		return true;
	return open_match(bytes, len, len) == VERDICT_YES;
}

enum verdict probe_openvpn_datagram(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence->len;

	if (len < PLAIN_LEN)
		return VERDICT_NO;
	if (reset_match(bytes, len) || data_match(bytes, len) || soft_reset_match(bytes, len))
		return VERDICT_YES;
	return VERDICT_NO;
}
