/* How long sessions of a service took, and how much they carried: fixed buckets, the same for all services. A histogram is in a worker's
 * part of the counters (counters.h), which that worker alone writes. */
#pragma once
#include <stdatomic.h>
#include <stdint.h>

enum histogram_kind {
	HISTOGRAM_DECISION, /* from accept to the decision */
	HISTOGRAM_CONNECT,  /* from the decision to the connection to a backend */
	HISTOGRAM_ANSWER,   /* from the decision to the first byte of the answer */
	HISTOGRAM_SESSION,  /* from accept to the end */
	HISTOGRAM_BYTES,    /* of a session that was relayed, both ways together */
	HISTOGRAMS
};

#define HISTOGRAM_BOUNDS 16

/* Times are in microseconds. */
struct histogram {
	_Atomic uint64_t buckets[HISTOGRAM_BOUNDS + 1]; /* the last: above all bounds */
	_Atomic uint64_t sum;
};

/* Upper bounds, which belong to their buckets. */
extern const uint64_t histogram_bounds[HISTOGRAMS][HISTOGRAM_BOUNDS];
extern const char *const histogram_names[HISTOGRAMS]; /* "decision" */

/* The owner's; plain loads and stores. */
void histogram_observe(struct histogram *histogram, enum histogram_kind kind, uint64_t value);
