/* Ids in datagrams: where each protocol has them, and in what no id is. */
#include "datagram_id.h"
#include "hex.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ALL_LENGTHS UINT32_MAX

/* What two hex digits, and blanks between, stand for; zeros behind it. */
static size_t bytes_of(const char *hex, size_t len, uint8_t ret[256])
{
	char digits[512] = "";
	size_t n = 0;

	for (; *hex; hex++)
		if (*hex != ' ')
			digits[n++] = *hex;
	memset(ret, 0, 256);
	assert_int_equal(hex_read(digits, ret, n / 2), 0);
	return len ? len : n / 2;
}

static void assert_id(const struct datagram_id *id, enum affinity_kind kind, const char *hex)
{
	uint8_t bytes[256];
	size_t len = bytes_of(hex, 0, bytes);

	assert_int_equal(id->kind, kind);
	assert_int_equal(id->len, len);
	assert_memory_equal(id->bytes, bytes, len);
	assert_true(datagram_id_is_sound(id));
}

/* `id` NULL: it has none. A `len` of 0 is that of the text. */
static void assert_server_says(enum affinity_kind kind, const char *hex, size_t len, const char *id)
{
	struct datagram_id read = { 0 };
	uint8_t bytes[256];

	len = bytes_of(hex, len, bytes);
	bool says = datagram_id_of_server(kind, bytes, len, &read);
	assert_int_equal(says, id != NULL);
	if (id)
		assert_id(&read, kind, id);
}

static void assert_client_says(const char *hex, size_t len, uint32_t lengths, enum affinity_kind kind, const char *id)
{
	struct datagram_id read[DATAGRAM_IDS_MAX];
	uint8_t bytes[256];

	len = bytes_of(hex, len, bytes);
	size_t n = datagram_ids_of_client(bytes, len, lengths, read);
	assert_int_equal(n, id ? 1 : 0);
	if (id)
		assert_id(&read[0], kind, id);
}

static void a_quic_server_says_its_id_in_the_long_header(void **state)
{
	/*                  first version    destination       source */
	static const char initial[] = "c0 00000001 04 a1a2a3a4 08 0102030405060708 00 0040";

	assert_server_says(AFFINITY_QUIC, initial, 0, "0102030405060708");
	assert_server_says(AFFINITY_QUIC, "80 6b3343cf 00 05 0102030405 00", 0, "0102030405");
	for (size_t cut = 1; cut < 19; cut++)
		assert_server_says(AFFINITY_QUIC, initial, cut, NULL);
	assert_server_says(AFFINITY_QUIC, initial, 19, "0102030405060708");
	assert_server_says(AFFINITY_WIREGUARD, initial, 0, NULL);
	assert_server_says(AFFINITY_NONE, initial, 0, NULL);
	/* one that is too short to be its own, too long for the version, or no id of the server: Version Negotiation */
	assert_server_says(AFFINITY_QUIC, "c0 00000001 04 a1a2a3a4 03 010203 00 0040", 0, NULL);
	assert_server_says(AFFINITY_QUIC, "c0 00000001 00 15 010203040506070809101112131415161718192021", 0, NULL);
	assert_server_says(AFFINITY_QUIC, "c0 00000000 04 a1a2a3a4 08 0102030405060708 00000001", 0, NULL);
	/* the short header, which names the client */
	assert_server_says(AFFINITY_QUIC, "40 00000001 04 a1a2a3a4 08 0102030405060708 00 0040", 0, NULL);
}

static void a_quic_client_says_the_servers_id_in_both_headers(void **state)
{
	struct datagram_id read[DATAGRAM_IDS_MAX];
	uint8_t bytes[256];

	assert_client_says("e0 00000001 08 0102030405060708 00 0040", 0, 0, AFFINITY_QUIC, "0102030405060708");
	assert_client_says("e0 00000001 08 01020304050607", 0, ALL_LENGTHS, AFFINITY_QUIC, NULL);
	assert_client_says("40 0102030405060708 99", 0, 1 << 8, AFFINITY_QUIC, "0102030405060708");
	assert_client_says("00 0102030405060708 99", 0, 1 << 8, AFFINITY_QUIC, "0102030405060708"); /* RFC 9287 */
	assert_client_says("40 01020304050607", 0, 1 << 8, AFFINITY_QUIC, NULL);
	assert_client_says("40 0102030405060708 99", 0, 0, AFFINITY_QUIC, NULL);
	assert_client_says("40 0102030405060708 99", 0, 7, AFFINITY_QUIC, NULL);

	size_t len = bytes_of("40 0102030405060708 0910111213141516171819", 0, bytes);
	assert_int_equal(datagram_ids_of_client(bytes, len, 1 << 4 | 1 << 8 | 1 << 18 | 1 << 20, read), 3);
	assert_id(&read[0], AFFINITY_QUIC, "010203040506070809101112131415161718");
	assert_id(&read[1], AFFINITY_QUIC, "0102030405060708");
	assert_id(&read[2], AFFINITY_QUIC, "01020304");
}

static void wireguards_index_is_the_senders_of_the_server_and_the_receivers_of_the_client(void **state)
{
	assert_server_says(AFFINITY_WIREGUARD, "01000000 11223344 55667788", 148, "11223344");
	assert_server_says(AFFINITY_WIREGUARD, "02000000 11223344 55667788", 92, "11223344");
	assert_server_says(AFFINITY_WIREGUARD, "03000000 11223344 55667788", 64, NULL);
	assert_server_says(AFFINITY_WIREGUARD, "04000000 11223344 55667788", 96, NULL);
	assert_server_says(AFFINITY_WIREGUARD, "01000000 11223344 55667788", 147, NULL);
	assert_server_says(AFFINITY_WIREGUARD, "02000000 11223344 55667788", 93, NULL);
	assert_server_says(AFFINITY_WIREGUARD, "01000001 11223344 55667788", 148, NULL);

	assert_client_says("01000000 11223344 55667788", 148, 0, AFFINITY_NONE, NULL);
	assert_client_says("02000000 11223344 55667788", 92, 0, AFFINITY_WIREGUARD, "55667788");
	assert_client_says("03000000 11223344 55667788", 64, 0, AFFINITY_WIREGUARD, "11223344");
	assert_client_says("04000000 11223344 55667788", 32, 0, AFFINITY_WIREGUARD, "11223344");
	assert_client_says("04000000 11223344 55667788", 31, 0, AFFINITY_WIREGUARD, NULL);
}

static void openvpns_peer_id_is_in_data_of_both(void **state)
{
	assert_server_says(AFFINITY_OPENVPN, "48 000007 00000001", 60, "000007");
	assert_server_says(AFFINITY_OPENVPN, "4a 000007 00000001", 60, "000007");
	assert_server_says(AFFINITY_OPENVPN, "48 ffffff 00000001", 60, NULL);
	assert_server_says(AFFINITY_OPENVPN, "30 000007 00000001", 60, NULL); /* version 1 has none */
	assert_server_says(AFFINITY_OPENVPN, "48 000007 00000001", 23, NULL);
	assert_client_says("48 000007 00000001", 60, 0, AFFINITY_OPENVPN, "000007");
	assert_client_says("38 000007 00000001", 60, 0, AFFINITY_OPENVPN, NULL);
}

static void no_bytes_have_no_id(void **state)
{
	struct datagram_id read[DATAGRAM_IDS_MAX];

	assert_int_equal(datagram_ids_of_client(NULL, 0, ALL_LENGTHS, read), 0);
	for (int kind = 0; kind < AFFINITY_KINDS; kind++)
		assert_false(datagram_id_of_server((enum affinity_kind)kind, NULL, 0, read));
}

static void what_no_id_is_is_not_sound(void **state)
{
	static const struct datagram_id unsound[] = {
		{ .kind = AFFINITY_NONE, .len = 1 },
		{ .kind = AFFINITY_QUIC, .len = AFFINITY_ID_MIN - 1 },
		{ .kind = AFFINITY_QUIC, .len = AFFINITY_ID_MAX + 1 },
		{ .kind = AFFINITY_WIREGUARD, .len = 5 },
		{ .kind = AFFINITY_OPENVPN, .len = 4 },
		{ .kind = AFFINITY_OPENVPN_CLIENT, .len = 3 },
		{ .kind = AFFINITY_HOST, .len = 0 },
		{ .kind = 255, .len = 4 },
	};
	const struct datagram_id none = { 0 };

	assert_true(datagram_id_is_sound(&none));
	for (size_t i = 0; i < sizeof(unsound) / sizeof(unsound[0]); i++)
		assert_false(datagram_id_is_sound(&unsound[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_quic_server_says_its_id_in_the_long_header),
		cmocka_unit_test(a_quic_client_says_the_servers_id_in_both_headers),
		cmocka_unit_test(wireguards_index_is_the_senders_of_the_server_and_the_receivers_of_the_client),
		cmocka_unit_test(openvpns_peer_id_is_in_data_of_both),
		cmocka_unit_test(no_bytes_have_no_id),
		cmocka_unit_test(what_no_id_is_is_not_sound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
