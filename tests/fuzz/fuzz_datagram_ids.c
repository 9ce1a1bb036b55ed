/* Ids in datagrams of clients and of backends: what is read lies within the datagram and is sound, and what a server says is what its client
 * says back.
 *
 *     bytes 0 to 3   the lengths that ids of QUIC servers have
 *     byte 4         the protocol of the server's datagram
 *     the rest       the datagram */
#include "datagram_id.h"
#include "fuzz.h"
#include <stdlib.h>
#include <string.h>

static bool lies_within(const struct datagram_id *id, const uint8_t *bytes, size_t len)
{
	for (size_t at = 0; at + id->len <= len; at++)
		if (memcmp(bytes + at, id->bytes, id->len) == 0)
			return true;
	return false;
}

static void id_check(const struct datagram_id *id, const uint8_t *bytes, size_t len)
{
	require(id->kind != AFFINITY_NONE && datagram_id_is_sound(id));
	require(lies_within(id, bytes, len) && datagram_id_equal(id, id));
}

/* The short header of a client of that server. */
static void said_back(const struct datagram_id *id)
{
	struct datagram_id ids[DATAGRAM_IDS_MAX];
	uint8_t bytes[1 + AFFINITY_ID_MAX] = { 0x40 };

	memcpy(bytes + 1, id->bytes, id->len);
	size_t n = datagram_ids_of_client(bytes, 1 + (size_t)id->len, UINT32_C(1) << id->len, ids);
	require(n >= 1 && datagram_id_equal(&ids[0], id));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct datagram_id ids[DATAGRAM_IDS_MAX], id;
	uint32_t lengths;

	if (size < 5)
		return 0;
	memcpy(&lengths, data, sizeof(lengths));
	size_t len = size - 5;
	uint8_t *bytes = malloc(len ? len : 1); /* its end is seen by the sanitizer */
	require(bytes != NULL);
	memcpy(bytes, data + 5, len);
	size_t n = datagram_ids_of_client(bytes, len, lengths, ids);
	require(n <= DATAGRAM_IDS_MAX);
	for (size_t i = 0; i < n; i++)
		id_check(&ids[i], bytes, len);
	if (datagram_id_of_server((enum affinity_kind)(data[4] % AFFINITY_KINDS), bytes, len, &id)) {
		id_check(&id, bytes, len);
		if (id.kind == AFFINITY_QUIC)
			said_back(&id);
	}
	free(bytes);
	return 0;
}
