/* What the exporter remembers of the last minutes, for charts: a ring of samples in memory that outlives it. Whoever reads it believes no
 * number in it that says where something is. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct snapshot;

#define HISTORY_EACH_S  5
#define HISTORY_SAMPLES 181 /* a quarter of an hour between the first and the last */

struct sample {
	int64_t at_s; /* of the wall clock */
	uint64_t open, accepted, turned_away, bytes;
};

struct history {
	uint32_t n, next; /* the oldest is at `next` once it is full */
	struct sample samples[HISTORY_SAMPLES];
};

/* One more. */
void history_add(struct history *history, const struct snapshot *snapshot, int64_t now_s);

/* The last ones without a gap, oldest first. How many. */
size_t history_read(const struct history *history, struct sample ret[HISTORY_SAMPLES]);

/* Of totals that grow: by how much each second between two samples. */
double history_rate(uint64_t before, uint64_t after, const struct sample *from, const struct sample *to);
