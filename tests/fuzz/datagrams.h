/* Flows of datagrams out of a fuzzer's input. For the targets of probes that span datagrams. */
#pragma once
#include "../unit/cuts.h"
#include "fuzz.h"

struct fuzz_flow {
	uint8_t bytes[EVIDENCE_MAX];
	uint32_t ends[EVIDENCE_DATAGRAMS_MAX];
	size_t n, len;
};

/* One more datagram, as far as there is room. */
static inline void fuzz_flow_add(struct fuzz_flow *flow, const uint8_t *bytes, size_t len)
{
	if (flow->n == EVIDENCE_DATAGRAMS_MAX || len == 0 || len > sizeof(flow->bytes) - flow->len)
		return;
	memcpy(flow->bytes + flow->len, bytes, len);
	flow->len += len;
	flow->ends[flow->n++] = (uint32_t)flow->len;
}

/* The whole input: datagrams, each behind its length. */
static inline void fuzz_flow_read(struct fuzz_flow *ret, const uint8_t *data, size_t size)
{
	ret->n = ret->len = 0;
	while (size >= 2) {
		size_t len = (size_t)data[0] << 8 | data[1];
		if (len > size - 2)
			len = size - 2;
		fuzz_flow_add(ret, data + 2, len);
		data += 2 + len;
		size -= 2 + len;
	}
}

/* No datagram takes anything back, and one that comes twice changes nothing. */
static inline void fuzz_flow_check(const struct probe *probe, const struct fuzz_flow *flow)
{
	static struct fuzz_flow twice;
	static struct answer once, again;

	if (flow->n == 0)
		return;
	require(!flow_check(probe, flow->bytes, flow->ends, flow->n));
	if (flow->n > EVIDENCE_DATAGRAMS_MAX / 2 || flow->len > sizeof(twice.bytes) / 2)
		return;
	twice.n = twice.len = 0;
	for (size_t i = 0, at = 0; i < flow->n; at = flow->ends[i++])
		for (int copies = 0; copies < 2; copies++)
			fuzz_flow_add(&twice, flow->bytes + at, flow->ends[i] - at);
	answer_make(&once, probe, flow->bytes, flow->len, flow->ends, flow->n);
	answer_make(&again, probe, twice.bytes, twice.len, twice.ends, twice.n);
	require(once.verdict == again.verdict);
	for (int i = 0; i < ATTRIBUTE_COUNT; i++)
		require(answer_equal(&once, &again, i));
}
