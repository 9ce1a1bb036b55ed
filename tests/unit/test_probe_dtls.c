/* DTLS: hellos in fragments over records and datagrams, in every order; records with connection ids; near misses. */
#include "probe_cases.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define RANDOM "0123456789abcdef0123456789abcdef"
#define HELLO                                                                                                        \
	"\xfe\xfd" RANDOM "\0\0\0\2\x13\1\1\0\0\x25"                                                                 \
	"\0\0\0\x0e\0\x0c\0\0\x09"                                                                                   \
	"a.example"                                                                                                  \
	"\0\x10\0\4\0\2\1h"                                                                                          \
	"\0\x2b\0\7\6\xfe\xfc\xfe\xfd\xfe\xff"
#define HELLO_LEN (sizeof(HELLO) - 1)
#define LEARNED   "sni=a.example alpn=h version=1.3"

/* A flow under construction. */
static struct {
	uint8_t bytes[EVIDENCE_MAX];
	uint32_t ends[EVIDENCE_DATAGRAMS_MAX];
	size_t n, len, record_at;
} flow;

static void flow_begin(void)
{
	flow.n = flow.len = 0;
}

static void datagram_end(void)
{
	flow.ends[flow.n++] = (uint32_t)flow.len;
}

static void record_begin(uint8_t number)
{
	const uint8_t head[13] = { 22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, number };

	flow.record_at = flow.len;
	memcpy(flow.bytes + flow.len, head, sizeof(head));
	flow.len += sizeof(head);
}

static void fragment_add(const char *hello, size_t total, uint8_t message, size_t at, size_t len)
{
	const uint8_t head[12] = { 1, 0, (uint8_t)(total >> 8), (uint8_t)total, 0, message, 0, (uint8_t)(at >> 8),
		(uint8_t)at, 0, (uint8_t)(len >> 8), (uint8_t)len };

	memcpy(flow.bytes + flow.len, head, sizeof(head));
	memcpy(flow.bytes + flow.len + sizeof(head), hello + at, len);
	flow.len += sizeof(head) + len;
	size_t record = flow.len - flow.record_at - 13;
	flow.bytes[flow.record_at + 11] = (uint8_t)(record >> 8);
	flow.bytes[flow.record_at + 12] = (uint8_t)record;
}

/* A fragment in a record in a datagram. */
static void datagram_add(const char *hello, size_t total, uint8_t message, size_t at, size_t len)
{
	record_begin((uint8_t)flow.n);
	fragment_add(hello, total, message, at, len);
	datagram_end();
}

/* Compares the verdict, and for a YES the values, of the flow's first datagrams. It also checks that none takes anything back. */
static void expect(size_t n, enum verdict verdict, const char *values)
{
	const struct probe *dtls = probe_find("dtls");
	static struct answer answer;
	char text[1024];

	assert_null(flow_check(dtls, flow.bytes, flow.ends, n));
	answer_make(&answer, dtls, flow.bytes, flow.ends[n - 1], flow.ends, n);
	assert_int_equal(answer.verdict, verdict);
	if (verdict != VERDICT_YES)
		return;
	answer.attribute[ATTRIBUTE_JA4].len = 0;
	values_write(text, sizeof(text), dtls, &answer);
	assert_string_equal(text, values);
}

static void one_datagram(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x36\1\0\0\x2a\0\0\0\0\0\0\0\x2a\xfe\xfd" RANDOM
			 "\0\0\0\2\xc0\x2b\1\0",
			0, "version=1.2 ja4=dd2i010000_648b5c445417_000000000000"),
		CASE_YES("\x16\1\0\0\0\0\0\0\0\0\0\0\x36\1\0\0\x2a\0\0\0\0\0\0\0\x2a\1\0" RANDOM "\0\0\0\2\0\x2f\1\0",
			0, "version=1.0 ja4=d00i010000_ba72b8082249_000000000000"),
		/* a second one with a cookie */
		CASE_YES("\x16\xfe\xff\0\0\0\0\0\0\0\1\0\x3a\1\0\0\x2e\0\1\0\0\0\0\0\x2e\xfe\xff" RANDOM
			 "\0\4abcd\0\2\xc0\x2b\1\0",
			0, "version=1.0 ja4=dd1i010000_648b5c445417_000000000000"),
		/* the first fragment */
		CASE_YES("\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x3f\1\0\1\0\0\0\0\0\0\0\0\x33\xfe\xfd" RANDOM
			 "\0\0\0\2\x13\1\1\0\0\xd4\0\0\0\x40\0\x3e\0",
			0, "sni? alpn? version? ja4?"),
		/* another fragment, and the first with a single byte */
		CASE_MORE("\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x36\1\0\0\x6a\0\0\0\0\x2a\0\0\x2a\xfe\xfd" RANDOM
			  "\0\0\0\2\xc0\x2b\1\0"),
		CASE_MORE("\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x0d\1\0\0\x6a\0\0\0\0\0\0\0\1\xfe"),
		/* an epoch; a number; a record, a fragment that runs past the end; an empty one; other messages */
		CASE_NO("\x16\xfe\xff\0\1\0\0\0\0\0\0\0\x36\1\0\0\x2a\0\0\0\0\0\0\0\x2a\xfe\xfd" RANDOM
			"\0\0\0\2\xc0\x2b\1\0",
			0),
		CASE_NO("\x16\xfe\xff\0\0\1\0\0\0\0\0\0\x36\1\0\0\x2a\0\0\0\0\0\0\0\x2a\xfe\xfd" RANDOM
			"\0\0\0\2\xc0\x2b\1\0",
			0),
		CASE_NO("\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x37\1\0\0\x2a\0\0\0\0\0\0\0\x2a\xfe\xfd" RANDOM
			"\0\0\0\2\xc0\x2b\1\0",
			0),
		CASE_NO("\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x36\1\0\0\x2b\0\0\0\0\0\0\0\x2b\xfe\xfd" RANDOM
			"\0\0\0\2\xc0\x2b\1\0",
			0),
		CASE_NO("\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x36\1\0\0\x6a\0\0\0\0\x41\0\0\x2a\xfe\xfd" RANDOM
			"\0\0\0\2\xc0\x2b\1\0",
			0),
		CASE_NO("\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x0c\1\0\0\x6a\0\0\0\0\0\0\0\0", 0),
		CASE_NO("\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x36\2\0\0\x2a\0\0\0\0\0\0\0\x2a\xfe\xfd" RANDOM
			"\0\0\0\2\xc0\x2b\1\0",
			0),
		CASE_NO("\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x36\1\0\0\x2a\0\2\0\0\0\0\0\x2a\xfe\xfd" RANDOM
			"\0\0\0\2\xc0\x2b\1\0",
			0),
		/* a message that is too short or too long */
		CASE_NO("\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x0d\1\0\0\x29\0\0\0\0\0\0\0\1\xfe", 0),
		CASE_NO("\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x0d\1\0\x40\1\0\0\0\0\0\0\0\1\xfe", 0),
		/* TLS; data; a version that is none */
		CASE_NO("\x16\3\1\0\x2d\1\0\0\x29\3\3" RANDOM "\0\0\2\x13\1\1\0aaaaaaaaaaaaaaaaaaaa", 0),
		CASE_NO("\x17\xfe\xfd\0\1\0\0\0\0\0\0\0\x36\1\0\0\x2a\0\0\0\0\0\0\0\x2a\xfe\xfd" RANDOM
			"\0\0\0\2\xc0\x2b\1\0",
			0),
		CASE_NO("\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x36\1\0\0\x2a\0\0\0\0\0\0\0\x2a\3\3" RANDOM
			"\0\0\0\2\xc0\x2b\1\0",
			0),
	};
	DATAGRAMS_CHECK("dtls", cases);
}

static void a_hello_cut_at_every_byte(void **state)
{
	for (size_t cut = 1; cut < HELLO_LEN; cut++) {
		for (int order = 0; order < 4; order++) {
			size_t first = order & 1 ? cut : 0, second = order & 1 ? 0 : cut;
			size_t first_len = order & 1 ? HELLO_LEN - cut : cut;
			flow_begin();
			if (order < 2) { /* two datagrams */
				datagram_add(HELLO, HELLO_LEN, 0, first, first_len);
				datagram_add(HELLO, HELLO_LEN, 0, second, HELLO_LEN - first_len);
				expect(2, VERDICT_YES, LEARNED);
				continue;
			}
			record_begin(0);
			fragment_add(HELLO, HELLO_LEN, 0, first, first_len);
			if (cut % 2) /* one record or two */
				record_begin(1);
			fragment_add(HELLO, HELLO_LEN, 0, second, HELLO_LEN - first_len);
			datagram_end();
			expect(1, VERDICT_YES, LEARNED);
		}
	}
}

static void fragments_in_every_order_and_twice(void **state)
{
	static const uint8_t orders[][6] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 },
		{ 2, 1, 0 }, { 0, 0, 2, 2, 1, 1 }, { 2, 1, 2, 1, 0, 0 } };
	size_t part = HELLO_LEN / 3 + 1;

	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		size_t n = i < 6 ? 3 : 6;
		flow_begin();
		for (size_t k = 0; k < n; k++) {
			size_t at = orders[i][k] * part;
			datagram_add(HELLO, HELLO_LEN, 0, at, at + part > HELLO_LEN ? HELLO_LEN - at : part);
		}
		expect(n, VERDICT_YES, LEARNED);
		expect(1, orders[i][0] == 0 ? VERDICT_YES : VERDICT_MORE, "sni? alpn? version? ja4?");
	}
}

static void what_does_not_belong_is_passed_over(void **state)
{
	char other[] = HELLO;

	memcpy(memmem(other, HELLO_LEN, "a.example", 9), "b", 1);
	flow_begin();
	datagram_add(HELLO, HELLO_LEN, 0, 40, 10);
	datagram_add(other, HELLO_LEN, 1, 0, HELLO_LEN);         /* another hello */
	datagram_add(other, HELLO_LEN - 1, 0, 0, HELLO_LEN - 1); /* another length */
	memset(flow.bytes + flow.len, 0x17, 50);                 /* no hello at all */
	flow.len += 50;
	datagram_end();
	expect(4, VERDICT_MORE, NULL);
	datagram_add(HELLO, HELLO_LEN, 0, 0, HELLO_LEN);
	datagram_add(other, HELLO_LEN, 0, 0, HELLO_LEN); /* what is there already */
	expect(6, VERDICT_YES, LEARNED);
}

static void another_message_ends_the_datagram(void **state)
{
	flow_begin();
	record_begin(0);
	fragment_add(HELLO, HELLO_LEN, 0, 0, 40);
	record_begin(1);
	fragment_add(HELLO, HELLO_LEN, 0, 40, 10);
	flow.bytes[flow.record_at + 13] = 2; /* a ServerHello */
	record_begin(2);
	fragment_add(HELLO, HELLO_LEN, 0, 40, HELLO_LEN - 40);
	datagram_end();
	expect(1, VERDICT_YES, "sni? alpn? version? ja4?");
}

static void a_version_that_does_not_exist(void **state)
{
	char other[] = HELLO;

	other[1] = 3;
	flow_begin();
	datagram_add(other, HELLO_LEN, 0, 1, HELLO_LEN - 1);
	datagram_add(other, HELLO_LEN, 0, 0, 1);
	expect(1, VERDICT_MORE, NULL);
	expect(2, VERDICT_NO, NULL);
}

static void records_with_connection_ids(void **state)
{
#define CID_RECORD                                                                                                   \
	"\x19\xfe\xfd\0\1\0\0\0\0\0\7"                                                                               \
	"id123678"                                                                                                   \
	"\0\x10"                                                                                                     \
	"0123456789abcdef"
	static const struct probe_case cases[] = {
		CASE_YES(CID_RECORD, 0, ""),
		CASE_YES(CID_RECORD CID_RECORD, 0, ""),
		CASE_YES("\x19\xfe\xfd\0\1\0\0\0\0\0\7"
			 "i"
			 "\0\x09"
			 "012345678",
			0, ""),
		CASE_NO("\x19\xfe\xfd\0\0\0\0\0\0\0\7"
			"id123678"
			"\0\x10"
			"0123456789abcdef",
			0),
		CASE_NO("\x19\xfe\xff\0\1\0\0\0\0\0\7"
			"id123678"
			"\0\x10"
			"0123456789abcdef",
			0),
		CASE_NO("\x17\xfe\xfd\0\1\0\0\0\0\0\7"
			"id123678"
			"\0\x10"
			"0123456789abcdef",
			0),
		CASE_NO("\x19\xfe\xfd\0\1\0\0\0\0\0\7"
			"id123678"
			"\0\x11"
			"0123456789abcdef",
			0),
		CASE_NO("\x19\xfe\xfd\0\1\0\0\0\0\0\7"
			"id123678"
			"\0\x08"
			"01234567",
			0),
		CASE_NO("\x19\xfe\xfd\0\1\0\0\0\0\0\7"
			"id123678"
			"\0\x08"
			"01234567" CID_RECORD,
			0),
		CASE_NO(CID_RECORD "something behind it", 0),
	};
	DATAGRAMS_CHECK("dtls", cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_datagram),
		cmocka_unit_test(a_hello_cut_at_every_byte),
		cmocka_unit_test(fragments_in_every_order_and_twice),
		cmocka_unit_test(what_does_not_belong_is_passed_over),
		cmocka_unit_test(another_message_ends_the_datagram),
		cmocka_unit_test(a_version_that_does_not_exist),
		cmocka_unit_test(records_with_connection_ids),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
