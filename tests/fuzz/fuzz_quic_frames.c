/* QUIC behind its protection: the payloads of Initial packets, which are protected here as a client does, so that the fuzzer reaches
 * frames and hello. The result is compared with that of the same payloads in version 2.
 *
 * Input: payloads, each behind its length (two bytes, of which the low twelve bits count). The highest bit of a length: the packet
 * goes into the datagram of the one before. Datagrams are filled with zeros. */
#include "../unit/quic_packets.h"
#include "datagrams.h"

#define PAYLOAD_MAX 4096

static void datagram_end(struct fuzz_flow *flow, uint8_t *datagram, size_t *used)
{
	if (*used > 0 && *used < 1200) {
		memset(datagram + *used, 0, 1200 - *used);
		*used = 1200;
	}
	fuzz_flow_add(flow, datagram, *used);
	*used = 0;
}

static void flow_make(struct fuzz_flow *ret, uint32_t version, const uint8_t *data, size_t size)
{
	static uint8_t payload[PAYLOAD_MAX], datagram[EVIDENCE_MAX];
	struct quic_client client;
	const uint8_t *piece;
	size_t len, used = 0;
	uint32_t number = 0;

	quic_client_init(&client, version, NULL, "12345678", 8);
	ret->n = ret->len = 0;
	while (size >= 2) {
		bool joins = data[0] & 0x80 && used < sizeof(datagram) / 2;
		if (!joins)
			datagram_end(ret, datagram, &used);
		uint8_t head[] = { data[0] & PAYLOAD_MAX / 256 - 1, data[1] };
		size_t left = size - 2;
		len = (size_t)head[0] << 8 | head[1];
		if (len > left)
			len = left;
		piece = data + 2;
		data = piece + len;
		size = left - len;
		memset(payload, 0, 4);
		memcpy(payload, piece, len);
		used += quic_packet_write(
			datagram + used, &client, QUIC_INITIAL, number, 1 + number % 4, payload, len < 4 ? 4 : len);
		number++;
	}
	datagram_end(ret, datagram, &used);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_flow flow;
	static struct answer answers[2];
	const struct probe *quic = probe_find("quic");

	flow_make(&flow, QUIC_1, data, size);
	if (flow.n == 0)
		return 0;
	fuzz_flow_check(quic, &flow);
	answer_make(&answers[0], quic, flow.bytes, flow.len, flow.ends, flow.n);
	require(answers[0].verdict == VERDICT_YES);
	flow_make(&flow, QUIC_2, data, size);
	answer_make(&answers[1], quic, flow.bytes, flow.len, flow.ends, flow.n);
	for (int i = 0; i < ATTRIBUTE_COUNT; i++)
		require(i == ATTRIBUTE_VERSION || answer_equal(&answers[0], &answers[1], i));
	return 0;
}
