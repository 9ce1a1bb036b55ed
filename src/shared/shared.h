/* What is shared by all workers of all generations, made by the master before the first fork.
 *
 * The master alone can write all of it. Nothing of it is inherited by fork: a worker maps what it may write, its own slot, and all others
 * to be read. What bounds a loop or says where something is lies in what only the master writes, or in no shared memory at all. */
#pragma once
#include "affinity.h"
#include "backend_table.h"
#include "counters.h"
#include "live_list.h"
#include "pace_table.h"
#include "shared_limits.h"
#include "shared_memory.h"
#include <stdatomic.h>
#include <stdint.h>

/* Slots of the page for helpers, which write none of limits and counters: resolvers and checkers do not see these, the exporter reads them. */
#define SHARED_RESOLVER LIMITS_SLOTS_MAX
#define SHARED_EXPORTER (LIMITS_SLOTS_MAX + 1)
#define SHARED_CHECKER  BACKEND_CHECKER
#define SHARED_HELPERS  3

struct shared_slot {
	_Alignas(SHARED_PART) _Atomic uint32_t running; /* the module's function that a worker is in: module_hooks */
	_Atomic uint32_t refused;                       /* the system call that ended it: sandbox_enter_worker() */
};

struct shared_page {
	/* Any worker's to write: a number for the log, and */
	_Alignas(SHARED_PART) _Atomic uint64_t next_connection;
	struct pace_table paces;
	struct shared_slot slots[LIMITS_SLOTS_MAX + SHARED_HELPERS];
};

struct shared {
	struct shared_page *page;
	struct limits *limits;
	struct counters *counters;
	struct affinity *affinity;
	struct backend_table *backends;
	struct live_list *live;
	int page_fd, limits_fd, counters_fd, affinity_fd, backends_fd, live_fd; /* -1: none, or none yet */
};

#define NO_SHARED                                                                                                    \
	((struct shared){ .page_fd = -1,                                                                             \
		.limits_fd = -1,                                                                                     \
		.counters_fd = -1,                                                                                   \
		.affinity_fd = -1,                                                                                   \
		.backends_fd = -1,                                                                                   \
		.live_fd = -1 })

/* The master's: what is behind the descriptors, and what has none is new. 0 or -errno; shared_close() in both cases. */
int shared_open(struct shared *shared);
void shared_close(struct shared *shared);

/* In a child that was forked, before it closes descriptors: as the worker that has the slot sees it, or a helper (SHARED_RESOLVER,
 * SHARED_EXPORTER, SHARED_CHECKER).
 * Its descriptors are -1. 0 or -errno. */
int shared_view(const struct shared *from, unsigned slot, struct shared *ret);

/* The master's: before a worker gets the slot, and when it has ended. What it still counted is not there any more. */
void shared_begin(struct shared *shared, unsigned slot);
void shared_forget(struct shared *shared, unsigned slot);

/* The counters of a name over all workers; connections that move from one to another are open. */
void shared_sum(const struct shared *shared, enum counter_kind kind, const char *name, struct counted *ret);
