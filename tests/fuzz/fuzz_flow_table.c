/* Flows that come, are looked for and go, by keys that a stranger chooses: the table has what a list has. And datagrams of any sizes that follow
 * each other: what is joined is what the kernel cuts again, within its bounds.
 *
 *     byte 0      what is done: a flow comes or goes; datagrams are joined
 *     byte 1, 2   which flow; the size of a datagram
 *     ... */
#include "datagram.h"
#include "flow_table.h"
#include "fuzz.h"
#include <string.h>

#define FLOWS    64
#define LIST_MAX 256

static void key_of(struct flow_key *ret, uint8_t number)
{
	*ret = (struct flow_key){ .client = { number & 3 },
		.local = { number >> 2 & 3 },
		.client_port = number >> 4 & 1,
		.local_port = number >> 5 & 1 };
}

static void flows_check(const uint8_t *data, size_t size)
{
	struct flow_table *table = flow_table_new(8);
	struct flow_place places[FLOWS] = { 0 };
	bool is_there[FLOWS] = { 0 };

	require(table != NULL);
	for (size_t i = 0; i < size; i++) {
		uint8_t number = data[i] % FLOWS;
		struct flow_key key;
		key_of(&key, number);
		require(flow_table_find(table, &key) == (is_there[number] ? &places[number] : NULL));
		places[number].key = key;
		if (is_there[number])
			flow_table_remove(table, &places[number]);
		else
			flow_table_insert(table, &places[number]);
		is_there[number] = !is_there[number];
	}
	flow_table_free(table);
}

static void join_check(const uint8_t *data, size_t size)
{
	static const struct flow_key keys[2];
	struct datagram datagrams[LIST_MAX] = { 0 };
	struct datagram_out list[LIST_MAX] = { 0 };
	size_t n = 0;

	for (; n < LIST_MAX && size >= 4; n++, data += 4, size -= 4) {
		datagrams[n].len = data[0] | (uint32_t)(data[1] << 8);
		datagrams[n].segment = data[2] * 8u < datagrams[n].len ? data[2] * 8u : 0;
		datagrams[n].tos = data[3] & 1;
		list[n] = (struct datagram_out){ .datagram = &datagrams[n], .to = &keys[data[3] >> 1 & 1] };
	}
	for (size_t at = 0, taken; at < n; at += taken) {
		uint32_t segment, len = 0, parts = 0;
		taken = datagram_join(list + at, n - at, &segment);
		require(taken >= 1 && taken <= n - at);
		for (size_t i = at; i < at + taken; i++) {
			const struct datagram *one = list[i].datagram;
			require(i == at || (len % segment == 0 && one->len > 0)); /* the kernel cuts where they met */
			require(taken == 1 || (one->segment ? one->segment == segment : one->len <= segment));
			require(list[i].to == list[at].to && one->tos == list[at].datagram->tos);
			len += one->len;
			parts += datagram_count(one);
		}
		require(taken == 1 || (parts <= DATAGRAM_PARTS_MAX && len <= DATAGRAM_SEND_MAX));
		require((parts > 1) == (segment > 0));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] & 1)
		flows_check(data + 1, size - 1);
	else
		join_check(data + 1, size - 1);
	return 0;
}
