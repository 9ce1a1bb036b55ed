/* Reads ids. Both sides may send anything: nothing is read behind the end, and what has not the form of such a datagram has no id. Whether an
 * id means anything is for the table to say (affinity.h). Owns nothing. */
#include "datagram_id.h"
#include <string.h>

enum {
	QUIC_LONG = 0x80,
	QUIC_IDS_AT = 5, /* behind the first byte and the version */
	WIREGUARD_INITIATION = 1,
	WIREGUARD_RESPONSE = 2,
	WIREGUARD_COOKIE = 3,
	WIREGUARD_DATA = 4,
	WIREGUARD_INITIATION_LEN = 148,
	WIREGUARD_RESPONSE_LEN = 92,
	WIREGUARD_COOKIE_LEN = 64,
	WIREGUARD_DATA_MIN = 32,
	WIREGUARD_INDEX_LEN = 4,
	OPENVPN_DATA = 9, /* the opcode, above three bits of a key's number */
	OPENVPN_KEY_BITS = 3,
	OPENVPN_PEER_LEN = 3,
	OPENVPN_DATA_MIN = 1 + OPENVPN_PEER_LEN + 4 + 16,
};

static bool id_set(struct datagram_id *ret, enum affinity_kind kind, const uint8_t *bytes, size_t len)
{
	*ret = (struct datagram_id){ .kind = (uint8_t)kind, .len = (uint8_t)len };
	memcpy(ret->bytes, bytes, len);
	return true;
}

/* ---- QUIC ---- */

static bool quic_id_set(struct datagram_id *ret, const uint8_t *bytes, size_t len)
{
	return len >= AFFINITY_ID_MIN && len <= AFFINITY_ID_MAX && id_set(ret, AFFINITY_QUIC, bytes, len);
}

/* Behind a length at `*at`, which goes on behind it. NULL: it is not all there. */
static const uint8_t *quic_id_read(const uint8_t *bytes, size_t len, size_t *at, size_t *ret_len)
{
	if (*at >= len || bytes[*at] > len - *at - 1)
		return NULL;
	const uint8_t *id = bytes + *at + 1;
	*ret_len = bytes[*at];
	*at += 1 + *ret_len;
	return id;
}

/* Both ids of the long header; what negotiates a version names only ids of the client. */
static bool quic_long_read(const uint8_t *bytes, size_t len, bool source, struct datagram_id *ret)
{
	static const uint8_t negotiation[4];
	size_t at = QUIC_IDS_AT, id_len;

	if (len <= QUIC_IDS_AT || !(bytes[0] & QUIC_LONG) || memcmp(bytes + 1, negotiation, sizeof(negotiation)) == 0)
		return false;
	const uint8_t *id = quic_id_read(bytes, len, &at, &id_len);
	if (id && source)
		id = quic_id_read(bytes, len, &at, &id_len);
	return id && quic_id_set(ret, id, id_len);
}

static size_t quic_ids(const uint8_t *bytes, size_t len, uint32_t lengths, struct datagram_id *ret)
{
	size_t n = 0;

	if (len == 0)
		return 0;
	if (bytes[0] & QUIC_LONG)
		return quic_long_read(bytes, len, false, ret);
	for (size_t id_len = AFFINITY_ID_MAX; id_len >= AFFINITY_ID_MIN; id_len--)
		if (lengths >> id_len & 1 && len > id_len)
			n += quic_id_set(&ret[n], bytes + 1, id_len);
	return n;
}

/* ---- WireGuard ---- */

/* 0: it is none of its messages. */
static unsigned wireguard_type(const uint8_t *bytes, size_t len)
{
	static const uint8_t reserved[3];

	if (len < WIREGUARD_DATA_MIN || memcmp(bytes + 1, reserved, sizeof(reserved)) != 0)
		return 0;
	switch (bytes[0]) {
	case WIREGUARD_INITIATION:
		return len == WIREGUARD_INITIATION_LEN ? bytes[0] : 0;
	case WIREGUARD_RESPONSE:
		return len == WIREGUARD_RESPONSE_LEN ? bytes[0] : 0;
	case WIREGUARD_COOKIE:
		return len == WIREGUARD_COOKIE_LEN ? bytes[0] : 0;
	case WIREGUARD_DATA:
		return bytes[0];
	default:
		return 0;
	}
}

static bool wireguard_id_of_server(const uint8_t *bytes, size_t len, struct datagram_id *ret)
{
	unsigned type = wireguard_type(bytes, len);

	return (type == WIREGUARD_INITIATION || type == WIREGUARD_RESPONSE) &&
		id_set(ret, AFFINITY_WIREGUARD, bytes + 4, WIREGUARD_INDEX_LEN);
}

static bool wireguard_id_of_client(const uint8_t *bytes, size_t len, struct datagram_id *ret)
{
	unsigned type = wireguard_type(bytes, len);

	if (type == 0 || type == WIREGUARD_INITIATION)
		return false;
	return id_set(ret, AFFINITY_WIREGUARD, bytes + (type == WIREGUARD_RESPONSE ? 8 : 4), WIREGUARD_INDEX_LEN);
}

/* ---- OpenVPN ---- */

static bool openvpn_id(const uint8_t *bytes, size_t len, struct datagram_id *ret)
{
	static const uint8_t none[OPENVPN_PEER_LEN] = { 0xff, 0xff, 0xff };

	return len >= OPENVPN_DATA_MIN && bytes[0] >> OPENVPN_KEY_BITS == OPENVPN_DATA &&
		memcmp(bytes + 1, none, sizeof(none)) != 0 &&
		id_set(ret, AFFINITY_OPENVPN, bytes + 1, OPENVPN_PEER_LEN);
}

/* ---- all of them ---- */

bool datagram_id_of_server(enum affinity_kind kind, const uint8_t *bytes, size_t len, struct datagram_id *ret)
{
	switch (kind) {
	case AFFINITY_QUIC:
		return quic_long_read(bytes, len, true, ret);
	case AFFINITY_WIREGUARD:
		return wireguard_id_of_server(bytes, len, ret);
	case AFFINITY_OPENVPN:
		return openvpn_id(bytes, len, ret);
	default:
		return false;
	}
}

size_t datagram_ids_of_client(
	const uint8_t *bytes, size_t len, uint32_t quic_lengths, struct datagram_id ret[DATAGRAM_IDS_MAX])
{
	size_t n = quic_ids(bytes, len, quic_lengths, ret);

	n += wireguard_id_of_client(bytes, len, &ret[n]);
	n += openvpn_id(bytes, len, &ret[n]);
	return n;
}

bool datagram_id_equal(const struct datagram_id *a, const struct datagram_id *b)
{
	return a->kind == b->kind && a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

bool datagram_id_is_sound(const struct datagram_id *id)
{
	switch (id->kind) {
	case AFFINITY_NONE:
		return id->len == 0;
	case AFFINITY_QUIC:
		return id->len >= AFFINITY_ID_MIN && id->len <= AFFINITY_ID_MAX;
	case AFFINITY_WIREGUARD:
		return id->len == WIREGUARD_INDEX_LEN;
	case AFFINITY_OPENVPN:
		return id->len == OPENVPN_PEER_LEN;
	default:
		return false;
	}
}
