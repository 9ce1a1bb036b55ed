/* Packets of a capture, of any kind, put together to flows; and, to get deep into that, pieces of one client's bytes in any order,
 * against a simple model of what must come out.
 *
 *     byte 0      below 8: the link; then packets, each behind its length (2 bytes) and how many bytes of it were cut off (1)
 *                 else pieces: place (2 bytes), length (1), flags (1), each filled with its number */
#include "evidence.h"
#include "flows.h"
#include "fragments.h"
#include "fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* In a copy of its own, so that a sanitizer sees what is read behind it. */
static enum packet_kind parse(
	struct packet *ret, enum packet_link link, const uint8_t *bytes, size_t len, size_t cut, uint8_t **ret_copy)
{
	size_t captured = len - (cut < len ? cut : len);

	*ret_copy = malloc(captured ? captured : 1);
	require(*ret_copy);
	memcpy(*ret_copy, bytes, captured);
	return packet_parse(ret, link, *ret_copy, captured, len);
}

static void packets_take(struct flows *flows, enum packet_link link, const uint8_t *data, size_t size)
{
	struct fragments *fragments = fragments_new();

	require(fragments);
	for (size_t at = 0; size - at > 3;) {
		size_t len = (size_t)data[at] << 8 | data[at + 1], cut = data[at + 2];
		struct packet packet;
		uint8_t *copy;
		at += 3;
		if (len > size - at)
			len = size - at;
		enum packet_kind kind = parse(&packet, link, data + at, len, cut, &copy);
		at += len;
		if (kind == PACKET_FRAGMENT)
			kind = fragments_take(fragments, &packet, at);
		if (kind == PACKET_TCP || kind == PACKET_UDP) {
			int r = flows_take(flows, &packet, at * 1000000);
			require(r == 0 || r == -E2BIG);
		}
		free(copy);
	}
	fragments_free(fragments);
}

static void flows_check(const struct flows *flows)
{
	for (size_t i = 0; i < flows_count(flows); i++) {
		struct flow flow;
		unsigned sum = 0;
		flows_get(flows, i, &flow);
		require(flow.len <= EVIDENCE_MAX);
		require(flow.is_udp ? flow.n_datagrams <= EVIDENCE_DATAGRAMS_MAX : flow.n_datagrams == 0);
		for (size_t k = 0; k < flow.n_datagrams; k++)
			require(flow.ends[k] > (k > 0 ? flow.ends[k - 1] : 0));
		require(!flow.is_udp || flow.len == (flow.n_datagrams > 0 ? flow.ends[flow.n_datagrams - 1] : 0));
		require(!(flow.is_udp && (flow.was_answered || flow.was_closed || flow.was_reset)));
		for (size_t k = 0; k < flow.len; k++)
			sum += flow.bytes[k];
		require(sum <= 255 * EVIDENCE_MAX);
	}
}

static void pieces_take(struct flows *flows, const uint8_t *data, size_t size)
{
	static uint8_t model[EVIDENCE_MAX + 1], known[EVIDENCE_MAX + 1];
	struct packet packet = { .to.port = { 1 }, .flags = TCP_SYN, .sequence = 0xffffff00 };
	size_t model_len = 0;
	struct flow flow;

	memset(known, 0, sizeof(known));
	require(flows_take(flows, &packet, 0) == 0);
	for (uint8_t number = 1; size >= 4 && number < FLOW_RANGES; data += 4, size -= 4, number++) {
		uint8_t bytes[256];
		size_t place = (size_t)data[0] << 8 | data[1], len = data[2];
		memset(bytes, number, sizeof(bytes));
		packet.sequence = 0xffffff01 + (uint32_t)place;
		packet.flags = data[3] & ~(TCP_SYN | TCP_RST);
		packet.payload = bytes;
		packet.len = packet.captured = len;
		require(flows_take(flows, &packet, 0) == 0);
		for (size_t k = place; k < place + len && k < EVIDENCE_MAX; k++)
			if (!known[k])
				known[k] = 1, model[k] = number;
	}
	while (known[model_len])
		model_len++;
	flows_get(flows, 0, &flow);
	require(flow.len == model_len && (model_len == 0 || memcmp(flow.bytes, model, model_len) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	struct flows *flows = flows_new(8, 1 << 18);
	require(flows);
	if (data[0] <= LINK_HDLC)
		packets_take(flows, (enum packet_link)data[0], data + 1, size - 1);
	else
		pieces_take(flows, data + 1, size - 1);
	flows_check(flows);
	flows_free(flows);
	return 0;
}
