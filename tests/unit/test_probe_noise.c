/* Datagrams of random bytes, of every length from 2: how many each probe takes. And RTP, the weakest of them. */
#include "hex_cases.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum {
	ROUNDS = 400, /* of each length */
	LEN_MAX = 1472,
	SHORT_MAX = 64, /* and of these lengths SHORT_TIMES as many */
	SHORT_TIMES = 20,
};

/* Of a million; the manual gives the same. Of the others none is taken here. */
static const struct weak {
	const char *name;
	unsigned per_million;
} weak[] = {
	{ "rtp", 3000 },
	{ "coap", 100 },
	{ "openvpn", 5 },
	{ "stun", 10 },
	{ "syslog", 5 },
};

static uint64_t seed = 20240608;

static void noise_make(uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
		bytes[i] = (uint8_t)(seed >> 56);
	}
}

static unsigned allowed_per_million(const char *name)
{
	for (size_t i = 0; i < sizeof(weak) / sizeof(weak[0]); i++)
		if (strcmp(weak[i].name, name) == 0)
			return weak[i].per_million;
	return 0;
}

/* With each of the ids that there are: queries of stub resolvers and iterative ones, updates, names of several lengths; memcached. */
static void no_request_is_taken_whatever_its_id(void **state)
{
	static const char *const queries[] = {
		"0000 0100 0001 0000 0000 0000 03777777 076578616d706c65 00 0001 0001",
		"0000 0120 0001 0000 0000 0001 03777777 076578616d706c65 00 001c 0001 00 0029 04d0 00000000 0000",
		"0000 0000 0001 0000 0000 0000 00 0002 0001",
		"0000 0000 0001 0000 0000 0001 03636f6d 00 0002 0001 00 0029 04d0 00008000 0000",
		"0000 0100 0001 0000 0000 0000 1e 616161616161616161616161616161616161616161616161616161616161 00 "
		"0001 0001",
		"0000 0110 0001 0000 0000 0000 0e 6161616161616161616161616161 00 0001 0001",
		"0000 2800 0001 0000 0001 0000 076578616d706c65 00 0006 0001 0161 c00c 0001 0001 0000003c 0004 "
		"c0000201",
		"0000 0000 0001 0000 0001 0000 076578616d706c65 00 00fb 0001 c00c 0006 0001 00000000 0016 00 00 "
		"00000001 "
		"00000000 00000000 00000000 00000000",
		"0000 2400 0001 0000 0000 0000 076578616d706c65 00 0006 0001",
		"0000 0000 0001 0000 676574206b65790d0a",
		"0000 0000 0001 0000 73657420662030203020332032206e6f7265706c790d0a68690a0d0a",
		"0000 0110 0001 0000 0000 0000 20 434b414141414141414141414141414141414141414141414141414141414141 "
		"00 0021 0001",
	};
	static struct findings findings;

	for (size_t q = 0; q < sizeof(queries) / sizeof(queries[0]); q++) {
		uint8_t bytes[512];
		size_t len = hex_read(queries[q], bytes, sizeof(bytes));
		for (uint32_t id = 0; id <= UINT16_MAX; id++) {
			bytes[0] = (uint8_t)(id >> 8);
			bytes[1] = (uint8_t)id;
			const uint32_t end = (uint32_t)len;
			struct evidence evidence = { .bytes = bytes, .len = len, .ends = &end, .n_datagrams = 1 };
			for (size_t i = 0; i < n_probes; i++) {
				if (!probes[i].datagram || probes[i].datagram == probe_any ||
					probes[i].datagram == probe_dns_datagram ||
					probes[i].datagram == probe_memcached_datagram)
					continue;
				findings_reset(&findings);
				if (probe_run(&probes[i], &evidence, &findings) != VERDICT_NO)
					fail_msg("query %zu with the id %04x is %s", q, id, probes[i].name);
			}
		}
	}
}

static void noise_is_taken_as_seldom_as_the_manual_says(void **state)
{
	static struct findings findings;
	static uint8_t bytes[LEN_MAX];
	uint64_t taken[128] = { 0 }, total = 0;

	assert_true(n_probes <= sizeof(taken) / sizeof(taken[0]));
	for (size_t len = 2; len <= LEN_MAX; len++) { /* ff alone is a keep-alive of IKE */
		for (size_t round = 0; round < ROUNDS * (len <= SHORT_MAX ? SHORT_TIMES : 1); round++, total++) {
			noise_make(bytes, len);
			const uint32_t end = (uint32_t)len;
			struct evidence evidence = { .bytes = bytes, .len = len, .ends = &end, .n_datagrams = 1 };
			for (size_t i = 0; i < n_probes; i++) {
				if (!probes[i].datagram || probes[i].datagram == probe_any)
					continue;
				findings_reset(&findings);
				taken[i] += probe_run(&probes[i], &evidence, &findings) == VERDICT_YES;
			}
		}
	}
	for (size_t i = 0; i < n_probes; i++) {
		if (taken[i] > 0)
			printf("%s: %llu of %llu\n", probes[i].name, (unsigned long long)taken[i],
				(unsigned long long)total);
		if (taken[i] * 1000000 > total * allowed_per_million(probes[i].name))
			fail_msg("%s takes %llu of %llu random datagrams", probes[i].name,
				(unsigned long long)taken[i], (unsigned long long)total);
	}
}

static void rtp(void **state)
{
	static const struct hex_case cases[] = {
		/* ffmpeg: a dynamic type; 20 ms of G.711, G.729 and G.722; the first of a talk; an extension; padding */
		{ "80 61 025c 75f2be6d 005bdaca"
		  "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		  "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		  " ffffffffffffffffffffffffffffffff",
			VERDICT_YES, NULL },
		{ "80 00 025c 75f2be6d 005bdaca"
		  "d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5"
		  "d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5"
		  "d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5"
		  " d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5",
			VERDICT_YES, NULL },
		{ "80 12 025c 75f2be6d 005bdaca 1111111111111111111111111111111111111111", VERDICT_YES, NULL },
		{ "80 09 025c 75f2be6d 005bdaca"
		  "111111111111111111111111111111111111111111111111111111111111111111111111111111111111"
		  "111111111111111111111111111111111111111111111111111111111111111111111111111111111111"
		  "111111111111111111111111111111111111111111111111111111111111111111111111111111111111"
		  " 11111111111111111111111111111111111111111111111111111111111111111111",
			VERDICT_YES, NULL },
		{ "80 88 025c 75f2be6d 005bdaca"
		  "d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5"
		  "d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5"
		  "d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5"
		  " d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5",
			VERDICT_YES, NULL },
		{ "90 6f 025c 75f2be6d 005bdaca bede 0001 10aa0000 f8fffe", VERDICT_YES, NULL },
		{ "a0 60 025c 75f2be6d 005bdaca 1122330403020304", VERDICT_YES, NULL },
		/* reports of a sender and of a receiver, alone and with what follows them */
		{ "80 c8 0006 005bdaca 1111111111111111111111111111111111111111", VERDICT_YES, NULL },
		{ "81 c9 0007 005bdaca 111111111111111111111111111111111111111111111111", VERDICT_YES, NULL },
		{ "80 c9 0001 005bdaca 81 ca 0004 005bdaca 0107 6140622e636f6d000000", VERDICT_YES, NULL },
		{ "80 c8 0006 005bdaca 1111111111111111111111111111111111111111 81 ca 0002 005bdaca"
		  " 01000000 81 cb 0001 005bdaca",
			VERDICT_YES, NULL },
		/* version 1; a source that contributes; types that are none; no payload; a source of 16 bits; an extension or padding that runs past the end */
		{ "40 61 025c 75f2be6d 005bdaca"
		  "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		  "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		  " ffffffffffffffffffffffffffffffff",
			VERDICT_NO, NULL },
		{ "81 61 025c 75f2be6d 005bdaca"
		  "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		  "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		  " ffffffffffffffffffffffffffffffff",
			VERDICT_NO, NULL },
		{ "80 13 025c 75f2be6d 005bdaca"
		  "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		  "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		  " ffffffffffffffffffffffffffffffff",
			VERDICT_NO, NULL },
		{ "80 48 025c 75f2be6d 005bdaca"
		  "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		  "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		  " ffffffffffffffffffffffffffffffff",
			VERDICT_NO, NULL },
		{ "80 23 025c 75f2be6d 005bdaca"
		  "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		  "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		  " ffffffffffffffffffffffffffffffff",
			VERDICT_NO, NULL },
		{ "80 61 025c 75f2be6d 005bdaca", VERDICT_NO, NULL },
		{ "80 61 025c 75f2be6d 0000daca"
		  "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		  "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		  " ffffffffffffffffffffffffffffffff",
			VERDICT_NO, NULL },
		{ "90 61 025c 75f2be6d 005bdaca bede 0020 10aa0000", VERDICT_NO, NULL },
		{ "a0 61 025c 75f2be6d 005bdaca 11223309", VERDICT_NO, NULL },
		{ "a0 61 025c 75f2be6d 005bdaca 11223300", VERDICT_NO, NULL },
		/* a length that G.711 does not have; reports that do not fill the datagram, are shorter than they say; others without a report first */
		{ "80 00 025c 75f2be6d 005bdaca"
		  "d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5"
		  "d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5"
		  "d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5"
		  " d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5",
			VERDICT_NO, NULL },
		{ "80 c8 0006 005bdaca 111111111111111111111111111111111111111111", VERDICT_NO, NULL },
		{ "81 c8 0006 005bdaca 1111111111111111111111111111111111111111", VERDICT_NO, NULL },
		{ "80 c9 0001 005bdaca 80 61 0000", VERDICT_NO, NULL },
		{ "81 ca 0002 005bdaca 01000000", VERDICT_NO, NULL },
		{ "80 c9 0000", VERDICT_NO, NULL },
		{ "81 cb 0001 005bdaca", VERDICT_NO, NULL },
		/* DNS and NetBIOS whose id begins so; SRT; NetQuake */
		{ "8061 0100 0001 0000 0000 0001 03777777 076578616d706c65 00 0001 0001 00 0029 04d0"
		  " 00000000 0000",
			VERDICT_NO, NULL },
		{ "80f0 0010 0001 0000 0000 0000 20 434b4141414141414141414141414141"
		  " 4141414141414141414141414141414100 0021 0001",
			VERDICT_NO, NULL },
		{ "8000000000000000000000940000000000000004000000022e2b16b4000005dc00002000000000013794"
		  " 071e000000000100007f000000000000000000000000",
			VERDICT_NO, NULL },
		{ "8000000c 02 5155414b4500 03", VERDICT_NO, NULL },
	};
	HEX_CHECK("rtp", cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rtp),
		cmocka_unit_test(no_request_is_taken_whatever_its_id),
		cmocka_unit_test(noise_is_taken_as_seldom_as_the_manual_says),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
