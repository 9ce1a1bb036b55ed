/* What a decision over a kibibyte of evidence costs with every built-in probe in use: a service for each, and others
 * that ask for names, in the order of the table and in the reverse. Prints one JSON object a line, the CPU time of
 * one decision: {"kind": "probes", "evidence", "order", "ja4", "ns"}, the median of rounds in which the cases take
 * turns; and last, with the evidence "all", the median of all these.
 *
 * The evidence is what real clients send, filled up to size, and what no probe knows: noise, zeros, text without an
 * end. Each case has many of its kind that differ, so that no branch is learned by heart. Every answer is checked.
 * Exits 1 when one is wrong. */
#include "../tests/decide.h"
#include "decider.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SIZE        1024
#define ROUNDS      21
#define REPEATS     40
#define CONNECTIONS 32
#define LEN(array)  (sizeof(array) / sizeof((array)[0]))

struct mux {
	struct decider *decider;
	struct protocol *protocols;
	struct rule *rules;
	uint32_t *numbers; /* of the protocols that the services ask for, in their order */
	size_t n;          /* services */
};

typedef void write_function(uint8_t *bytes, uint32_t seed);

static uint64_t state;

static uint32_t draw(void)
{
	state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(state >> 33);
}

static size_t put_u16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
	return 2;
}

static size_t put_extension(uint8_t *at, size_t type, const void *data, size_t len)
{
	put_u16(at, type);
	put_u16(at + 2, len);
	if (data)
		memcpy(at + 4, data, len);
	return 4 + len;
}

static size_t put_server_name(uint8_t *at, uint32_t seed)
{
	char name[40];
	uint8_t data[60] = { 0 };
	size_t len = (size_t)snprintf(name, sizeof(name), "www-%08x.example.org", seed);

	put_u16(data, len + 3);
	put_u16(data + 3, len);
	memcpy(data + 5, name, len);
	return put_extension(at, 0, data, len + 5);
}

/* As browsers say it: 16 cipher suites, 15 extensions, padding. */
static void tls_write(uint8_t *bytes, uint32_t seed)
{
	static const uint16_t ciphers[] = { 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8,
		0xc013, 0xc014, 0x9c, 0x9d, 0x2f, 0x35 };
	static const uint16_t types[] = { 0x17, 0xff01, 0x0a, 0x0b, 0x23, 5, 0x12, 0x2d, 0x1b, 0x4469 };
	size_t at = 9;

	memcpy(bytes, "\x16\3\1\0\0\1\0\0\0\3\3", 11);
	put_u16(bytes + 3, SIZE - 5);
	put_u16(bytes + 7, SIZE - 9);
	at += 2 + 32;
	bytes[at++] = 32;
	at += 32;
	at += put_u16(bytes + at, sizeof(ciphers) + 2);
	at += put_u16(bytes + at, 0x1a1a);
	for (size_t i = 0; i < LEN(ciphers); i++)
		at += put_u16(bytes + at, ciphers[i]);
	at += put_u16(bytes + at, 0x100);
	put_u16(bytes + at, SIZE - at - 2);
	at += 2;
	at += put_extension(bytes + at, 0x2a2a, NULL, 0);
	for (size_t i = 0; i < LEN(types); i++) {
		at += put_extension(bytes + at, types[(i + seed) % LEN(types)], NULL, 8);
		if (i == seed % 7)
			at += put_server_name(bytes + at, seed);
	}
	at += put_extension(bytes + at, 16, "\0\x0c\2h2\x08http/1.1", 14);
	at += put_extension(bytes + at, 13, "\0\x10\4\3\x08\4\4\1\5\3\x08\5\5\1\x08\6\6\1", 18);
	at += put_extension(bytes + at, 51, NULL, 38);
	at += put_extension(bytes + at, 43, "\4\3\4\3\3", 5);
	put_extension(bytes + at, 21, NULL, SIZE - at - 4);
}

static void http_write(uint8_t *bytes, uint32_t seed)
{
	int n = snprintf((char *)bytes, SIZE,
		"GET /shop/item-%u?colour=red&size=%u HTTP/1.1\r\nHost: www-%08x.example.org\r\n"
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
		"Chrome/120.0.0.0 Safari/537.36\r\nAccept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n"
		"Accept-Language: de,en-GB;q=0.7,en;q=0.3\r\nAccept-Encoding: gzip, deflate, br\r\n"
		"Connection: Upgrade\r\nUpgrade: websocket\r\nReferer: http://www.example.org/%u\r\nCookie: session=",
		seed % 100, seed % 7, seed, seed);

	for (; n < SIZE - 4; n++)
		bytes[n] = (uint8_t)('a' + draw() % 26);
	memcpy(bytes + SIZE - 4, "\r\n\r\n", 4);
}

static void ssh_write(uint8_t *bytes, uint32_t seed)
{
	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = (uint8_t)draw();
	memcpy(bytes, "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", 32);
}

static void redis_write(uint8_t *bytes, uint32_t seed)
{
	memset(bytes, 'x', SIZE);
	snprintf((char *)bytes, SIZE, "*3\r\n$3\r\nSET\r\n$8\r\n%08x\r\n$990\r\n", seed);
}

static void openvpn_write(uint8_t *bytes, uint32_t seed)
{
	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = (uint8_t)draw();
	memcpy(bytes, "\0\x2a\x38", 3);
	memcpy(bytes + 31, "\0\0\0\1\x6b\2\x4d\x18\0\0\0\0\0", 13);
}

static void noise_write(uint8_t *bytes, uint32_t seed)
{
	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = (uint8_t)draw();
	bytes[0] |= 0xc0; /* of no protocol's making */
}

static void zeros_write(uint8_t *bytes, uint32_t seed)
{
	memset(bytes, 0, SIZE);
}

static void text_write(uint8_t *bytes, uint32_t seed)
{
	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = (uint8_t)(draw() % 6 ? 'a' + draw() % 26 : ' ');
	bytes[0] = 'Q';
}

static const struct evidence_kind {
	const char *name;
	write_function *write;
	const char *protocol; /* NULL: none */
} kinds[] = {
	{ "tls", tls_write, "tls" },
	{ "http", http_write, "http" },
	{ "ssh", ssh_write, "ssh" },
	{ "redis", redis_write, "redis" },
	{ "openvpn", openvpn_write, "openvpn" },
	{ "noise", noise_write, NULL },
	{ "zeros", zeros_write, NULL },
	{ "text", text_write, NULL },
};

/* One kind of evidence under one order of services. */
struct bench {
	const struct evidence_kind *kind;
	const struct mux *mux;
	bool ja4;
	uint8_t bytes[CONNECTIONS][SIZE];
	double ns[ROUNDS];
};

static void *allocate(size_t n, size_t size)
{
	void *at = calloc(n, size);

	if (!at)
		abort();
	return at;
}

static void service_add(struct mux *mux, uint32_t protocol)
{
	struct rule *rule = &mux->rules[mux->n];

	rule->service = (uint32_t)mux->n;
	mux->numbers[mux->n] = protocol;
	rule->protocols = &mux->numbers[mux->n++];
	rule->n_protocols = 1;
}

/* Before the services of the protocols, some that ask for what probes learn and find it not. */
static void mux_init(struct mux *mux, bool is_reverse, bool ja4)
{
	static const char *const names[] = { "*.nobody.example", "/nothing", "nothing" };
	static const struct {
		enum attribute attribute;
		const char *const *name;
	} asked[] = { { ATTRIBUTE_JA4, &names[2] }, { ATTRIBUTE_SNI, &names[0] }, { ATTRIBUTE_HOST, &names[0] },
		{ ATTRIBUTE_PATH, &names[1] }, { ATTRIBUTE_UPGRADE, &names[2] } };

	mux->protocols = allocate(n_probes, sizeof(*mux->protocols));
	mux->rules = allocate(n_probes + LEN(asked), sizeof(*mux->rules));
	mux->numbers = allocate(n_probes + LEN(asked), sizeof(*mux->numbers));
	for (size_t i = ja4 ? 0 : 1; i < LEN(asked); i++) {
		struct rule *rule = &mux->rules[mux->n];
		rule->service = (uint32_t)mux->n++;
		rule->attribute[asked[i].attribute].names = asked[i].name;
		rule->attribute[asked[i].attribute].count = 1;
	}
	for (size_t i = 0; i < n_probes; i++)
		mux->protocols[i] = (struct protocol){ .name = probes[i].name, .probe = &probes[i] };
	for (size_t i = 0; i < n_probes; i++) {
		uint32_t number = (uint32_t)(is_reverse ? n_probes - 1 - i : i);
		if (strcmp(probes[number].name, "tcpmux") != 0 && strcmp(probes[number].name, "any") != 0)
			service_add(mux, number);
	}
	/* Any word on a line of its own is a name of its. `any` would spare the others the work. */
	service_add(mux, (uint32_t)(probe_find("tcpmux") - probes));
	if (decider_new(&mux->decider, NULL, mux->protocols, n_probes, mux->rules, mux->n) != 0)
		abort();
}

static bool answer_is_right(const struct bench *bench, const struct outcome *outcome)
{
	if (!bench->kind->protocol)
		return outcome->yes == SERVICE_NONE;
	return outcome->yes != SERVICE_NONE && outcome->protocol != PROTOCOL_NONE &&
		strcmp(bench->mux->protocols[outcome->protocol].name, bench->kind->protocol) == 0;
}

/* Returns false if an answer is wrong. */
static bool bench_run(struct bench *bench, size_t round)
{
	static struct findings findings;
	struct timespec begin, end;
	size_t n_wrong = 0;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
	for (size_t k = 0; k < REPEATS; k++) {
		for (size_t i = 0; i < CONNECTIONS; i++) {
			struct outcome outcome;
			struct evidence evidence = { .bytes = bench->bytes[i], .len = SIZE };
			decider_ask(bench->mux->decider, &evidence, &findings, &outcome);
			n_wrong += !answer_is_right(bench, &outcome);
		}
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
	bench->ns[round] = ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) /
		(REPEATS * CONNECTIONS);
	return n_wrong == 0;
}

static int ns_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(void)
{
	static struct mux muxes[4]; /* reverse or not, JA4 asked for or not */
	static struct bench benches[LEN(kinds) * 4];
	double medians[LEN(benches)];

	for (int i = 0; i < 4; i++)
		mux_init(&muxes[i], i % 2, i / 2);
	for (size_t i = 0; i < LEN(benches); i++) {
		benches[i].kind = &kinds[i / 4];
		benches[i].mux = &muxes[i % 4];
		benches[i].ja4 = i / 2 % 2;
		for (uint32_t k = 0; k < CONNECTIONS; k++)
			benches[i].kind->write(benches[i].bytes[k], draw());
	}
	for (size_t round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < LEN(benches); i++)
			if (!bench_run(&benches[i], round)) {
				fprintf(stderr, "probe_bench: a wrong answer: %s\n", benches[i].kind->name);
				return 1;
			}
	for (size_t i = 0; i < LEN(benches); i++) {
		struct bench *bench = &benches[i];
		qsort(bench->ns, ROUNDS, sizeof(bench->ns[0]), ns_compare);
		medians[i] = bench->ns[ROUNDS / 2];
		printf("{\"kind\": \"probes\", \"evidence\": \"%s\", \"order\": \"%s\", \"ja4\": %s, \"ns\": %.0f}\n",
			bench->kind->name, i % 2 ? "reverse" : "table", bench->ja4 ? "true" : "false", medians[i]);
	}
	qsort(medians, LEN(medians), sizeof(medians[0]), ns_compare);
	printf("{\"kind\": \"probes\", \"evidence\": \"all\", \"probes\": %zu, \"ns\": %.0f}\n", n_probes,
		medians[LEN(medians) / 2]);
	return 0;
}
