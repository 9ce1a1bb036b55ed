/* What a decision over QUIC's first datagrams costs, by the server name at the end of a hello that needs one datagram, two or three, with
 * every built-in probe in use. Prints one JSON object a line, in CPU time: {"kind": "quic", "datagrams", "ja4", "ns", "cryptography"};
 * the last is what the keys and the opening of the packets take of it. Medians of rounds in which the cases take turns. Each case has
 * many flows with keys of their own. Every answer is checked; exits 1 when one is wrong. */
#include "../src/decide/probes/quic_keys.h"
#include "../tests/decide.h"
#include "../tests/unit/quic_packets.h"
#include "decider.h"

#include <stdio.h>
#include <time.h>

#define ROUNDS        21
#define REPEATS       40
#define FLOWS         64
#define DATAGRAMS_MAX 3
#define DATAGRAM_LEN  1252
#define PART          1100 /* bytes of a hello in a datagram */

struct flow {
	uint8_t bytes[DATAGRAMS_MAX * DATAGRAM_LEN];
	uint32_t ends[DATAGRAMS_MAX];
	struct quic_client client;
};

struct bench {
	size_t n_datagrams;
	bool ja4;
	struct flow flows[FLOWS];
	struct decider *decider;
	double ns[ROUNDS], cryptography_ns[ROUNDS];
};

/* A hello of `len` bytes, most of them a key share. */
static void hello_write(uint8_t *hello, size_t len, uint32_t seed)
{
	static const uint8_t head[] = "\1\0\0\0\3\3"
				      "0123456789abcdef0123456789abcdef"
				      "\0\0\6\x13\1\x13\2\x13\3\1\0";
	static const uint8_t zeros[DATAGRAMS_MAX * PART];
	uint8_t name[40] = { 0 }, *at = hello + sizeof(head) - 1 + 2;
	int n = snprintf((char *)name + 5, sizeof(name) - 5, "www-%08x.example.org", seed);

	memcpy(hello, head, sizeof(head) - 1);
	name[1] = (uint8_t)(n + 3);
	name[4] = (uint8_t)n;
	size_t others = 4 * 9 + 14 + 20 + 3 + 2 + 90 + 5 + 5 + 3 + (size_t)n + 5;
	at = quic_extension_write(at, 10, zeros, 14);
	at = quic_extension_write(at, 13, zeros, 20);
	at = quic_extension_write(at, 27, zeros, 3);
	at = quic_extension_write(at, 45, zeros, 2);
	at = quic_extension_write(at, 57, zeros, 90);
	at = quic_extension_write(at, 0x44cd, zeros, 5);
	at = quic_extension_write(at, 51, zeros, len - (size_t)(hello + sizeof(head) + 1 - hello) - others - 4);
	at = quic_extension_write(at, 16, "\0\3\2h3", 5);
	at = quic_extension_write(at, 43, "\2\3\4", 3);
	quic_extension_write(at, 0, name, (size_t)n + 5);
	hello[2] = (uint8_t)((len - 4) >> 8);
	hello[3] = (uint8_t)(len - 4);
	hello[sizeof(head) - 1] = (uint8_t)((len - sizeof(head) - 1) >> 8);
	hello[sizeof(head)] = (uint8_t)(len - sizeof(head) - 1);
}

static void flow_write(struct flow *flow, size_t n_datagrams, uint32_t seed)
{
	uint8_t hello[DATAGRAMS_MAX * PART], payload[DATAGRAM_LEN - 60], id[8];
	size_t at = 0;

	for (size_t i = 0; i < sizeof(id); i++)
		id[i] = (uint8_t)(seed * 31 + i * 7);
	quic_client_init(&flow->client, QUIC_1, NULL, id, sizeof(id));
	hello_write(hello, n_datagrams * PART, seed);
	for (uint32_t i = 0; i < n_datagrams; i++) {
		memset(payload, 0, sizeof(payload));
		quic_crypto_write(payload, hello, i * PART, PART);
		at += quic_packet_write(
			flow->bytes + at, &flow->client, QUIC_INITIAL, i, 1, payload, sizeof(payload));
		flow->ends[i] = (uint32_t)at;
	}
}

/* A service for the server names, one for JA4 if that is asked for, and one for each probe. */
static void bench_init(struct bench *bench, size_t n_datagrams, bool ja4)
{
	static const char *const name[] = { "*.example.org" }, *const fingerprint[] = { "t13d*" };
	struct protocol *protocols = calloc(n_probes, sizeof(*protocols)); /* like the rest, until the end */
	uint32_t *numbers = calloc(n_probes, sizeof(*numbers));
	struct rule *rules = calloc(n_probes + 2, sizeof(*rules));
	size_t n = 0;

	bench->n_datagrams = n_datagrams;
	bench->ja4 = ja4;
	for (uint32_t i = 0; i < FLOWS; i++)
		flow_write(&bench->flows[i], n_datagrams, i);
	if (ja4)
		rules[n++] = (struct rule){ .service = 0, .attribute[ATTRIBUTE_JA4] = { fingerprint, 1 } };
	rules[n++] = (struct rule){ .service = 1, .attribute[ATTRIBUTE_SNI] = { name, 1 } };
	for (uint32_t i = 0; i < n_probes; i++) {
		protocols[i] = (struct protocol){ .name = probes[i].name, .probe = &probes[i] };
		numbers[i] = i;
		rules[n++] = (struct rule){ .service = 2 + i, .protocols = &numbers[i], .n_protocols = 1 };
	}
	if (decider_new(&bench->decider, NULL, protocols, n_probes, rules, n) != 0)
		abort();
}

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* Returns false if an answer is wrong. */
static bool decisions_run(struct bench *bench, size_t round)
{
	static struct findings findings;
	double begin = now_ns();
	size_t n_wrong = 0;

	for (size_t i = 0; i < REPEATS * FLOWS; i++) {
		const struct flow *flow = &bench->flows[i % FLOWS];
		struct evidence evidence = { .bytes = flow->bytes,
			.len = flow->ends[bench->n_datagrams - 1],
			.ends = flow->ends,
			.n_datagrams = bench->n_datagrams };
		struct outcome outcome;
		decider_ask(bench->decider, &evidence, &findings, &outcome);
		n_wrong += outcome.yes != 1 || outcome.more != SERVICE_NONE;
	}
	bench->ns[round] = (now_ns() - begin) / (REPEATS * FLOWS);
	return n_wrong == 0;
}

/* The same keys and packets, and nothing else. */
static bool cryptography_run(struct bench *bench, size_t round)
{
	double begin = now_ns();
	size_t n_wrong = 0, at = 0, len;

	for (size_t i = 0; i < REPEATS * FLOWS; i++, at = 0) {
		const struct flow *flow = &bench->flows[i % FLOWS];
		uint8_t payload[DATAGRAM_LEN];
		struct quic_keys keys;
		n_wrong += !quic_keys_derive(&keys, quic_version_find(QUIC_1), flow->client.id, flow->client.id_len);
		for (size_t k = 0; k < bench->n_datagrams; at = flow->ends[k++])
			n_wrong += !quic_open(&keys, flow->bytes + at, 18, flow->ends[k] - at, payload, &len);
	}
	bench->cryptography_ns[round] = (now_ns() - begin) / (REPEATS * FLOWS);
	return n_wrong == 0;
}

static double median(double *ns)
{
	for (size_t i = 1; i < ROUNDS; i++) {
		double one = ns[i];
		size_t k = i;
		for (; k > 0 && ns[k - 1] > one; k--)
			ns[k] = ns[k - 1];
		ns[k] = one;
	}
	return ns[ROUNDS / 2];
}

int main(void)
{
	static struct bench benches[2 * DATAGRAMS_MAX];
	const size_t n = 2 * DATAGRAMS_MAX;

	for (size_t i = 0; i < n; i++)
		bench_init(&benches[i], 1 + i / 2, i % 2);
	for (size_t round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < n; i++)
			if (!decisions_run(&benches[i], round) || !cryptography_run(&benches[i], round)) {
				fprintf(stderr, "quic_bench: a wrong answer, %zu datagrams\n",
					benches[i].n_datagrams);
				return 1;
			}
	for (size_t i = 0; i < n; i++)
		printf("{\"kind\": \"quic\", \"datagrams\": %zu, \"ja4\": %s, \"ns\": %.0f, \"cryptography\": "
		       "%.0f}\n",
			benches[i].n_datagrams, benches[i].ja4 ? "true" : "false", median(benches[i].ns),
			median(benches[i].cryptography_ns));
	return 0;
}
