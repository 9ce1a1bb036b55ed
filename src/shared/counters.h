/* What has been counted since usher was started, over all workers of all generations: one anonymous shared mapping, made by
 * the master before the first fork. Each worker writes a part of its own, without locks; a sum is what all parts say at that
 * moment. Totals outlive the worker that counted them; what it had open does not.
 *
 * Counters have names. Fixed size: past COUNTERS_ENTRIES names a worker counts the rest together, under no name. */
#pragma once
#include "histogram.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COUNTERS_ENTRIES 4096

/* Services have histograms up to this one of the policy, in the order of the file; under the names of former policies others may have some
 * still, in a table of so many. */
#define COUNTERS_SERVICES_MEASURED 1024
#define COUNTERS_MEASURED          1536

/* Names are unique among their kind. */
enum counter_kind {
	COUNTER_LISTENER, /* connections that came in there */
	COUNTER_SERVICE,  /* that were decided for it; failed: its delivery did */
	COUNTER_END,      /* that ended so, as the log says it */
	COUNTER_RULE,     /* that were refused by this rule of access, as the log says it */
	COUNTER_LIMIT,    /* that were shed, as they came in or undecided */
	COUNTER_DATAGRAM, /* datagrams, by what became of them */
};

struct counter {
	_Atomic uint64_t key;
	_Atomic uint64_t total, failed, bytes_up, bytes_down;
	_Atomic uint32_t open;
};

/* The histograms of a service. */
struct measures {
	_Atomic uint64_t key; /* as a counter's */
	struct histogram of[HISTOGRAMS];
};

/* A sum over all workers. */
struct counted {
	uint64_t total, failed, bytes_up, bytes_down, open;
};

struct measured {
	uint64_t buckets[HISTOGRAM_BOUNDS + 1], sum;
};

struct counters;

/* 0 or -errno. Address space for every slot; memory only for what is used. `fd` as shared_memory_map() has it. */
int counters_new(struct counters **ret, int *fd);
size_t counters_size(void);

/* As a worker that has the slot sees them: it can write there alone, and one that is no slot's nowhere. 0 or -errno. */
int counters_view(int fd, unsigned slot, struct counters **ret);
void counters_free(struct counters *counters); /* accepts NULL */

/* The master's, before a worker gets the slot. */
void counters_begin(struct counters *counters, unsigned slot);

/* This worker's own; never NULL, and always the same for the same name. */
struct counter *counter_get(struct counters *counters, unsigned slot, enum counter_kind kind, const char *name);

/* The same of a service's histograms. NULL: all places are taken. */
struct measures *counters_measures(struct counters *counters, unsigned slot, const char *service);

/* The owner's ways to count; plain loads and stores, nobody else writes. */
void counter_add(_Atomic uint64_t *value, uint64_t n);
void counter_open(struct counter *counter);
void counter_close(struct counter *counter);
void counter_open_again(struct counter *counter); /* counted in all already */

/* The master's, when the worker that had the slot has ended, before another gets it. */
void counters_forget_open(struct counters *counters, unsigned slot);

/* What a name is found by; never 0. */
uint64_t counter_key(enum counter_kind kind, const char *name);
uint64_t counter_own_key(const struct counter *counter); /* NULL: 0 */

/* The histograms of a service, HISTOGRAMS of them. False: there are none, and all is 0. */
bool counters_measured(const struct counters *counters, const char *service, struct measured ret[HISTOGRAMS]);

/* Without what is on its way from one worker to another: shared_sum(). */
void counters_sum(const struct counters *counters, enum counter_kind kind, const char *name, struct counted *ret);
