/* The backends of services, over all workers of all generations: how many connections each has, whether it takes any, what was counted.
 * A backend is one address of one service, by one transport; a name has as many as it has addresses. One mapping, made by the master
 * before the first fork:
 *
 *	orders      of the operator                          the master's to write
 *	keys        which backend has which place            any worker's
 *	published   connections at a time, the sum           any worker's
 *	backends    health, totals                           any worker's, and the checker's
 *	checks      what checks have found                   the checker's
 *	slots       connections at a time, of that worker    that worker's
 *
 * A backend is found by its key, from a place on that its service says, so that those of one service are neighbours. Past BACKEND_PLACES,
 * those that come are not counted and are always up (BACKEND_NONE).
 *
 * The master gives places back (backend_table_sweep()). While it does, no worker takes one: else two could take one each for the same backend.
 * Whoever counts looks behind that whether the place is still the backend's; the master looks behind its change whether somebody counts.
 *
 * Nothing is locked. What a worker that was taken over writes here makes others choose another backend of the same service, or is a wrong
 * number: what locates data is the reader's own key, and what bounds connections is the sum over slots. */
#pragma once
#include "address.h"
#include "backend_health.h"
#include "shared_limits.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BACKEND_PLACES 16384
#define BACKEND_NONE   UINT32_MAX

#define BACKEND_WEIGHT_MAX 256

/* Any worker's to write. */
struct backend_record {
	_Alignas(64) _Atomic uint64_t health;
	_Atomic uint64_t total, failed; /* connections that were made, and attempts that were not */
	_Atomic uint32_t latency_us;    /* until a connection is made, averaged; 0: not known */
	_Atomic uint32_t since_s;       /* of the wall clock: of the health; 0: from the start */
	_Atomic int32_t error;          /* -errno for which it went down */
	_Atomic uint32_t turn;          /* of the round-robin of which it is the first */
};

/* What the checker has found; its own to write. */
struct backend_check {
	_Alignas(64) _Atomic uint64_t at_us; /* when the last one had a result, by the monotonic clock; 0: none had */
	_Atomic uint64_t total, failed;      /* those that had a result, and those of them that failed */
	_Atomic uint64_t down_us;            /* when the backend was down with it the last time, likewise */
	_Atomic uint32_t latency_us;         /* of the last one that passed */
	_Atomic uint32_t result;             /* of the last one: check_result.h */
	_Atomic uint32_t in_row;             /* results like the last one */
	_Atomic uint32_t was_down;           /* whatever it was by, at the last one */
};

enum backend_mode { BACKEND_MODE_NONE, BACKEND_MODE_DRAIN, BACKEND_MODE_DOWN, BACKEND_MODES };

/* What the operator wants of it while usher runs; the master's to write. */
struct backend_order {
	_Atomic uint32_t word;    /* enum backend_mode, and the weight + 1 above it; 0: nothing */
	_Atomic uint32_t said;    /* a digest of what the file said of it then */
	_Atomic uint32_t since_s; /* of the wall clock: of the mode */
};

struct backend_table;

/* 0 or -errno. Memory only for what is used. `fd` as shared_memory_map() has it. */
int backend_table_new(struct backend_table **ret, int *fd);
size_t backend_table_size(void);
void backend_table_free(struct backend_table *table); /* accepts NULL */
/* As a worker that has the slot sees it, or the checker (BACKEND_CHECKER). 0 or -errno. */
int backend_table_view(int fd, unsigned slot, struct backend_table **ret);

/* The master's: before a worker gets the slot, and when it has ended. */
void backend_table_begin(struct backend_table *table, unsigned slot);
void backend_table_forget(struct backend_table *table, unsigned slot, uint64_t now_us);
void backend_table_checker_ended(struct backend_table *table);

/* The master's. Gives the places back whose bit is set (place / 8, place % 8), but of a backend that has connections or an order. Returns how
 * many; 0 also where a worker takes a place at this moment. */
#define BACKEND_BITS (BACKEND_PLACES / 8)
unsigned backend_table_sweep(
	struct backend_table *table, const struct limits *limits, const uint8_t idle[BACKEND_BITS]);
bool backend_table_is_used(const struct backend_table *table, uint32_t place);

/* `service` is hash_name() of its name. Never 0; the same on every machine. */
uint64_t backend_key(uint64_t service, enum transport_kind transport, const struct address *address);
/* What is the same for every service: for what several machines are to choose alike. */
uint64_t backend_digest(const struct address *address);

/* Its place, which it gets where it has none yet: BACKEND_NONE where there is none left, or the master sweeps at this moment. `slot` is the
 * caller's, BACKEND_MASTER the master's, BACKEND_CHECKER the checker's. Find only: BACKEND_NONE where it has none. */
#define BACKEND_MASTER  LIMITS_SLOTS_MAX
#define BACKEND_CHECKER (LIMITS_SLOTS_MAX + 2) /* SHARED_CHECKER */
uint32_t backend_table_place(struct backend_table *table, unsigned slot, uint64_t service, uint64_t key);
uint32_t backend_table_find(const struct backend_table *table, uint64_t service, uint64_t key);
struct backend_record *backend_table_at(struct backend_table *table, uint32_t place);
const struct backend_record *backend_table_look(const struct backend_table *table, uint32_t place);

/* What checks have found of the one at a place: the checker's to write. */
struct backend_check *backend_table_check(struct backend_table *table, uint32_t place);
const struct backend_check *backend_table_check_look(const struct backend_table *table, uint32_t place);

/* A sign of life of the checker's, and when it was given, by the monotonic clock. */
void backend_table_beat(struct backend_table *table, uint64_t now_us);
uint64_t backend_table_beaten(const struct backend_table *table);

/* How often checks took a backend down; the checker's to count. */
void backend_table_count_down(struct backend_table *table);
uint32_t backend_table_downs(const struct backend_table *table);

bool backend_table_is_at(const struct backend_table *table, uint32_t place, uint64_t key);

/* One connection more; false where the place is not that backend's any more, and where there are `most` already over all workers (0: no limit), and nothing was counted. Two that come at the
 * same moment for the last place may both be refused. Those that move from one worker to another count (limits_transit.h). */
bool backend_table_enter(struct backend_table *table, const struct limits *limits, unsigned slot, uint32_t place,
	uint64_t key, uint32_t most);
void backend_table_leave(struct backend_table *table, unsigned slot, uint32_t place);

/* How many it has: exact; and as it was last published, which costs one look and is wrong for moments only. */
uint64_t backend_table_open(
	const struct backend_table *table, const struct limits *limits, uint32_t place, uint64_t key);
uint32_t backend_table_published(const struct backend_table *table, uint32_t place);
const _Atomic uint32_t *backend_table_all_published(const struct backend_table *table); /* by place */

/* ---- orders: changed by the master, obeyed by workers ---- */

enum backend_mode backend_order_mode(const struct backend_table *table, uint32_t place);
uint32_t backend_order_weight(const struct backend_table *table, uint32_t place, uint32_t configured);
uint32_t backend_orders_edition(const struct backend_table *table); /* another number: some order is another */

/* `said` is a digest of what the file says of it (backend_said()), never 0. BACKEND_WEIGHT_OF_FILE: no other weight is wanted any more. */
#define BACKEND_WEIGHT_OF_FILE UINT32_MAX
void backend_order_set(
	struct backend_table *table, uint32_t place, enum backend_mode mode, uint32_t said, uint32_t now_s);
void backend_order_set_weight(struct backend_table *table, uint32_t place, uint32_t weight, uint32_t said);
void backend_order_drop(struct backend_table *table, uint32_t place);
uint32_t backend_order_since(const struct backend_table *table, uint32_t place);
/* What was said when it was given; 0: there is none. */
uint32_t backend_order_said(const struct backend_table *table, uint32_t place);
