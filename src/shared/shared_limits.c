/* Limits over all workers, in shared memory without a lock.
 *
 *	slot of a worker: [ taken ][ live ][ transit ][ entry entry ... ]   written by that worker alone, and by the master once
 *	                                                                    it is dead
 *	taken:            [ connections that came from the worker of slot 0 ][ of slot 1 ] ...
 *	transit:          [ to which slot, and how many were sent ][ record record ... ] of the last that were sent
 *	record:           [ keys that the connection counted under ]
 *	entry:            [ key: of a service, of a source of it, or of a listener ][ live connections ]
 *	rates of all:     [ key: of a source of a service ][ when its bucket is full again ]
 *
 * Tables have open addressing: a key is looked for in PROBES places, GROUP neighbours here and GROUP there. A place whose count is 0, or
 * whose bucket is full again, is free for another key. Keys are hashes under a seed that no client knows: 64 bits of
 * them are taken for the thing itself.
 *
 * A connection first counts itself and then looks at the sum, both sequentially consistent: of two that come at once at
 * least one sees the other. It refuses nothing that is not over a limit, save what finds no place. */
#include "shared_limits.h"
#include "failure.h"
#include "fd.h"
#include "hash.h"
#include "limits_layout.h"
#include "shared_memory.h"
#include "token_bucket.h"
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>

#define PROBES           32
#define GROUP            8 /* two lines of the cache */
#define MOST_DESCRIPTORS (1u << 30)
#define LISTENER_SALT    1 /* of keys: a listener's text may be a service's name */
#define UNDECIDED_SALT   2

static uint32_t most_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_max > MOST_DESCRIPTORS)
		return MOST_DESCRIPTORS;
	return (uint32_t)limit.rlim_max;
}

int limits_new(struct limits **ret, int *fd)
{
	bool fresh = *fd < 0;
	void *memory;

	int error = shared_memory_map(fd, sizeof(struct limits), &memory);
	if (error < 0)
		return error;
	struct limits *limits = memory;
	limits->most = most_descriptors();
	if (fresh && getrandom(limits->seed, sizeof(limits->seed), 0) != sizeof(limits->seed)) {
		error = failure_set(-errno, "no random numbers: getrandom");
		limits_free(limits);
		*fd = fd_close(*fd);
		return error;
	}
	*ret = limits;
	return 0;
}

size_t limits_size(void)
{
	return sizeof(struct limits);
}

int limits_view(int fd, unsigned slot, struct limits **ret)
{
	const struct shared_part own[] = {
		{ offsetof(struct limits, rates), sizeof(struct rates) },
		{ offsetof(struct limits, slots) + slot * sizeof(struct slot), sizeof(struct slot) },
	};
	void *memory;

	int error = shared_memory_view(
		fd, sizeof(struct limits), own, slot < LIMITS_SLOTS_MAX ? sizeof(own) / sizeof(own[0]) : 0, &memory);
	if (error == 0)
		*ret = memory;
	return error;
}

void limits_free(struct limits *limits)
{
	if (limits)
		munmap(limits, sizeof(*limits));
}

/* ---- keys ---- */

/* `source` 0: the service as a whole; `salt` tells uses apart. Never KEY_ALL or KEY_UNDECIDED. */
static uint64_t limits_key(const struct limits *limits, uint64_t service, uint64_t source, uint64_t salt)
{
	uint64_t key = hash_mix(service ^ limits->seed[0], limits->seed[1] | 1);
	key = hash_mix(key ^ source ^ limits->seed[1], limits->seed[0] | 1);
	key = hash_mix(key ^ salt, HASH_GOLDEN);
	return key > KEY_UNDECIDED ? key : KEY_UNDECIDED + 1;
}

static uint64_t limits_key_of(
	const struct limits *limits, uint64_t service, struct limits_source source, uint64_t salt)
{
	return limits_key(limits, service, source.number, source.is_of_flows ? ~salt : salt);
}

/* Groups far apart, so that a run of neighbours that is full fills no other. */
static uint64_t place_of(uint64_t key, unsigned probe)
{
	return key + probe / GROUP * (key >> 32 | 1) * GROUP + probe % GROUP;
}

/* ---- live connections ---- */

static struct entry *slot_entry(struct slot *slot, uint64_t key, unsigned probe)
{
	return &slot->entries[place_of(key, probe) % LIMITS_ENTRIES];
}

/* The owner's: a place for this key, or LIMITS_NONE. */
static uint32_t slot_place(struct slot *slot, uint64_t key)
{
	struct entry *free_one = NULL, *found = NULL;

	for (unsigned i = 0; i < PROBES; i++) {
		struct entry *entry = slot_entry(slot, key, i);
		uint64_t there = atomic_load_explicit(&entry->key, memory_order_relaxed);
		if (there == key) {
			found = entry;
			break;
		}
		if (!free_one && atomic_load_explicit(&entry->live, memory_order_relaxed) == 0)
			free_one = entry;
		if (there == 0)
			break;
	}
	if (!found) {
		found = free_one;
		if (!found)
			return LIMITS_NONE;
		atomic_store(&found->key, key);
	}
	return (uint32_t)(found - slot->entries);
}

/* Anybody's. A place that changes hands in between counts for neither. */
static uint32_t slot_live(const struct slot *slot, uint64_t key)
{
	for (unsigned i = 0; i < PROBES; i++) {
		const struct entry *entry = slot_entry((struct slot *)slot, key, i);
		uint64_t there = atomic_load(&entry->key);
		if (there == 0)
			return 0;
		if (there != key)
			continue;
		uint32_t live = atomic_load(&entry->live);
		return atomic_load(&entry->key) == key ? live : 0;
	}
	return 0;
}

uint32_t limits_slots(const struct limits *limits)
{
	uint32_t n = atomic_load_explicit(&limits->n_slots, memory_order_relaxed);
	return n < LIMITS_SLOTS_MAX ? n : LIMITS_SLOTS_MAX;
}

/* One worker that was taken over is not to fill the room of all. */
static uint64_t believed(const struct limits *limits, uint32_t live)
{
	return live < limits->most ? live : limits->most;
}

/* ---- sums ---- */

static uint32_t slot_count(const struct slot *slot, uint64_t key)
{
	switch (key) {
	case KEY_ALL:
		return atomic_load(&slot->live);
	case KEY_UNDECIDED:
		return atomic_load(&slot->undecided);
	default:
		return slot_live(slot, key);
	}
}

static uint64_t slots_count(const void *of, uint64_t key)
{
	const struct limits *limits = of;
	uint32_t n = limits_slots(limits);
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += believed(limits, slot_count(&limits->slots[i], key));
	return sum;
}

static uint64_t limits_sum(const struct limits *limits, uint64_t key)
{
	return limits_sum_up(limits, key, slots_count, limits);
}

static void slot_leave(struct slot *slot, uint32_t place)
{
	if (place != LIMITS_NONE)
		atomic_fetch_sub(&slot->entries[place].live, 1);
}

/* NULL, or what refuses; then nothing is counted. */
static const char *slot_enter(
	struct limits *limits, struct slot *slot, uint64_t key, uint32_t most, const char *name, uint32_t *ret_place)
{
	uint32_t place = slot_place(slot, key);

	if (place == LIMITS_NONE)
		return "sources";
	atomic_fetch_add(&slot->entries[place].live, 1);
	if (limits_sum(limits, key) > most) {
		slot_leave(slot, place);
		return name;
	}
	*ret_place = place;
	return NULL;
}

void limits_begin(struct limits *limits, unsigned slot)
{
	if (atomic_load(&limits->n_slots) <= slot)
		atomic_store(&limits->n_slots, slot + 1);
}

/* ---- rates ---- */

static bool bucket_take(struct rate *rate, const struct access_rate *allowed, uint64_t now_us)
{
	uint64_t full_us = atomic_load(&rate->full_us), taken_us;

	/* A moment that no bucket of this rate has was written by a worker that was taken over. */
	while (token_bucket_take(full_us, allowed->burst, allowed->each_us, now_us, &taken_us))
		if (atomic_compare_exchange_weak(&rate->full_us, &full_us, taken_us))
			return true;
	return false;
}

/* The source's bucket: one that is there, or one that nobody needs any more, or that of the source which owes least: a client that has
 * many addresses (an IPv6 /48 is 65536 of them) fills the table, and is to keep nobody out who comes for the first time. NULL: somebody
 * else was faster, one refusal under a storm. Two workers that look for the same new one at the same moment meet in the same place,
 * or one of them charges a bucket that is not found again: then the source comes in once more than it should. */
static struct rate *rate_place(struct limits *limits, uint64_t key, uint64_t now_us)
{
	struct rate *free_one = NULL;
	uint64_t free_key = 0, least_us = UINT64_MAX;

	for (unsigned i = 0; i < PROBES; i++) {
		struct rate *rate = &limits->rates.of[place_of(key, i) % LIMITS_RATES];
		uint64_t there = atomic_load(&rate->key);
		if (there == key)
			return rate;
		uint64_t full_us = atomic_load(&rate->full_us);
		if (full_us < least_us && least_us > now_us) {
			least_us = full_us;
			free_one = rate;
			free_key = there;
		}
		if (there == 0)
			break;
	}
	if (!free_one)
		return NULL;
	if (atomic_compare_exchange_strong(&free_one->key, &free_key, key))
		atomic_store(&free_one->full_us, now_us);
	else if (free_key != key)
		return NULL;
	return free_one;
}

static const char *rate_enter(struct limits *limits, const struct access_rate *allowed, uint64_t service,
	struct limits_source source, uint64_t now_us)
{
	/* Another rate after a reload is another bucket. */
	uint64_t key = limits_key_of(limits, service, source, allowed->each_us * 31 + allowed->burst);
	struct rate *rate = rate_place(limits, key, now_us);

	if (!rate)
		return "sources";
	return bucket_take(rate, allowed, now_us) ? NULL : "rate";
}

/* ---- a connection ---- */

const char *limits_enter(struct limits *limits, unsigned number, const struct access *access, uint64_t service,
	struct limits_source source, uint64_t now_us, struct limits_ticket *ret)
{
	const char *refused = NULL;

	*ret = (struct limits_ticket){ LIMITS_NONE, LIMITS_NONE };
	if (!access)
		return NULL;
	struct slot *slot = &limits->slots[number];

	if (access->max_connections && !access->program)
		refused = slot_enter(limits, slot, limits_key(limits, service, 0, 0), access->max_connections,
			"max_connections", &ret->service);
	if (!refused && access->per_source && source.number && !access->program)
		refused = slot_enter(limits, slot, limits_key_of(limits, service, source, 0), access->per_source,
			"per_source", &ret->source);
	if (!refused && access->rate.burst && source.number)
		refused = rate_enter(limits, &access->rate, service, source, now_us);
	if (refused)
		limits_leave(limits, number, ret);
	return refused;
}

void limits_enter_again(struct limits *limits, unsigned number, const struct access *access, uint64_t service,
	struct limits_source source, struct limits_ticket *ret)
{
	*ret = (struct limits_ticket){ LIMITS_NONE, LIMITS_NONE };
	if (!access || access->program)
		return;
	struct slot *slot = &limits->slots[number];

	if (access->max_connections)
		slot_enter(limits, slot, limits_key(limits, service, 0, 0), UINT32_MAX, NULL, &ret->service);
	if (access->per_source && source.number)
		slot_enter(limits, slot, limits_key_of(limits, service, source, 0), UINT32_MAX, NULL, &ret->source);
}

void limits_leave(struct limits *limits, unsigned slot, struct limits_ticket *ticket)
{
	slot_leave(&limits->slots[slot], ticket->service);
	slot_leave(&limits->slots[slot], ticket->source);
	*ticket = (struct limits_ticket){ LIMITS_NONE, LIMITS_NONE };
}

uint64_t limits_live_all(const struct limits *limits)
{
	return limits_sum(limits, KEY_ALL);
}

const char *limits_enter_all(struct limits *limits, unsigned number, uint32_t most)
{
	struct slot *slot = &limits->slots[number];

	atomic_fetch_add_explicit(&slot->live, 1, memory_order_relaxed);
	if (!most || limits_live_all(limits) <= most)
		return NULL;
	limits_leave_all(limits, number);
	return "max_connections";
}

void limits_leave_all(struct limits *limits, unsigned slot)
{
	atomic_fetch_sub_explicit(&limits->slots[slot].live, 1, memory_order_relaxed);
}

const char *limits_enter_listener(
	struct limits *limits, unsigned number, uint64_t listener, uint32_t most, uint32_t *ret_place)
{
	uint64_t key = limits_key(limits, listener, 0, LISTENER_SALT);

	*ret_place = LIMITS_NONE;
	return slot_enter(limits, &limits->slots[number], key, most, "max_connections", ret_place);
}

void limits_leave_listener(struct limits *limits, unsigned slot, uint32_t *place)
{
	slot_leave(&limits->slots[slot], *place);
	*place = LIMITS_NONE;
}

/* ---- undecided ---- */

void limits_enter_undecided(struct limits *limits, unsigned number, struct limits_source source, uint32_t *ret_place)
{
	struct slot *slot = &limits->slots[number];

	atomic_fetch_add_explicit(&slot->undecided, 1, memory_order_relaxed);
	*ret_place = source.number ? slot_place(slot, limits_key_of(limits, 0, source, UNDECIDED_SALT)) : LIMITS_NONE;
	if (*ret_place != LIMITS_NONE)
		atomic_fetch_add_explicit(&slot->entries[*ret_place].live, 1, memory_order_relaxed);
}

void limits_leave_undecided(struct limits *limits, unsigned slot, uint32_t *place)
{
	atomic_fetch_sub_explicit(&limits->slots[slot].undecided, 1, memory_order_relaxed);
	slot_leave(&limits->slots[slot], *place);
	*place = LIMITS_NONE;
}

uint64_t limits_undecided(const struct limits *limits)
{
	return limits_sum(limits, KEY_UNDECIDED);
}

/* As a rule neither is looked up: what one worker has is far below its share. */
bool limits_over_undecided(const struct limits *limits, unsigned slot, uint32_t most)
{
	uint64_t own = atomic_load_explicit(&limits->slots[slot].undecided, memory_order_relaxed);
	uint64_t n = limits_slots(limits);

	return most && own * n > most && limits_undecided(limits) > most;
}

bool limits_over_undecided_here(const struct limits *limits, unsigned slot, uint32_t place, uint32_t most)
{
	uint64_t n = limits_slots(limits);

	if (!most || place == LIMITS_NONE)
		return false;
	const struct entry *entry = &limits->slots[slot].entries[place];
	uint64_t own = atomic_load_explicit(&entry->live, memory_order_relaxed);
	return own * n > most && limits_sum(limits, atomic_load(&entry->key)) > most;
}

uint64_t limits_live(const struct limits *limits, uint64_t service, struct limits_source source)
{
	return limits_sum(limits, limits_key_of(limits, service, source, 0));
}

/* But for what it had taken: what is still on its way to it counts until the sender knows that it is lost. */
void limits_forget(struct limits *limits, unsigned slot)
{
	uint8_t *from = (uint8_t *)&limits->slots[slot] + offsetof(struct slot, live);
	size_t size = sizeof(struct slot) - offsetof(struct slot, live);

	/* Gives the pages back, which reads as zero. */
	if (madvise(from, size, MADV_REMOVE) < 0)
		memset(from, 0, size);
}
