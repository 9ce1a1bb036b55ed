/* Flows out of packets: in any order, twice, overlapping, around the end of the sequence numbers, and between the same ends again. */
#include "evidence.h"
#include "flows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

static const struct packet_end client = { .address = { 1 }, .port = { 4, 0 } };
static const struct packet_end server = { .address = { 2 }, .port = { 1, 187 } };

struct flows_test {
	struct flows *flows;
	uint64_t now_us;
};

static int setup(void **state)
{
	struct flows_test *test = calloc(1, sizeof(*test));

	test->flows = flows_new(100, 1 << 20);
	*state = test;
	return test->flows ? 0 : -1;
}

static int teardown(void **state)
{
	struct flows_test *test = *state;

	flows_free(test->flows);
	free(test);
	return 0;
}

static int send_part(struct flows_test *test, bool from_client, uint8_t flags, uint32_t sequence,
	uint32_t acknowledged, const void *payload, size_t len, size_t captured)
{
	struct packet packet = {
		.from = from_client ? client : server,
		.to = from_client ? server : client,
		.flags = flags,
		.sequence = sequence,
		.acknowledged = acknowledged,
		.payload = payload,
		.len = len,
		.captured = captured,
	};
	return flows_take(test->flows, &packet, test->now_us);
}

static void say(struct flows_test *test, uint8_t flags, uint32_t sequence, const char *text)
{
	assert_int_equal(send_part(test, true, flags, sequence, 0, text, strlen(text), strlen(text)), 0);
}

static void answer(struct flows_test *test, uint8_t flags, uint32_t acknowledged, const char *text)
{
	assert_int_equal(send_part(test, false, flags, 7000, acknowledged, text, strlen(text), strlen(text)), 0);
}

static struct flow get(struct flows_test *test, size_t number)
{
	struct flow flow;

	assert_true(number < flows_count(test->flows));
	flows_get(test->flows, number, &flow);
	return flow;
}

static void expect(struct flows_test *test, size_t number, const char *text)
{
	struct flow flow = get(test, number);

	assert_int_equal(flow.len, strlen(text));
	assert_memory_equal(flow.bytes, text, strlen(text));
}

static void test_bytes_in_order(void **state)
{
	say(*state, TCP_SYN, 999, "");
	answer(*state, TCP_SYN | TCP_ACK, 1000, "");
	say(*state, TCP_ACK, 1000, "");
	say(*state, TCP_ACK, 1000, "GET ");
	say(*state, TCP_ACK, 1004, "/");
	answer(*state, TCP_ACK, 1005, "what?");
	say(*state, TCP_ACK | TCP_FIN, 1005, "");
	assert_int_equal(flows_count(((struct flows_test *)*state)->flows), 1);
	expect(*state, 0, "GET /");
	struct flow flow = get(*state, 0);
	assert_false(flow.is_midstream || flow.is_cut || flow.was_closed || flow.was_reset || flow.is_udp);
	assert_true(flow.was_answered);
	assert_int_equal(flow.answered, 5);
	assert_memory_equal(&flow.client, &client, sizeof(client));
}

static void test_out_of_order_twice_and_overlapping(void **state)
{
	say(*state, TCP_SYN, 0xfffffffe, "");
	say(*state, TCP_ACK, 5, "GHIJ"); /* behind the wrap; base is 0xffffffff */
	expect(*state, 0, "");
	assert_true(get(*state, 0).is_cut);
	say(*state, TCP_ACK, 2, "defg"); /* overlaps: G was first */
	say(*state, TCP_ACK, 0xffffffff, "abc");
	say(*state, TCP_ACK, 0xffffffff, "XYZ");
	expect(*state, 0, "abcdefGHIJ");
	assert_false(get(*state, 0).is_cut);
}

static void test_a_gap_ends_the_evidence(void **state)
{
	say(*state, TCP_SYN, 0, "");
	say(*state, TCP_ACK, 1, "ab");
	say(*state, TCP_ACK, 4, "d");
	expect(*state, 0, "ab");
	assert_true(get(*state, 0).is_cut);
	assert_int_equal(send_part(*state, true, TCP_ACK, 3, 0, "cde", 3, 1), 0); /* the capture has one byte of it */
	expect(*state, 0, "abcd");
	assert_true(get(*state, 0).is_cut);
}

/* The end takes a sequence number itself, which the acknowledgements behind it count. */
static void test_what_is_acknowledged_after_the_end_is_no_byte(void **state)
{
	say(*state, TCP_SYN, 999, "");
	say(*state, TCP_ACK, 1000, "GET /");
	answer(*state, TCP_ACK, 1005, "what?");
	say(*state, TCP_ACK | TCP_FIN, 1005, "");
	say(*state, TCP_ACK, 1006, "");
	expect(*state, 0, "GET /");
	assert_false(get(*state, 0).is_cut);
}

static void test_an_end_behind_a_gap_is_a_gap_all_the_same(void **state)
{
	say(*state, TCP_SYN, 999, "");
	say(*state, TCP_ACK, 1000, "GET /");
	say(*state, TCP_ACK | TCP_FIN, 1010, "");
	say(*state, TCP_ACK, 1011, "");
	assert_true(get(*state, 0).is_cut);
	assert_false(get(*state, 0).was_closed);
}

static void test_bytes_with_the_first_packet(void **state)
{
	say(*state, TCP_SYN, 10, "early");
	answer(*state, TCP_SYN | TCP_ACK, 16, "");
	say(*state, TCP_ACK, 16, " bird");
	assert_int_equal(flows_count(((struct flows_test *)*state)->flows), 1);
	expect(*state, 0, "early bird");
}

static void test_the_server_speaks_first(void **state)
{
	say(*state, TCP_SYN, 10, "");
	answer(*state, TCP_ACK, 11, "220 ready");
	say(*state, TCP_ACK, 11, "EHLO");
	assert_true(get(*state, 0).was_answered);
	assert_int_equal(get(*state, 0).answered, 0);
	expect(*state, 0, "EHLO");
}

static void test_closing_before_an_answer(void **state)
{
	say(*state, TCP_SYN, 10, "");
	say(*state, TCP_ACK | TCP_FIN, 13, "c");
	assert_false(get(*state, 0).was_closed); /* what it said before is not there yet */
	say(*state, TCP_ACK, 11, "ab");
	assert_true(get(*state, 0).was_closed);
	expect(*state, 0, "abc");
	say(*state, TCP_SYN, 5010, "");
	say(*state, TCP_RST | TCP_ACK, 5011, "a reason");
	assert_true(get(*state, 1).was_reset);
	expect(*state, 1, "");
}

static void test_the_same_ends_again(void **state)
{
	say(*state, TCP_SYN, 10, "");
	say(*state, TCP_SYN, 10, ""); /* once more the same */
	say(*state, TCP_ACK, 11, "one");
	say(*state, TCP_SYN, 100000, "");
	say(*state, TCP_ACK, 100001, "two");
	answer(*state, TCP_SYN | TCP_ACK, 500001, ""); /* its question was not captured */
	say(*state, TCP_ACK, 500001, "three");
	answer(*state, TCP_SYN, 1, ""); /* and now the other way */
	assert_int_equal(flows_count(((struct flows_test *)*state)->flows), 4);
	expect(*state, 0, "one");
	expect(*state, 1, "two");
	expect(*state, 2, "three");
	struct flow last = get(*state, 3);
	assert_memory_equal(&last.client, &server, sizeof(server));
}

static void test_a_flow_without_its_beginning(void **state)
{
	say(*state, TCP_ACK, 10, "");
	say(*state, TCP_RST, 10, "");
	say(*state, TCP_FIN, 10, "");
	assert_int_equal(flows_count(((struct flows_test *)*state)->flows), 0);
	say(*state, TCP_ACK, 10, "amid");
	say(*state, TCP_ACK, 5, "before"); /* reaches one byte into it */
	say(*state, TCP_ACK, 14, "st");
	assert_true(get(*state, 0).is_midstream);
	expect(*state, 0, "amidst");
}

static void test_datagrams(void **state)
{
	struct flows_test *test = *state;
	struct packet packet = { .from = client, .to = server, .is_udp = true, .payload = (const uint8_t *)"first" };
	struct packet back = { .from = server, .to = client, .is_udp = true, .payload = (const uint8_t *)"back" };

	assert_int_equal(flows_take(test->flows, &packet, 0), 0); /* empty */
	back.len = back.captured = 4;
	assert_int_equal(flows_take(test->flows, &back, 1), 0);
	packet.len = packet.captured = 5;
	assert_int_equal(flows_take(test->flows, &packet, 2), 0);
	packet.payload = (const uint8_t *)"third";
	assert_int_equal(flows_take(test->flows, &packet, FLOWS_UDP_IDLE_US), 0);
	assert_int_equal(flows_count(test->flows), 1);
	expect(test, 0, "firstthird");
	assert_int_equal(get(test, 0).n_datagrams, 2);
	assert_int_equal(get(test, 0).ends[0], 5);
	assert_int_equal(get(test, 0).ends[1], 10);
	assert_int_equal(flows_take(test->flows, &back, 2 * FLOWS_UDP_IDLE_US + 1), 0);
	assert_int_equal(flows_count(test->flows), 2);
	expect(test, 1, "back");
	packet.captured = 3;
	say(test, TCP_SYN, 1, ""); /* TCP between the same ends is another flow */
	assert_int_equal(flows_count(test->flows), 3);
	assert_int_equal(flows_take(test->flows, &packet, 9 * FLOWS_UDP_IDLE_US), 0);
	packet.captured = 5;
	assert_int_equal(flows_take(test->flows, &packet, 9 * FLOWS_UDP_IDLE_US), 0); /* behind one that was cut */
	expect(test, 3, "thi");
	assert_true(get(test, 3).is_cut);
}

static void test_as_many_datagrams_as_decide(void **state)
{
	static const uint8_t bytes[EVIDENCE_MAX + 1];
	struct flows_test *test = *state;
	struct packet packet = { .from = client, .to = server, .is_udp = true, .payload = bytes };
	const size_t lens[][3] = { { 10, EVIDENCE_MAX - 10, 1 }, { 10, EVIDENCE_MAX - 9, 1 },
		{ EVIDENCE_MAX + 1, 1, 1 } };
	const size_t kept[] = { EVIDENCE_MAX, 10, EVIDENCE_MAX };

	for (size_t i = 0; i < 3; i++) {
		for (size_t k = 0; k < 3; k++) {
			packet.len = packet.captured = lens[i][k];
			assert_int_equal(flows_take(test->flows, &packet, (i + 1) * 2 * FLOWS_UDP_IDLE_US), 0);
		}
		assert_int_equal(get(test, i).len, kept[i]);
	}
	packet.len = packet.captured = 1;
	for (size_t i = 0; i < EVIDENCE_DATAGRAMS_MAX + 1; i++)
		assert_int_equal(flows_take(test->flows, &packet, 9 * FLOWS_UDP_IDLE_US), 0);
	assert_int_equal(get(test, 3).n_datagrams, EVIDENCE_DATAGRAMS_MAX);
	assert_int_equal(get(test, 3).len, EVIDENCE_DATAGRAMS_MAX);
	assert_false(get(test, 3).is_cut);
}

static void test_no_more_than_the_evidence(void **state)
{
	static char bytes[EVIDENCE_MAX + 100];

	memset(bytes, 'x', sizeof(bytes));
	say(*state, TCP_SYN, 0, "");
	assert_int_equal(send_part(*state, true, TCP_ACK, 11, 0, bytes, sizeof(bytes), sizeof(bytes)), 0);
	assert_int_equal(send_part(*state, true, TCP_ACK, 1 + EVIDENCE_MAX, 0, bytes, 10, 10), 0);
	say(*state, TCP_ACK, 1, "0123456789");
	assert_int_equal(get(*state, 0).len, EVIDENCE_MAX);
	assert_false(get(*state, 0).is_cut);
}

static void test_many_pieces(void **state)
{
	struct flows_test *test = *state;

	say(test, TCP_SYN, 0, "");
	for (uint32_t i = 1; i < 2 * FLOW_RANGES; i++) /* the last ones find no place */
		say(test, TCP_ACK, 1 + 2 * i, "x");
	for (uint32_t i = 0; i < 2 * FLOW_RANGES; i++)
		say(test, TCP_ACK, 2 + 2 * i, "y");
	say(test, TCP_ACK, 1, "z");
	struct flow flow = get(test, 0);
	assert_true(flow.len >= FLOW_RANGES && flow.len <= 4 * FLOW_RANGES);
	assert_memory_equal(flow.bytes, "zyxyxyxyxy", 10);
}

static void test_limits(void **state)
{
	struct flows *flows = flows_new(3, 1500);
	struct packet packet = {
		.from = client, .to = server, .flags = TCP_SYN, .payload = (const uint8_t *)"abcdef"
	};

	for (uint8_t i = 0; i < 3; i++) {
		packet.from.port[0] = i;
		assert_int_equal(flows_take(flows, &packet, 0), 0);
	}
	packet.from.port[0] = 3;
	assert_int_equal(flows_take(flows, &packet, 0), -E2BIG);
	packet.from.port[0] = 0;
	packet.sequence = 900;
	packet.flags = TCP_ACK;
	packet.len = packet.captured = 6;
	assert_int_equal(flows_take(flows, &packet, 0), 0);
	packet.from.port[0] = 1; /* needs 1024 bytes as well, of which there are none any more */
	assert_int_equal(flows_take(flows, &packet, 0), -E2BIG);
	assert_int_equal(flows_count(flows), 3);
	flows_free(flows);
}

static void test_many_flows_are_found_again(void **state)
{
	struct flows *flows = flows_new(10000, 1 << 24);
	struct packet packet = { .from = client, .to = server };

	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < 10000; i++) {
			char text[16];
			packet.from.address[4] = (uint8_t)(i >> 8);
			packet.from.port[1] = (uint8_t)i;
			packet.flags = round ? TCP_ACK : TCP_SYN;
			packet.sequence = i + (uint32_t)round;
			packet.payload = (const uint8_t *)text;
			packet.len = packet.captured = round ? (size_t)snprintf(text, sizeof(text), "flow %u", i) : 0;
			assert_int_equal(flows_take(flows, &packet, 0), 0);
		}
	}
	assert_int_equal(flows_count(flows), 10000);
	for (uint32_t i = 0; i < 10000; i++) {
		char text[16];
		struct flow flow;
		int len = snprintf(text, sizeof(text), "flow %u", i);
		flows_get(flows, i, &flow);
		assert_int_equal(flow.len, len);
		assert_memory_equal(flow.bytes, text, (size_t)len);
	}
	flows_free(flows);
}

/* Whatever comes in whatever order: each byte is the first one that came for its place. */
static void test_random_pieces_against_a_simple_model(void **state)
{
	static uint8_t model[EVIDENCE_MAX + 1], known[EVIDENCE_MAX + 1];

	srandom(1);
	for (int run = 0; run < 300; run++) {
		struct flows *flows = flows_new(1, 1 << 20);
		struct packet packet = { .from = client, .to = server, .flags = TCP_SYN };
		uint32_t base = (uint32_t)random() * 2 + (uint32_t)random();
		size_t span = run % 2 ? 60 : EVIDENCE_MAX, model_len = 0;
		memset(known, 0, sizeof(known));
		packet.sequence = base - 1;
		assert_int_equal(flows_take(flows, &packet, 0), 0);
		packet.flags = TCP_ACK;
		for (int i = 0; i < 40; i++) {
			uint8_t bytes[4100];
			size_t len = 1 + (size_t)random() % (span / 8), at = (size_t)random() % span;
			if (i % 4 == 0)
				at = model_len;
			memset(bytes, (int)random(), len);
			packet.sequence = base + (uint32_t)at;
			packet.payload = bytes;
			packet.len = packet.captured = len;
			assert_int_equal(flows_take(flows, &packet, 0), 0);
			for (size_t k = 0; k < len && at + k < EVIDENCE_MAX; k++)
				if (!known[at + k])
					known[at + k] = 1, model[at + k] = bytes[k];
			while (known[model_len])
				model_len++;
		}
		struct flow flow;
		flows_get(flows, 0, &flow);
		/* It may have let go of pieces when they were too many; the small span never has so many. */
		assert_true(span == 60 ? flow.len == model_len : flow.len <= model_len);
		assert_memory_equal(flow.bytes, model, flow.len);
		flows_free(flows);
	}
}

int main(void)
{
#define flows_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		flows_test(test_bytes_in_order),
		flows_test(test_out_of_order_twice_and_overlapping),
		flows_test(test_a_gap_ends_the_evidence),
		flows_test(test_what_is_acknowledged_after_the_end_is_no_byte),
		flows_test(test_an_end_behind_a_gap_is_a_gap_all_the_same),
		flows_test(test_bytes_with_the_first_packet),
		flows_test(test_the_server_speaks_first),
		flows_test(test_closing_before_an_answer),
		flows_test(test_the_same_ends_again),
		flows_test(test_a_flow_without_its_beginning),
		flows_test(test_datagrams),
		flows_test(test_as_many_datagrams_as_decide),
		flows_test(test_no_more_than_the_evidence),
		flows_test(test_many_pieces),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_many_flows_are_found_again),
		cmocka_unit_test(test_random_pieces_against_a_simple_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
