/* What a decision costs with 10, 100, 1,000 and 10,000 services that differ in a literal, a server name or a
 * wildcard, and a look-up in an access list of as many networks ("cidr"). Prints one JSON object a line: {"kind", "services", "ns"}, the median of rounds in which the
 * sizes take turns.
 *
 * Each case decides the same number of different connections, spread over all services, so that no size has
 * its evidence or its branches warmer than another. Every answer is checked. Exits 1 when one is wrong. */
#include "../tests/decide.h"
#include "address_set.h"
#include "arena.h"
#include "decider.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS      21
#define REPEATS     200
#define CONNECTIONS 64
#define SERVICES    10000
#define LEN(array)  (sizeof(array) / sizeof((array)[0]))

enum kind { KIND_LITERAL, KIND_SNI, KIND_WILDCARD, KIND_CIDR, KIND_COUNT };
static const char *const kind_names[KIND_COUNT] = { "literal", "sni", "wildcard", "cidr" };
static const size_t sizes[] = { 10, 100, 1000, SERVICES };

struct bench {
	enum kind kind;
	size_t n;
	struct decider *decider;
	struct protocol *protocols;
	struct literal *literals;
	const struct address_set *networks;
	double ns[ROUNDS];
	struct {
		uint8_t bytes[512];
		size_t len;
		uint32_t service;
		struct address client;
	} connection[CONNECTIONS];
};

static void *allocate(size_t n, size_t size)
{
	void *at = calloc(n, size);

	if (!at)
		abort();
	return at;
}

/* Spreads the numbers: neighbours in the file do not look alike. */
static uint32_t scatter(uint32_t service)
{
	return service * UINT32_C(2654435761);
}

static char *text_of(enum kind kind, uint32_t service)
{
	static const char *const formats[] = { "HELO %08x-%u ", "host-%08x-%u.example.org",
		"*.zone-%08x-%u.example.org" };
	char text[100];

	snprintf(text, sizeof(text), formats[kind], scatter(service), service);
	char *copy = strdup(text);
	if (!copy)
		abort();
	return copy;
}

static size_t put_u16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
	return 2;
}

/* As a client says it: 32 bytes of session id, 31 cipher suites, groups and keys, then the name. */
static size_t hello_write(uint8_t *dst, const char *name)
{
	size_t len = strlen(name), at = 9;

	memset(dst, 0, 512);
	at += put_u16(dst + at, 0x303) + 32;
	dst[at++] = 32;
	at += 32;
	at += put_u16(dst + at, 62) + 62;
	dst[at++] = 1;
	dst[at++] = 0;
	size_t extensions = at;
	at += 2;
	at += put_u16(dst + at, 10);
	at += put_u16(dst + at, 16) + 16;
	at += put_u16(dst + at, 51);
	at += put_u16(dst + at, 38) + 38;
	at += put_u16(dst + at, 0);
	at += put_u16(dst + at, len + 5);
	at += put_u16(dst + at, len + 3);
	dst[at++] = 0;
	at += put_u16(dst + at, len);
	memcpy(dst + at, name, len);
	at += len;
	at += put_u16(dst + at, 16);
	at += put_u16(dst + at, 5);
	at += put_u16(dst + at, 3);
	memcpy(dst + at, "\2h2", 3);
	at += 3;
	put_u16(dst + extensions, at - extensions - 2);
	memcpy(dst, "\x16\3\1", 3);
	put_u16(dst + 3, at - 5);
	dst[5] = 1;
	put_u16(dst + 7, at - 9);
	return at;
}

static void connections_write(struct bench *bench, char *const *texts)
{
	for (size_t i = 0; i < CONNECTIONS; i++) {
		uint32_t service = (uint32_t)(i * (bench->n - 1) / (CONNECTIONS - 1));
		const char *text = texts[service];
		char name[120];
		bench->connection[i].service = service;
		if (bench->kind == KIND_LITERAL) {
			bench->connection[i].len = (size_t)snprintf((char *)bench->connection[i].bytes,
				sizeof(bench->connection[i].bytes), "%sand what follows\r\n", text);
			continue;
		}
		snprintf(name, sizeof(name), "%s%s", bench->kind == KIND_WILDCARD ? "www" : "",
			text + (bench->kind == KIND_WILDCARD));
		bench->connection[i].len = hello_write(bench->connection[i].bytes, name);
	}
}

static struct address address_of(uint32_t network, uint32_t host)
{
	struct address address = { .len = sizeof(address.in), .in.sin_family = AF_INET };

	address.in.sin_addr.s_addr = htonl(UINT32_C(0x0a000000) | (scatter(network) & 0xffff) << 8 | host);
	return address;
}

/* Different ones: scatter() is one to one in the lower bits too. The arena stays, as the texts of the others do. */
static void networks_init(struct bench *bench, size_t n)
{
	struct address_set *set = address_set_new();
	char text[64], why[ADDRESS_SET_WHY_MAX];

	bench->kind = KIND_CIDR;
	bench->n = n;
	for (uint32_t i = 0; i < n; i++) {
		struct address network = address_of(i, 0);
		uint32_t bits = ntohl(network.in.sin_addr.s_addr);
		snprintf(text, sizeof(text), "10.%u.%u.0/24", bits >> 16 & 0xff, bits >> 8 & 0xff);
		if (address_set_insert(set, text, why) < 0)
			abort();
	}
	bench->networks = address_set_keep(set, arena_new());
	address_set_free(set);
	for (uint32_t i = 0; i < CONNECTIONS; i++)
		bench->connection[i].client = address_of((uint32_t)(i * (n - 1) / (CONNECTIONS - 1)), 7);
}

/* Returns how many answers are wrong. */
static size_t bench_look_up(struct bench *bench)
{
	size_t n_wrong = 0;

	for (size_t i = 0; i < CONNECTIONS; i++)
		n_wrong += !address_set_contains(bench->networks, &bench->connection[i].client);
	return n_wrong;
}

static size_t bench_decide(struct bench *bench)
{
	static struct findings findings;
	size_t n_wrong = 0;

	for (size_t i = 0; i < CONNECTIONS; i++) {
		struct outcome outcome;
		struct evidence evidence = { bench->connection[i].bytes, bench->connection[i].len };
		decider_ask(bench->decider, &evidence, &findings, &outcome);
		n_wrong += outcome.yes != bench->connection[i].service || outcome.more != SERVICE_NONE;
	}
	return n_wrong;
}

static void bench_init(struct bench *bench, enum kind kind, size_t n)
{
	struct rule *rules = allocate(n, sizeof(*rules));
	uint32_t *numbers = allocate(n, sizeof(*numbers));
	char **texts = allocate(n, sizeof(*texts));
	size_t n_protocols = n_probes;

	bench->kind = kind;
	bench->n = n;
	bench->literals = allocate(n, sizeof(*bench->literals));
	bench->protocols = allocate(n_probes + n, sizeof(*bench->protocols));
	for (size_t i = 0; i < n_probes; i++)
		bench->protocols[i] = (struct protocol){ .name = probes[i].name, .probe = &probes[i] };
	for (uint32_t i = 0; i < n; i++) {
		texts[i] = text_of(kind, i);
		rules[i].service = i;
		if (kind == KIND_LITERAL) {
			bench->literals[i] = (struct literal){ (const uint8_t *)texts[i], strlen(texts[i]) };
			bench->protocols[n_protocols] = (struct protocol){
				.name = texts[i], .literals = &bench->literals[i], .n_literals = 1
			};
			numbers[i] = (uint32_t)n_protocols++;
			rules[i].protocols = &numbers[i];
			rules[i].n_protocols = 1;
		} else {
			rules[i].attribute[ATTRIBUTE_SNI].names = (const char *const *)&texts[i];
			rules[i].attribute[ATTRIBUTE_SNI].count = 1;
		}
	}
	connections_write(bench, texts);
	if (decider_new(&bench->decider, NULL, bench->protocols, n_protocols, rules, n) != 0)
		abort();
	/* The texts stay: literals belong to the protocols. */
	free(texts);
	free(numbers);
	free(rules);
}

/* Returns false if an answer is wrong. */
static bool bench_run(struct bench *bench, size_t round)
{
	struct timespec begin, end;
	size_t n_wrong = 0;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
	for (size_t k = 0; k < REPEATS; k++)
		n_wrong += bench->kind == KIND_CIDR ? bench_look_up(bench) : bench_decide(bench);
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
	static struct bench benches[KIND_COUNT][LEN(sizes)];

	for (int kind = 0; kind < KIND_COUNT; kind++)
		for (size_t i = 0; i < LEN(sizes); i++)
			if (kind == KIND_CIDR)
				networks_init(&benches[kind][i], sizes[i]);
			else
				bench_init(&benches[kind][i], (enum kind)kind, sizes[i]);
	for (size_t round = 0; round < ROUNDS; round++)
		for (int kind = 0; kind < KIND_COUNT; kind++)
			for (size_t i = 0; i < LEN(sizes); i++)
				if (!bench_run(&benches[kind][i], round)) {
					fprintf(stderr, "decide_bench: a wrong answer: %s, %zu services\n",
						kind_names[kind], sizes[i]);
					return 1;
				}
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		for (size_t i = 0; i < LEN(sizes); i++) {
			struct bench *bench = &benches[kind][i];
			qsort(bench->ns, ROUNDS, sizeof(bench->ns[0]), ns_compare);
			printf("{\"kind\": \"%s\", \"services\": %zu, \"ns\": %.1f}\n", kind_names[kind], sizes[i],
				bench->ns[ROUNDS / 2]);
		}
	}
	return 0;
}
