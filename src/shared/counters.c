/* Counters by name, in shared memory without a lock.
 *
 *	slot of a worker: [ counter counter ... ][ measures measures ... ]   written by that worker alone, and by the master once
 *	                                                                     it is dead
 *
 * A name is looked for from the place that its hash says; a slot never forgets one, so that its place stays. Names are the
 * operator's and usher's own: 64 bits of hash are taken for the name itself. Refuses nothing: where all places are taken the
 * last counter counts for all others, and a service has no histograms. A worker that was taken over can write what it likes into its own slot, and nothing else: what
 * it says is added up and bounds nothing. */
#include "counters.h"
#include "hash.h"
#include "shared_limits.h"
#include "shared_memory.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

struct counters {
	_Alignas(SHARED_PART) _Atomic uint32_t
		n_slots; /* those that were ever used are below; the master's to write */
	struct counter_slot {
		_Alignas(SHARED_PART) struct counter entries[COUNTERS_ENTRIES];
		struct measures measures[COUNTERS_MEASURED];
	} slots[LIMITS_SLOTS_MAX];
};

int counters_new(struct counters **ret, int *fd)
{
	void *memory;
	int error = shared_memory_map(fd, sizeof(struct counters), &memory);

	if (error == 0)
		*ret = memory;
	return error;
}

size_t counters_size(void)
{
	return sizeof(struct counters);
}

void counters_free(struct counters *counters)
{
	if (counters)
		munmap(counters, sizeof(*counters));
}

int counters_view(int fd, unsigned slot, struct counters **ret)
{
	const struct shared_part own = { offsetof(struct counters, slots) + slot * sizeof(struct counter_slot),
		sizeof(struct counter_slot) };
	void *memory;

	int error = shared_memory_view(fd, sizeof(struct counters), &own, slot < LIMITS_SLOTS_MAX, &memory);
	if (error == 0)
		*ret = memory;
	return error;
}

uint64_t counter_key(enum counter_kind kind, const char *name)
{
	uint64_t key = (hash_name(name) + (uint64_t)kind + 1) * HASH_GOLDEN;
	return key ? key : 1;
}

uint64_t counter_own_key(const struct counter *counter)
{
	return counter ? atomic_load_explicit(&counter->key, memory_order_relaxed) : 0;
}

void counters_begin(struct counters *counters, unsigned slot)
{
	if (atomic_load(&counters->n_slots) <= slot)
		atomic_store(&counters->n_slots, slot + 1);
}

struct counter *counter_get(struct counters *counters, unsigned slot, enum counter_kind kind, const char *name)
{
	struct counter *own = counters->slots[slot].entries;
	uint64_t key = counter_key(kind, name);

	for (size_t i = 0; i < COUNTERS_ENTRIES - 1; i++) {
		struct counter *counter = &own[(key >> 32 ^ key ^ i) % (COUNTERS_ENTRIES - 1)];
		uint64_t there = atomic_load_explicit(&counter->key, memory_order_relaxed);
		if (there == key)
			return counter;
		if (there != 0)
			continue;
		atomic_store_explicit(&counter->key, key, memory_order_relaxed);
		return counter;
	}
	return &own[COUNTERS_ENTRIES - 1];
}

/* Where a name's histograms are, if they are anywhere: the i-th place to look at. */
static struct measures *measures_place(struct counter_slot *slot, uint64_t key, size_t i)
{
	return &slot->measures[((key >> 32 ^ key) + i) % COUNTERS_MEASURED];
}

struct measures *counters_measures(struct counters *counters, unsigned slot, const char *service)
{
	uint64_t key = counter_key(COUNTER_SERVICE, service);

	for (size_t i = 0; i < COUNTERS_MEASURED; i++) {
		struct measures *measures = measures_place(&counters->slots[slot], key, i);
		uint64_t there = atomic_load_explicit(&measures->key, memory_order_relaxed);
		if (there == 0)
			atomic_store_explicit(&measures->key, key, memory_order_relaxed);
		if (there == 0 || there == key)
			return measures;
	}
	return NULL;
}

void counter_add(_Atomic uint64_t *value, uint64_t n)
{
	atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + n, memory_order_relaxed);
}

void counter_open_again(struct counter *counter)
{
	uint32_t open = atomic_load_explicit(&counter->open, memory_order_relaxed);
	atomic_store_explicit(&counter->open, open + 1, memory_order_release);
}

void counter_open(struct counter *counter)
{
	counter_open_again(counter);
	counter_add(&counter->total, 1);
}

void counter_close(struct counter *counter)
{
	uint32_t open = atomic_load_explicit(&counter->open, memory_order_relaxed);
	atomic_store_explicit(&counter->open, open - 1, memory_order_release);
}

void counters_forget_open(struct counters *counters, unsigned slot)
{
	for (size_t i = 0; i < COUNTERS_ENTRIES; i++)
		if (atomic_load_explicit(&counters->slots[slot].entries[i].open, memory_order_relaxed))
			atomic_store(&counters->slots[slot].entries[i].open, 0);
}

static void counted_add(struct counted *sum, const struct counter *counter)
{
	sum->total += atomic_load_explicit(&counter->total, memory_order_relaxed);
	sum->failed += atomic_load_explicit(&counter->failed, memory_order_relaxed);
	sum->bytes_up += atomic_load_explicit(&counter->bytes_up, memory_order_relaxed);
	sum->bytes_down += atomic_load_explicit(&counter->bytes_down, memory_order_relaxed);
	sum->open += atomic_load_explicit(&counter->open, memory_order_acquire);
}

void counters_sum(const struct counters *counters, enum counter_kind kind, const char *name, struct counted *ret)
{
	uint64_t key = counter_key(kind, name);
	uint32_t n = atomic_load(&counters->n_slots);

	*ret = (struct counted){ 0 };
	for (uint32_t slot = 0; slot < n && slot < LIMITS_SLOTS_MAX; slot++) {
		for (size_t i = 0; i < COUNTERS_ENTRIES - 1; i++) {
			const struct counter *counter =
				&counters->slots[slot].entries[(key >> 32 ^ key ^ i) % (COUNTERS_ENTRIES - 1)];
			uint64_t there = atomic_load_explicit(&counter->key, memory_order_relaxed);
			if (there == key)
				counted_add(ret, counter);
			if (there == key || there == 0)
				break;
		}
	}
}

static void measured_add(struct measured sum[HISTOGRAMS], const struct measures *measures)
{
	for (size_t kind = 0; kind < HISTOGRAMS; kind++) {
		const struct histogram *histogram = &measures->of[kind];
		for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++)
			sum[kind].buckets[i] += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
		sum[kind].sum += atomic_load_explicit(&histogram->sum, memory_order_relaxed);
	}
}

bool counters_measured(const struct counters *counters, const char *service, struct measured ret[HISTOGRAMS])
{
	uint64_t key = counter_key(COUNTER_SERVICE, service);
	uint32_t n = atomic_load(&counters->n_slots);
	bool found = false;

	memset(ret, 0, HISTOGRAMS * sizeof(ret[0]));
	for (uint32_t slot = 0; slot < n && slot < LIMITS_SLOTS_MAX; slot++) {
		for (size_t i = 0; i < COUNTERS_MEASURED; i++) {
			const struct measures *measures =
				measures_place((struct counter_slot *)&counters->slots[slot], key, i);
			uint64_t there = atomic_load_explicit(&measures->key, memory_order_relaxed);
			if (there == key) {
				measured_add(ret, measures);
				found = true;
			}
			if (there == key || there == 0)
				break;
		}
	}
	return found;
}
