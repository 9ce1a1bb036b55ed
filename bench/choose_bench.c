/* What it costs to choose one of 1,000 backends, by balancer: all up, and with every tenth down; counted there and given back. 200
 * connections are open meanwhile. Prints one JSON object a line, in CPU time: {"kind": "choose", "balance", "backends", "down", "ns",
 * "counted"}: the choice alone, and with the count over four workers. Medians of rounds in which the balancers take turns. */
#include "choose.h"
#include "hash.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BACKENDS 1000
#define WORKERS  4
#define ROUNDS   21
#define REPEATS  2000
#define OPEN     200
#define NOW_US   1000000000ULL

struct bench {
	struct target target;
	struct backend backends[BACKENDS];
	struct backend_table *table;
	struct limits *limits;
	struct chooser *chooser;
	double ns[ROUNDS], counted_ns[ROUNDS];
};

static double cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void bench_init(struct bench *bench, enum balance_kind kind, bool some_are_down)
{
	bench->target = (struct target){ .connect = { bench->backends, BACKENDS, .balance = kind } };
	assert(limits_new(&bench->limits, &(int){ -1 }) == 0);
	assert(backend_table_new(&bench->table, &(int){ -1 }) == 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		limits_begin(bench->limits, i);
		backend_table_begin(bench->table, i);
	}
	for (unsigned i = 0; i < BACKENDS; i++) {
		char text[32];
		snprintf(text, sizeof(text), "10.0.%u.%u:80", i / 250, i % 250 + 1);
		bench->backends[i] =
			(struct backend){ .text = "", .name = BACKEND_NO_NAME, .weight = (uint16_t)(1 + i % 3) };
		assert(address_parse(&bench->backends[i].address, text) == 0);
		if (some_are_down && i % 10 == 0) {
			uint64_t service = hash_name("web");
			uint64_t key = backend_key(service, TRANSPORT_STREAM, &bench->backends[i].address);
			uint32_t place = backend_table_place(bench->table, service, key);
			backend_health_failed(&backend_table_at(bench->table, place)->health, 0, false, NOW_US);
		}
	}
	bench->chooser = chooser_new(&(struct chooser_of){
		.service = "web", .target = &bench->target, .table = bench->table, .limits = bench->limits });
	assert(bench->chooser);
	for (unsigned i = 0; i < OPEN; i++) {
		struct choice choice = { .chooser = bench->chooser, .hash = balance_mix(i) };
		int error = choose_next(&choice, NOW_US);
		assert(error == 0);
		(void)error;
	}
}

static void bench_round(struct bench *bench, unsigned round)
{
	struct choice choices[16];
	double chosen_ns = 0, begun_ns = cpu_ns();

	for (unsigned i = 0; i < REPEATS; i++) {
		struct choice *choice = &choices[i % 16];
		*choice = (struct choice){ .chooser = bench->chooser, .hash = balance_mix(round * REPEATS + i) };
		if (choose_next(choice, NOW_US) < 0)
			abort();
		choose_leave(choice, NOW_US);
	}
	bench->counted_ns[round] = (cpu_ns() - begun_ns) / REPEATS;
	/* What counting takes of it: the same, of one backend. */
	struct choice *choice = &choices[0];
	begun_ns = cpu_ns();
	for (unsigned i = 0; i < REPEATS; i++) {
		backend_table_enter(bench->table, bench->limits, 0, choice->taken.place, choice->taken.key, 0);
		backend_table_leave(bench->table, 0, choice->taken.place);
	}
	chosen_ns = bench->counted_ns[round] - (cpu_ns() - begun_ns) / REPEATS;
	bench->ns[round] = chosen_ns > 0 ? chosen_ns : 0;
}

static int compare(const void *a, const void *b)
{
	double one = *(const double *)a, other = *(const double *)b;
	return (one > other) - (one < other);
}

int main(void)
{
	static struct bench benches[BALANCES * 2];

	for (unsigned i = 0; i < BALANCES * 2; i++)
		bench_init(&benches[i], (enum balance_kind)(i / 2), i % 2);
	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned i = 0; i < BALANCES * 2; i++)
			bench_round(&benches[i], round);
	for (unsigned i = 0; i < BALANCES * 2; i++) {
		struct bench *bench = &benches[i];
		qsort(bench->ns, ROUNDS, sizeof(double), compare);
		qsort(bench->counted_ns, ROUNDS, sizeof(double), compare);
		printf("{\"kind\": \"choose\", \"balance\": \"%s\", \"backends\": %d, \"down\": %d, \"ns\": %.0f, "
		       "\"counted\": %.0f}\n",
			balances[i / 2]->name, BACKENDS, i % 2 ? BACKENDS / 10 : 0, bench->ns[ROUNDS / 2],
			bench->counted_ns[ROUNDS / 2]);
	}
	return 0;
}
