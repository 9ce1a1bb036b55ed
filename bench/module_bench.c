/* What a module's probes make of a client's first bytes, and what that costs: module_bench MODULE FILE...
 *
 * For each file: the names that say YES to all of it, the length of the first beginning to which they did,
 * and the time of one decision for which every probe of the module is asked, in one piece and byte by byte. A
 * verdict that is taken back when more bytes come is said and makes the exit status 1. */
#include "module.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS     200
#define BYTES_MOST 2048

static struct module_use use;
static struct findings findings;
static uint8_t bytes[BYTES_MOST];

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static long resident_kib(void)
{
	long pages = 0, resident = 0;
	FILE *from = fopen("/proc/self/statm", "re");

	if (from && fscanf(from, "%ld %ld", &pages, &resident) != 2)
		resident = 0;
	if (from)
		fclose(from);
	return resident * 4;
}

static int compare_u64(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Every probe's verdict, and the time that they took. */
static uint64_t decide(size_t len, enum verdict *verdicts)
{
	struct evidence evidence = { .bytes = bytes, .len = len };

	findings_reset(&findings);
	uint64_t begin = now_ns();
	for (size_t i = 0; i < use.n_probes; i++)
		verdicts[i] = module_probe_run(&use.probes[i], &evidence, &findings);
	return now_ns() - begin;
}

/* Other connections in between, until nothing of this one can be remembered. */
static void forget(enum verdict *verdicts)
{
	static uint64_t salt;
	uint8_t kept[8];

	memcpy(kept, bytes, sizeof(kept));
	for (int i = 0; i < 64; i++) {
		memset(bytes, 0xee, 4);
		memcpy(bytes + 4, &(uint32_t){ (uint32_t)++salt }, 4);
		decide(8, verdicts);
	}
	memcpy(bytes, kept, sizeof(kept));
}

static int file_measure(const char *path)
{
	enum verdict *settled = calloc(use.n_probes, sizeof(*settled)), *one = calloc(use.n_probes, sizeof(*one));
	size_t *since = calloc(use.n_probes, sizeof(*since));
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	FILE *from = fopen(path, "re");
	uint64_t at_once[ROUNDS], in_pieces = 0;
	int taken_back = 0, n_yes = 0, n_more = 0;

	if (!settled || !one || !since || !from)
		exit(2);
	size_t len = fread(bytes, 1, sizeof(bytes), from);
	fclose(from);
	for (int i = 0; i < ROUNDS; i++) {
		forget(one);
		at_once[i] = decide(len, one);
	}
	qsort(at_once, ROUNDS, sizeof(at_once[0]), compare_u64);
	forget(one);
	for (size_t i = 0; i < use.n_probes; i++)
		settled[i] = VERDICT_MORE;
	for (size_t cut = 1; cut <= len; cut++) {
		in_pieces += decide(cut, one);
		for (size_t i = 0; i < use.n_probes; i++) {
			taken_back += settled[i] != VERDICT_MORE && one[i] != settled[i];
			since[i] = one[i] == settled[i] ? since[i] : cut;
			settled[i] = one[i];
		}
	}
	printf("%-26s %5zu %8.1f %8.1f  ", name, len, (double)at_once[ROUNDS / 2] / 1000, (double)in_pieces / 1000);
	for (size_t i = 0; i < use.n_probes; i++) {
		n_more += settled[i] == VERDICT_MORE;
		if (settled[i] == VERDICT_YES)
			printf("%s%s@%zu", n_yes++ ? "," : "", use.probes[i].name, since[i]);
	}
	printf("%s%s\n", n_yes ? "" : n_more ? "(more)" : "(no)", taken_back ? "  TAKEN BACK" : "");
	free(settled);
	free(one);
	free(since);
	return taken_back;
}

int main(int argc, char **argv)
{
	char error[MODULE_ERROR_MAX] = "usage: module_bench MODULE FILE...";
	struct arena *arena = arena_new();
	int taken_back = 0;

	use.path = argc > 2 ? argv[1] : "";
	uint64_t begin = now_ns();
	if (argc < 3 || module_inspect(&use, &(struct module_inspection){ 0 }, arena, error, sizeof(error)) < 0) {
		fprintf(stderr, "%s\n", error);
		return 2;
	}
	uint64_t inspected = now_ns();
	long before = resident_kib();
	if (module_bind(&use, 1, error, sizeof(error)) < 0) {
		fprintf(stderr, "%s\n", error);
		return 2;
	}
	uint64_t loaded = now_ns();
	printf("%zu probes; looked at in %.1f ms, loaded in %.1f ms and %ld KiB\n", use.n_probes,
		(double)(inspected - begin) / 1e6, (double)(loaded - inspected) / 1e6, resident_kib() - before);
	printf("%-26s %5s %8s %8s  %s\n", "bytes of", "n", "us", "us cut", "names, and after how many bytes");
	for (int i = 2; i < argc; i++)
		taken_back += file_measure(argv[i]);
	arena_free(arena);
	return taken_back > 0;
}
