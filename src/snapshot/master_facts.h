/* What only the master knows of a snapshot, in memory that it shares with the exporter: the master writes, the exporter reads, and no
 * word is exchanged. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct snapshot;

#define FACTS_GENERATIONS 16
#define FACTS_WORKERS     256

struct master_facts {
	_Atomic uint32_t edition; /* odd while it is written */
	struct master_facts_content {
		int64_t pid, since, reloading_since, ending_since;
		uint64_t programs, descriptors;
		uint32_t state;
		bool serves; /* a policy is in force */
		uint32_t n_generations, n_workers;
		struct {
			uint32_t state, n_workers;
		} generations[FACTS_GENERATIONS];
		struct {
			int64_t pid;
			bool is_ready;
		} workers[FACTS_WORKERS]; /* of all generations, in their order */
	} content;
};

/* What does not fit (more generations that retire) is left out. */
void master_facts_write(struct master_facts *facts, const struct snapshot *snapshot, bool serves);

/* Into a snapshot that is empty; `file` is the configuration's. 0 or -ENOMEM. */
int master_facts_read(const struct master_facts *facts, const char *file, struct snapshot *ret, bool *ret_serves);
