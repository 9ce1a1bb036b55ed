/* What lines of a log add up to: by service, end, rule, network of the client, and time. */
#pragma once
#include "log_line.h"
#include <stdio.h>

#define TALLY_KEY_MAX  64
#define TALLY_MOST     1000000 /* entries of one kind; further ones are counted as one, "(others)" */
#define TALLY_MEASURED 4096    /* services whose times are kept */
#define TALLY_SUBS     16 /* buckets of times from one power of two to the next: percentiles are at most 1/16 too large */
#define TALLY_POWERS   48
#define TALLY_BUCKETS  (TALLY_SUBS * TALLY_POWERS)

enum tally_kind { TALLY_SERVICE, TALLY_END, TALLY_RULE, TALLY_NETWORK, TALLY_MINUTE, TALLY_KINDS };

struct tally_times {
	uint64_t n;
	uint32_t buckets[TALLY_BUCKETS];
};

struct tally_entry {
	char key[TALLY_KEY_MAX];
	uint64_t count, bytes_up, bytes_down;
	struct tally_times *decided, *total; /* of services; NULL: nothing was measured */
};

struct tally_group {
	struct tally_entry *entries;
	size_t n, size;
	uint32_t *places; /* of entries, plus 1, by the hash of their key; 0: free */
	size_t n_places;  /* a power of two */
};

struct tally {
	uint64_t connections, others, broken; /* lines */
	uint64_t bytes_up, bytes_down;
	char first[TALLY_KEY_MAX], last[TALLY_KEY_MAX]; /* minutes, as texts; "": no line has a time */
	struct tally_group groups[TALLY_KINDS];
};

/* 0 or -ENOMEM. */
int tally_line(struct tally *tally, const char *line, size_t len);
void tally_fini(struct tally *tally);

/* In order: most first, or by key. */
void tally_sort(struct tally_group *group, bool by_key);
/* Minutes become longer intervals, until there are at most `most`: the minute, ten, the hour, the day. In order of time. */
void tally_coarsen(struct tally_group *group, size_t most);
/* In microseconds: `percent` of them are as short, or shorter. 0: there are none. */
double tally_percentile(const struct tally_times *times, unsigned percent);

/* With the `top` networks that have most. */
void tally_table(struct tally *tally, size_t top, FILE *to);
void tally_json(struct tally *tally, size_t top, FILE *to);
