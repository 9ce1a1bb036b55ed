/* Buckets of histograms. Refuses nothing: a value above all bounds has a bucket too. Owns nothing. */
#include "histogram.h"
#include "counters.h"

/* clang-format off */
#define LATENCIES { 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, \
	1000000, 2500000, 5000000, 10000000 }

const uint64_t histogram_bounds[HISTOGRAMS][HISTOGRAM_BOUNDS] = {
	[HISTOGRAM_DECISION] = LATENCIES,
	[HISTOGRAM_CONNECT] = LATENCIES,
	[HISTOGRAM_ANSWER] = LATENCIES,
	[HISTOGRAM_SESSION] = { 10000, 30000, 100000, 300000, 1000000, 3000000, 10000000, 30000000, 100000000, 300000000,
		1000000000, 3000000000, 10000000000, 30000000000, 100000000000, 300000000000 },
	[HISTOGRAM_BYTES] = { 1 << 6, 1 << 8, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26,
		1 << 28, 1 << 30, UINT64_C(1) << 32, UINT64_C(1) << 34, UINT64_C(1) << 36 },
};
/* clang-format on */

const char *const histogram_names[HISTOGRAMS] = {
	[HISTOGRAM_DECISION] = "decision",
	[HISTOGRAM_CONNECT] = "connect",
	[HISTOGRAM_ANSWER] = "answer",
	[HISTOGRAM_SESSION] = "session",
	[HISTOGRAM_BYTES] = "bytes",
};

void histogram_observe(struct histogram *histogram, enum histogram_kind kind, uint64_t value)
{
	const uint64_t *bounds = histogram_bounds[kind];
	unsigned i = 0;

	while (i < HISTOGRAM_BOUNDS && value > bounds[i])
		i++;
	counter_add(&histogram->buckets[i], 1);
	counter_add(&histogram->sum, value);
}
