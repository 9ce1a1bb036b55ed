/* QUIC: the examples of RFC 9001 and RFC 9369; hellos cut at every byte, over packets and datagrams in every order; and what is no
 * first flight. */
#include "probe_cases.h"
#include "quic_packets.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ID "\x83\x94\xc8\xf0\x3e\x51\x57\x08"

/* A flow under construction. */
struct flow {
	uint8_t bytes[EVIDENCE_MAX];
	uint32_t ends[EVIDENCE_DATAGRAMS_MAX];
	size_t n, len;
	struct quic_client client;
	uint32_t number;
};

static struct flow flow;

static void flow_begin(uint32_t version)
{
	flow.n = flow.len = 0;
	flow.number = 0;
	quic_client_init(&flow.client, version, NULL, ID, sizeof(ID) - 1);
}

static void datagram_end(void)
{
	flow.ends[flow.n++] = (uint32_t)flow.len;
}

static void packet_add(enum quic_type type, const uint8_t *payload, size_t len)
{
	flow.len += quic_packet_write(
		flow.bytes + flow.len, &flow.client, type, flow.number, 1 + flow.number % 4, payload, len);
	flow.number++;
}

/* An Initial packet with these frames alone in a datagram, which PADDING fills. */
static void initial_add(const uint8_t *frames, size_t len)
{
	uint8_t payload[2048] = { 0 };

	if (len > 0)
		memcpy(payload, frames, len);
	packet_add(QUIC_INITIAL, payload, len < 1180 ? 1180 : len);
	datagram_end();
}

/* Compares the verdict, and for a YES the values, of the flow's first datagrams. It also checks that none takes anything back. */
static void expect(size_t n, enum verdict verdict, const char *values)
{
	const struct probe *quic = probe_find("quic");
	static struct answer answer;
	char text[1024];

	assert_null(flow_check(quic, flow.bytes, flow.ends, n));
	answer_make(&answer, quic, flow.bytes, flow.ends[n - 1], flow.ends, n);
	assert_int_equal(answer.verdict, verdict);
	if (verdict != VERDICT_YES)
		return;
	answer.attribute[ATTRIBUTE_JA4].len = 0; /* its own tests have it */
	values_write(text, sizeof(text), quic, &answer);
	assert_string_equal(text, values);
}

#define LEARNED "sni=name.example alpn=h3 version=1"
#define NOTHING "version=1"
#define OPEN    "sni? alpn? version=1 ja4?"

/* ---- Hellos --------------------------------------------------------------------------- */

static uint8_t hello[8192];

/* Returns the length of a ClientHello with `filler` bytes before the server name. */
static size_t hello_make(size_t filler)
{
	static const uint8_t zeros[8000];
	uint8_t *at = hello + 4;

	memcpy(at,
		"\3\3"
		"0123456789abcdef0123456789abcdef"
		"\0"
		"\0\2\x13\1"
		"\1\0",
		2 + 32 + 1 + 4 + 2);
	at += 2 + 32 + 1 + 4 + 2 + 2;
	uint8_t *extensions = at;
	if (filler > 0)
		at = quic_extension_write(at, 51, zeros, filler);
	at = quic_extension_write(at, 0,
		"\0\x0f\0\0\x0c"
		"name.example",
		17);
	at = quic_extension_write(at, 16, "\0\3\2h3", 5);
	at = quic_extension_write(at, 43, "\2\3\4", 3);
	extensions[-2] = (uint8_t)((at - extensions) >> 8);
	extensions[-1] = (uint8_t)(at - extensions);
	size_t len = (size_t)(at - hello);
	hello[0] = 1;
	hello[1] = 0;
	hello[2] = (uint8_t)((len - 4) >> 8);
	hello[3] = (uint8_t)(len - 4);
	return len;
}

/* ---- Examples of the documents -------------------------------------------------------- */

static size_t hex_read(uint8_t *dst, const char *hex)
{
	size_t n = 0;

	for (; hex[2 * n]; n++) {
		const char digits[] = { hex[2 * n], hex[2 * n + 1], 0 };
		dst[n] = (uint8_t)strtoul(digits, NULL, 16);
	}
	return n;
}

/* RFC 9001 A.2 and RFC 9369 A.2: the payload, and of the protected packet the beginning and the end, with the tag, which is about all
 * of it. */
static void examples_of_the_documents(void **state)
{
	static const char frame[] = "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868"
				    "04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578"
				    "616d706c652e636f6dff01000100000a00080006001d00170018001000070005"
				    "04616c706e000500050100000000003300260024001d00209370b2c9caa47fba"
				    "baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400"
				    "0d0010000e0403050306030203080408050806002d00020101001c0002400100"
				    "3900320408ffffffffffffffff05048000ffff07048000ffff08011001048000"
				    "75300901100f088394c8f03e51570806048000ffff";
	static const struct {
		uint32_t version;
		const char *begins, *ends, *values;
	} cases[] = {
		{ QUIC_1, "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11",
			"7e78bfe706ca4cf5e9c5453e9f7cfd2b8b4c8d169a44e55c88d4a9a7f9474241e221af44860018ab0856972e194c"
			"d934",
			"sni=example.com alpn=alpn version=1" },
		{ QUIC_2, "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485",
			"6f4c4938ae79324dc402894b44faf8afbab35282ab659d13c93f70412e85cb19"
			"9a37ddec600545473cfb5a05e08d0b209973b2172b4d21fb69745a262ccde96ba18b2faa745b6fe189cf772a9f84"
			"cbfc",
			"sni=example.com alpn=alpn version=2" },
	};
	uint8_t payload[1162] = { 0 }, want[100];

	assert_int_equal(hex_read(payload, frame), 245);
	for (size_t i = 0; i < 2; i++) {
		flow_begin(cases[i].version);
		flow.len = quic_packet_write(flow.bytes, &flow.client, QUIC_INITIAL, 2, 4, payload, sizeof(payload));
		datagram_end();
		assert_int_equal(flow.len, 1200);
		assert_memory_equal(flow.bytes, want, hex_read(want, cases[i].begins));
		size_t n = hex_read(want, cases[i].ends);
		assert_memory_equal(flow.bytes + flow.len - n, want, n);
		expect(1, VERDICT_YES, cases[i].values);
	}
}

static void versions_that_are_known(void **state)
{
	static const uint8_t
		salt_29[] = "\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99",
		salt_23[] = "\xc3\xee\xf7\x12\xc7\x2e\xbb\x5a\x11\xa7\xd2\x43\x2b\xb4\x63\x65\xbe\xf9\xf5\x02";
	static const struct {
		uint32_t version;
		const uint8_t *salt;
		const char *values;
	} cases[] = {
		{ QUIC_1, NULL, "sni=name.example alpn=h3 version=1" },
		{ QUIC_2, NULL, "sni=name.example alpn=h3 version=2" },
		{ 0xff00001b, salt_23, "sni=name.example alpn=h3 version=draft-27" },
		{ 0xff00001d, salt_29, "sni=name.example alpn=h3 version=draft-29" },
		{ 0xff000020, salt_29, "sni=name.example alpn=h3 version=draft-32" },
		{ 0xff000022, NULL, "sni=name.example alpn=h3 version=draft-34" },
	};
	uint8_t frames[1024];
	size_t len = hello_make(0), n = (size_t)(quic_crypto_write(frames, hello, 0, len) - frames);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		flow_begin(cases[i].version);
		quic_client_init(&flow.client, cases[i].version, cases[i].salt, ID, 8);
		initial_add(frames, n);
		expect(1, VERDICT_YES, cases[i].values);
	}
}

/* First byte, version, ids, the length of the datagram. */
static void versions_that_are_negotiated(void **state)
{
#define IDS                                                                                                          \
	"\x08"                                                                                                       \
	"12345678\0"
	static const struct {
		uint8_t first;
		uint32_t version;
		char ids[24];
		size_t len;
		enum verdict verdict;
		const char *values;
	} cases[] = {
		{ 0x80, 0x1a2a3a4a, IDS, 1200, VERDICT_YES, "version=1a2a3a4a" },
		{ 0xc0, 0xfaceb001, IDS "\0\x44\x9e", 1200, VERDICT_YES, "version=faceb001" },
		{ 0xc5, 0x51303530, IDS "\3abc\x44\x9e", 1350, VERDICT_YES, "version=51303530" },
		{ 0xf0, 3, IDS "\0\x44\x9f", 1200, VERDICT_NO, NULL }, /* longer than the datagram */
		{ 0xf0, 3, IDS "\0\x13", 1200, VERDICT_NO, NULL },     /* shorter than any */
		{ 0xf0, 3, IDS "\x7f\xff", 1200, VERDICT_NO, NULL },   /* a token past the end */
		{ 0xf0, 3, IDS "\0\x44\x9e", 1199, VERDICT_NO, NULL },
		{ 0x80, 3, IDS "\0\x44\x9e", 1200, VERDICT_NO, NULL }, /* the QUIC bit */
		{ 0x40, 0x1a2a3a4a, IDS, 1200, VERDICT_NO, NULL },     /* a short header */
		{ 0xc0, 0, IDS, 1200, VERDICT_NO, NULL },              /* a server's negotiation */
		{ 0xc0, 3,
			"\7"
			"1234567\0",
			1200, VERDICT_NO, NULL },
		{ 0xc0, 3,
			"\x15"
			"123456789012345678901\0",
			1200, VERDICT_NO, NULL },
		{ 0xc0, 3,
			"\x08"
			"12345678\x15",
			1200, VERDICT_NO, NULL },
		{ 0xc3, 0x51303436,
			"\x50"
			"12345678\0\0\0\1",
			1350, VERDICT_NO, NULL }, /* Google's Q046 */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t head[] = { cases[i].first, (uint8_t)(cases[i].version >> 24),
			(uint8_t)(cases[i].version >> 16), (uint8_t)(cases[i].version >> 8),
			(uint8_t)cases[i].version };
		flow_begin(QUIC_1);
		memset(flow.bytes, 0, 1400);
		memcpy(flow.bytes, head, sizeof(head));
		memcpy(flow.bytes + sizeof(head), cases[i].ids, 24);
		flow.len = cases[i].len;
		datagram_end();
		expect(1, cases[i].verdict, cases[i].values);
	}
}

/* ---- Hellos in pieces ----------------------------------------------------------------- */

static void a_name_cut_at_every_byte(void **state)
{
	uint8_t frames[1024];
	size_t len = hello_make(0);

	for (size_t cut = 1; cut < len; cut++) {
		for (int reversed = 0; reversed < 2; reversed++) {
			flow_begin(QUIC_1);
			uint8_t *at =
				quic_crypto_write(frames, hello, reversed ? cut : 0, reversed ? len - cut : cut);
			initial_add(frames, (size_t)(at - frames)); /* in two datagrams */
			at = quic_crypto_write(frames, hello, reversed ? 0 : cut, reversed ? cut : len - cut);
			initial_add(frames, (size_t)(at - frames));
			expect(2, VERDICT_YES, LEARNED);
			if (reversed)
				expect(1, VERDICT_YES, OPEN);

			flow_begin(QUIC_1);
			at = quic_crypto_write(frames, hello, reversed ? cut : 0, reversed ? len - cut : cut);
			*at++ = 1; /* PING */
			at = quic_crypto_write(at, hello, reversed ? 0 : cut, reversed ? cut : len - cut);
			initial_add(frames, (size_t)(at - frames)); /* in two frames */
			expect(1, VERDICT_YES, LEARNED);
		}
	}
}

static void single_bytes_in_any_order_with_other_frames_between(void **state)
{
	static const uint8_t between[][16] = { { 0 }, { 1, 1 }, { 2, 5, 0, 0, 5 }, { 2, 0x40, 9, 0, 1, 2, 0, 3 },
		{ 3, 5, 0, 0, 5, 1, 2, 3 }, { 0, 0, 1 } };
	static const size_t between_len[] = { 1, 2, 5, 8, 8, 3 };
	size_t len = hello_make(0), order[256];
	uint8_t frames[1400], *at = frames;
	uint32_t seed = 7;

	for (size_t i = 0; i < len; i++)
		order[i] = i;
	for (size_t i = len; i > 1; i--) {
		seed = seed * 1103515245 + 12345;
		size_t k = (seed >> 8) % i, other = order[i - 1];
		order[i - 1] = order[k];
		order[k] = other;
	}
	flow_begin(QUIC_1);
	for (size_t i = 0; i < len; i++) {
		at = quic_crypto_write(at, hello, order[i], 1);
		memcpy(at, between[i % 6], between_len[i % 6]);
		at += between_len[i % 6];
		if (at < frames + 800 && i + 1 < len)
			continue;
		initial_add(frames, (size_t)(at - frames));
		at = frames;
	}
	assert_true(flow.n > 1);
	expect(flow.n, VERDICT_YES, LEARNED);
}

/* Of three datagrams, as those of a hello with post-quantum keys. */
static void datagrams_in_every_order_lost_and_sent_again(void **state)
{
	static const uint8_t orders[][5] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 },
		{ 2, 1, 0 }, { 0, 0, 1, 1, 2 }, { 2, 2, 1, 1, 0 }, { 1, 2, 1, 2, 0 } };
	static const size_t lens[] = { 3, 3, 3, 3, 3, 3, 5, 5, 5 };
	size_t len = hello_make(2500), part = len / 3 + 1;
	uint8_t frames[1200];

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		flow_begin(QUIC_1);
		for (size_t k = 0; k < lens[i]; k++) {
			size_t from = orders[i][k] * part, n = from + part > len ? len - from : part;
			initial_add(frames, (size_t)(quic_crypto_write(frames, hello, from, n) - frames));
		}
		expect(lens[i], VERDICT_YES, LEARNED);
		expect(2, VERDICT_YES, OPEN);
	}
}

static void of_bytes_that_come_twice_the_first_count(void **state)
{
	uint8_t frames[1024], other[512];
	size_t len = hello_make(0);

	memcpy(other, hello, len);
	memcpy(memmem(other, len, "name.example", 12), "evil", 4);
	flow_begin(QUIC_1);
	uint8_t *at = quic_crypto_write(frames, hello, 40, 30);
	at = quic_crypto_write(at, other, 0, len);
	initial_add(frames, (size_t)(at - frames));
	expect(1, VERDICT_YES, LEARNED);
}

/* ---- Packets -------------------------------------------------------------------------- */

static void packets_in_one_datagram(void **state)
{
	uint8_t frames[1024], noise[900] = { 9 };
	size_t len = hello_make(0), n = (size_t)(quic_crypto_write(frames, hello, 0, len) - frames);

	for (int order = 0; order < 4; order++) {
		flow_begin(QUIC_1);
		if (order == 0)
			packet_add(QUIC_0_RTT, noise, sizeof(noise));
		if (order == 3) { /* two halves */
			uint8_t half[200];
			packet_add(QUIC_INITIAL, half, (size_t)(quic_crypto_write(half, hello, 40, len - 40) - half));
			packet_add(QUIC_INITIAL, half, (size_t)(quic_crypto_write(half, hello, 0, 40) - half));
		} else {
			packet_add(QUIC_INITIAL, frames, n);
		}
		if (order == 1)
			packet_add(QUIC_0_RTT, noise, sizeof(noise));
		memset(flow.bytes + flow.len, order == 2 ? 0x55 : 0,
			1200); /* a packet with the short header, or zeros */
		flow.len = flow.len < 1200 ? 1200 : flow.len;
		datagram_end();
		expect(1, VERDICT_YES, LEARNED);
	}
}

static void early_data_that_overtakes(void **state)
{
	uint8_t frames[1024], noise[700] = { 9 };
	size_t n = (size_t)(quic_crypto_write(frames, hello, 0, hello_make(0)) - frames);

	flow_begin(QUIC_1);
	for (int i = 0; i < 3; i++) {
		packet_add(QUIC_0_RTT, noise, sizeof(noise));
		datagram_end();
	}
	memset(flow.bytes + flow.len, 0x77, 100); /* and what it is not known what it is */
	flow.len += 100;
	datagram_end();
	for (size_t i = 1; i <= 4; i++)
		expect(i, VERDICT_MORE, NULL);
	initial_add(frames, n);
	expect(5, VERDICT_YES, LEARNED);
	flow.bytes[flow.len - 1] ^= 1;
	expect(5, VERDICT_NO, NULL);
	/* an unknown version has no early data that could be told, and the version's own has a QUIC bit and an id */
	flow_begin(QUIC_1);
	packet_add(QUIC_0_RTT, noise, sizeof(noise));
	datagram_end();
	flow.bytes[0] ^= 0x40;
	expect(1, VERDICT_NO, NULL);
	flow.bytes[0] ^= 0x40;
	flow.ends[0]--;
	expect(1, VERDICT_NO, NULL);
}

static void tokens_and_ids(void **state)
{
	static const uint8_t token[300] = { 1, 2, 3 };
	uint8_t frames[1024];
	size_t len = hello_make(0);

	for (size_t token_len = 1; token_len <= sizeof(token); token_len += 23) {
		flow_begin(QUIC_1);
		flow.client.token = token;
		flow.client.token_len = token_len;
		initial_add(frames, (size_t)(quic_crypto_write(frames, hello, 0, 60) - frames));
		/* the id of the server's choice: the keys stay */
		memcpy(flow.client.id, "server's", 8);
		flow.client.id_len = token_len % 9;
		initial_add(frames, (size_t)(quic_crypto_write(frames, hello, 60, len - 60) - frames));
		expect(2, VERDICT_YES, LEARNED);
	}
	/* another connection's, with keys of its own, is passed over */
	flow_begin(QUIC_1);
	initial_add(frames, (size_t)(quic_crypto_write(frames, hello, 0, 60) - frames));
	quic_client_init(&flow.client, QUIC_1, NULL, "abcdefgh", 8);
	initial_add(frames, (size_t)(quic_crypto_write(frames, hello, 60, len - 60) - frames));
	expect(2, VERDICT_YES, OPEN);
	/* ids of a first packet that are too short */
	for (size_t id_len = 0; id_len <= 20; id_len++) {
		flow_begin(QUIC_1);
		quic_client_init(&flow.client, QUIC_1, NULL, "01234567890123456789", id_len);
		initial_add(frames, (size_t)(quic_crypto_write(frames, hello, 0, len) - frames));
		expect(1, id_len >= 8 ? VERDICT_YES : VERDICT_NO, LEARNED);
	}
}

static void a_packet_that_does_not_authenticate(void **state)
{
	uint8_t frames[1024];
	size_t n = (size_t)(quic_crypto_write(frames, hello, 0, hello_make(0)) - frames);

	flow_begin(QUIC_1);
	initial_add(frames, n);
	for (size_t i = 0; i < flow.len; i++) {
		if (i >= 1 && i <= 4)
			continue; /* another version */
		flow.bytes[i] ^= 0x04;
		expect(1, VERDICT_NO, NULL);
		flow.bytes[i] ^= 0x04;
	}
	flow.bytes[0] ^= 0x40; /* also where the QUIC bit is not what it was */
	expect(1, VERDICT_NO, NULL);
	flow.bytes[0] ^= 0x40;
	expect(1, VERDICT_YES, LEARNED);
	flow.ends[0] = 1199;
	expect(1, VERDICT_NO, NULL);
	for (size_t len = 1199; len <= 1200; len++) { /* the datagram counts, not the packet */
		flow_begin(QUIC_1);
		packet_add(QUIC_INITIAL, frames, n);
		memset(flow.bytes + flow.len, 0, 1200);
		flow.len = len;
		datagram_end();
		expect(1, len < 1200 ? VERDICT_NO : VERDICT_YES, LEARNED);
	}
}

/* A server drops it, as it has another version's keys. */
static void a_packet_of_another_version_is_passed_over(void **state)
{
	uint8_t frames[1024];
	size_t len = hello_make(0);

	flow_begin(QUIC_1);
	initial_add(frames, (size_t)(quic_crypto_write(frames, hello, 0, 60) - frames));
	flow.client.version = 0xff000022; /* with the same keys */
	initial_add(frames, (size_t)(quic_crypto_write(frames, hello, 60, len - 60) - frames));
	expect(2, VERDICT_YES, OPEN);
}

/* A client of RFC 9287 clears it before the packet is protected. */
static void the_quic_bit_may_be_clear(void **state)
{
	uint8_t payload[1160] = { 0 };
	size_t number_at = 18;

	quic_crypto_write(payload, hello, 0, hello_make(0));
	flow_begin(QUIC_1);
	const uint8_t head[] = { 0x83, 0, 0, 0, 1, 8, 0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08, 0, 0, 0x44,
		0x9c, 0, 0, 0, 0 };
	memcpy(flow.bytes, head, sizeof(head));
	memcpy(flow.bytes + number_at + 4, payload, sizeof(payload));
	quic_protect(&flow.client, flow.bytes, number_at, 4, sizeof(payload));
	memset(flow.bytes + 1198, 0, 2);
	flow.len = 1200;
	datagram_end();
	expect(1, VERDICT_YES, LEARNED);
}

static void packets_that_do_not_come_first(void **state)
{
	uint8_t payload[1200] = { 1 };

	for (enum quic_type type = QUIC_HANDSHAKE; type <= QUIC_RETRY; type++) {
		flow_begin(QUIC_2);
		packet_add(type, payload, sizeof(payload));
		datagram_end();
		expect(1, VERDICT_NO, NULL);
	}
	flow_begin(QUIC_1);
	memset(flow.bytes, 0x4a, 1300); /* a short header */
	flow.len = 1300;
	datagram_end();
	expect(1, VERDICT_NO, NULL);
}

/* ---- Ends ----------------------------------------------------------------------------- */

static void what_ends_the_reading(void **state)
{
	static const struct {
		const char *frames;
		size_t len;
	} ends[] = { { "\x08stream", 7 }, { "\x1c\0\0\0", 4 }, { "\x06\x40", 2 },
		{ "\x06\0\x40\x09"
		  "abc",
			7 },
		{ "\x02\5\0\7\5", 5 }, { "\x03\5\0\0\5\1", 6 } };
	size_t len = hello_make(0),
	       after_name = (size_t)((uint8_t *)memmem(hello, len, "name.example", 12) - hello) + 12;
	uint8_t frames[1400] = { 0 };

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		flow_begin(QUIC_1);
		initial_add(frames, (size_t)(quic_crypto_write(frames, hello, 0, after_name) - frames));
		memset(frames, 0, sizeof(frames));
		memcpy(frames + 1180 - ends[i].len, ends[i].frames, ends[i].len);
		initial_add(frames, 1180);
		initial_add(
			frames, (size_t)(quic_crypto_write(frames, hello, after_name, len - after_name) - frames));
		expect(1, VERDICT_YES, "sni=name.example alpn? version=1 ja4?");
		expect(2, VERDICT_YES, "sni=name.example version=1");
		expect(3, VERDICT_YES, "sni=name.example version=1");
	}
	/* what is no ClientHello, and one that is longer than any */
	static const char *const messages[] = { "\2\0\0\x80\3\3", "\1\0\0\5\3\3", "\1\0\x80\0\3\3",
		"\1\0\0\x80\4\3" };
	for (size_t i = 0; i < 4; i++) {
		flow_begin(QUIC_1);
		initial_add(frames, (size_t)(quic_crypto_write(frames, (const uint8_t *)messages[i], 0, 6) - frames));
		expect(1, VERDICT_YES, NOTHING);
	}
	/* bytes where no hello goes */
	flow_begin(QUIC_1);
	memcpy(frames, "\x06\xff\xff\xff\xff\xff\xff\xff\xff\1a\x06\x7f\xff\1b\1", 16);
	memset(frames + 16, 0, 100);
	initial_add(frames, 100);
	expect(1, VERDICT_YES, OPEN);
}

static void as_many_packets_as_a_client_sends(void **state)
{
	uint8_t frames[64];
	size_t len = hello_make(0);

	flow_begin(QUIC_1);
	for (size_t i = 0; i < 9; i++) {
		size_t from = i * len / 9, to = (i + 1) * len / 9;
		packet_add(
			QUIC_INITIAL, frames, (size_t)(quic_crypto_write(frames, hello, from, to - from) - frames));
	}
	memset(flow.bytes + flow.len, 0, 1200);
	flow.len = 1200;
	datagram_end();
	expect(1, VERDICT_YES, "sni=name.example alpn? version=1 ja4?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(examples_of_the_documents),
		cmocka_unit_test(versions_that_are_known),
		cmocka_unit_test(versions_that_are_negotiated),
		cmocka_unit_test(a_name_cut_at_every_byte),
		cmocka_unit_test(single_bytes_in_any_order_with_other_frames_between),
		cmocka_unit_test(datagrams_in_every_order_lost_and_sent_again),
		cmocka_unit_test(of_bytes_that_come_twice_the_first_count),
		cmocka_unit_test(packets_in_one_datagram),
		cmocka_unit_test(early_data_that_overtakes),
		cmocka_unit_test(tokens_and_ids),
		cmocka_unit_test(a_packet_that_does_not_authenticate),
		cmocka_unit_test(a_packet_of_another_version_is_passed_over),
		cmocka_unit_test(the_quic_bit_may_be_clear),
		cmocka_unit_test(packets_that_do_not_come_first),
		cmocka_unit_test(what_ends_the_reading),
		cmocka_unit_test(as_many_packets_as_a_client_sends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
