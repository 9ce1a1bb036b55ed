/* How shared limits lie in memory (shared_limits.c, limits_transit.c). */
#pragma once
#include "limits_transit.h"
#include "shared_limits.h"
#include "shared_memory.h"
#include <stdatomic.h>
#include <stdint.h>

/* What is no entry, among the keys. */
#define KEY_ALL       0
#define KEY_UNDECIDED 1

#define TRANSIT_KEYS 8

struct entry {
	_Atomic uint64_t key; /* 0: never used, and nothing behind it was ever pushed on from here */
	_Atomic uint32_t live;
};

struct transit_record {
	_Alignas(64) _Atomic uint64_t keys[TRANSIT_KEYS]; /* 0: none */
};

struct slot {
	_Alignas(SHARED_PART) _Atomic uint32_t taken[LIMITS_SLOTS_MAX]; /* outlives the worker: limits_forget() */
	_Alignas(SHARED_PART) _Atomic uint32_t live;                    /* connections in all */
	_Atomic uint32_t undecided;                                     /* of these */
	_Alignas(64) _Atomic uint64_t transit; /* limits_transit.c: all of it changes at once */
	struct transit_record records[LIMITS_TRANSIT_MAX];
	_Alignas(64) struct entry entries[LIMITS_ENTRIES];
};

struct rate {
	_Atomic uint64_t key;
	_Atomic uint64_t full_us; /* when nothing of it is used any more */
};

struct limits {
	uint64_t seed[2];
	uint32_t most;            /* that a slot is believed to have live: no process has more descriptors */
	_Atomic uint32_t n_slots; /* slots that were ever used are below */
	struct rates {            /* all above is the master's to write, these anybody's */
		_Alignas(SHARED_PART) struct rate of[LIMITS_RATES];
	} rates;
	struct slot slots[LIMITS_SLOTS_MAX];
};

/* Slots that were ever used. */
uint32_t limits_slots(const struct limits *limits);
