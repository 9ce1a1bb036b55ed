/* Backends in shared memory without a lock. The sums that are published are made by whoever counts: it adds all slots up, stores the sum, and
 * looks whether it is still right. The last to store has looked behind its store, so that what stays is right. Refuses to believe a
 * slot that it has more than a process can have. Owns the mapping. */
#include "backend_table.h"
#include "hash.h"
#include "limits_layout.h"
#include "limits_transit.h"
#include "shared_memory.h"
#include <string.h>
#include <sys/mman.h>

#define PROBES      4096 /* places that a backend may have */
#define TRIES       8    /* to publish: a worker that was taken over may count for ever */
#define MOST        (1U << 20)
#define WEIGHT_BITS 2 /* of the mode, below the weight */

/* What is no backend, among the keys (backend_key()). */
#define KEY_NONE       0 /* none was ever pushed on from here */
#define KEY_GIVEN_BACK 1

_Static_assert(KEY_GIVEN_BACK >= KEY_UNDECIDED, "keys of backends are keys of limits_transit.h as well");

struct backend_slot {
	_Alignas(SHARED_PART) _Atomic uint32_t open[BACKEND_PLACES];
	_Atomic uint32_t is_placing; /* it takes a place: none is to be given back */
};

struct backend_any {
	_Alignas(SHARED_PART) _Atomic uint64_t keys[BACKEND_PLACES];
	_Atomic uint32_t published[BACKEND_PLACES];
	struct backend_record records[BACKEND_PLACES];
};

struct backend_checker {
	_Alignas(SHARED_PART) _Atomic uint64_t beat_us;
	_Atomic uint32_t is_placing;
	_Atomic uint32_t downs;
	struct backend_check checks[BACKEND_PLACES];
};

struct backend_table {
	_Atomic uint32_t n_slots;  /* those that were ever used are below */
	_Atomic uint32_t edition;  /* of the orders, and of who has which place */
	_Atomic uint32_t is_swept; /* the master gives places back */
	struct backend_order orders[BACKEND_PLACES];
	struct backend_any any;
	struct backend_checker checker;
	struct backend_slot slots[LIMITS_SLOTS_MAX];
};

int backend_table_new(struct backend_table **ret, int *fd)
{
	void *memory;
	int error = shared_memory_map(fd, sizeof(struct backend_table), &memory);

	if (error == 0)
		*ret = memory;
	return error;
}

size_t backend_table_size(void)
{
	return sizeof(struct backend_table);
}

void backend_table_free(struct backend_table *table)
{
	if (table)
		munmap(table, sizeof(*table));
}

int backend_table_view(int fd, unsigned slot, struct backend_table **ret)
{
	const struct shared_part any = { offsetof(struct backend_table, any), sizeof(struct backend_any) };
	struct shared_part own[] = { any, { 0, 0 } };
	void *memory;

	if (slot < LIMITS_SLOTS_MAX)
		own[1] = (struct shared_part){ offsetof(struct backend_table, slots) +
				slot * sizeof(struct backend_slot),
			sizeof(struct backend_slot) };
	else if (slot == BACKEND_CHECKER)
		own[1] = (struct shared_part){ offsetof(struct backend_table, checker),
			sizeof(struct backend_checker) };
	int error = shared_memory_view(fd, sizeof(struct backend_table), own, own[1].size > 0 ? 2 : 0, &memory);
	if (error == 0)
		*ret = memory;
	return error;
}

static uint32_t table_slots(const struct backend_table *table)
{
	uint32_t n = atomic_load_explicit(&table->n_slots, memory_order_relaxed);
	return n < LIMITS_SLOTS_MAX ? n : LIMITS_SLOTS_MAX;
}

/* ---- which is where ---- */

static uint64_t address_digest(uint64_t hash, const struct address *address)
{
	struct address bare = address_unmapped(address);
	uint16_t port = address_port(&bare);

	switch (bare.sa.sa_family) {
	case AF_INET:
		hash = hash_byte(hash, 4);
		for (size_t i = 0; i < sizeof(bare.in.sin_addr); i++)
			hash = hash_byte(hash, ((const uint8_t *)&bare.in.sin_addr)[i]);
		break;
	case AF_INET6:
		hash = hash_byte(hash, 6);
		for (size_t i = 0; i < sizeof(bare.in6.sin6_addr); i++)
			hash = hash_byte(hash, bare.in6.sin6_addr.s6_addr[i]);
		hash = hash_byte(hash, (uint8_t)bare.in6.sin6_scope_id);
		break;
	default:
		hash = hash_byte(hash, 1);
		for (size_t i = offsetof(struct sockaddr_un, sun_path); i < bare.len; i++)
			if (((const uint8_t *)&bare.un)[i] ||
				i == offsetof(struct sockaddr_un, sun_path)) /* ends with a NUL or not */
				hash = hash_byte(hash, ((const uint8_t *)&bare.un)[i]);
		break;
	}
	hash = hash_byte(hash_byte(hash, (uint8_t)(port >> 8)), (uint8_t)port);
	return hash_mix(hash, HASH_GOLDEN);
}

uint64_t backend_digest(const struct address *address)
{
	return address_digest(HASH_START, address);
}

uint64_t backend_key(uint64_t service, enum transport_kind transport, const struct address *address)
{
	uint64_t key = address_digest(hash_byte(service, (uint8_t)transport), address);
	return key > KEY_GIVEN_BACK ? key : KEY_GIVEN_BACK + 1;
}

static uint32_t place_of(uint64_t service, uint32_t probe)
{
	return (uint32_t)((hash_mix(service, HASH_GOLDEN) + probe) % BACKEND_PLACES);
}

uint32_t backend_table_find(const struct backend_table *table, uint64_t service, uint64_t key)
{
	for (uint32_t i = 0; i < PROBES; i++) {
		uint32_t place = place_of(service, i);
		uint64_t there = atomic_load_explicit(&table->any.keys[place], memory_order_acquire);
		if (there == key)
			return place;
		if (there == KEY_NONE)
			break;
	}
	return BACKEND_NONE;
}

bool backend_table_is_at(const struct backend_table *table, uint32_t place, uint64_t key)
{
	return atomic_load(&table->any.keys[place]) == key;
}

bool backend_table_is_used(const struct backend_table *table, uint32_t place)
{
	return atomic_load_explicit(&table->any.keys[place], memory_order_relaxed) > KEY_GIVEN_BACK;
}

/* The first place that is free, or that another has taken meanwhile for the same backend: as long as none is given back, all who look for
 * one at the same time find the same. */
static uint32_t place_take(struct backend_table *table, uint64_t service, uint64_t key)
{
	for (uint32_t i = 0; i < PROBES; i++) {
		uint32_t place = place_of(service, i);
		uint64_t there = atomic_load(&table->any.keys[place]);
		if (there <= KEY_GIVEN_BACK && atomic_compare_exchange_strong(&table->any.keys[place], &there, key))
			return place;
		if (there == key)
			return place;
	}
	return BACKEND_NONE;
}

uint32_t backend_table_place(struct backend_table *table, unsigned slot, uint64_t service, uint64_t key)
{
	uint32_t place = backend_table_find(table, service, key);
	_Atomic uint32_t *is_placing;

	if (place != BACKEND_NONE)
		return place;
	if (slot == BACKEND_MASTER)
		return place_take(table, service, key);
	is_placing = slot == BACKEND_CHECKER ? &table->checker.is_placing : &table->slots[slot].is_placing;
	atomic_store(is_placing, 1);
	if (!atomic_load(&table->is_swept)) {
		place = backend_table_find(table, service, key);
		if (place == BACKEND_NONE)
			place = place_take(table, service, key);
	}
	atomic_store(is_placing, 0);
	return place;
}

struct backend_record *backend_table_at(struct backend_table *table, uint32_t place)
{
	return &table->any.records[place];
}

const struct backend_record *backend_table_look(const struct backend_table *table, uint32_t place)
{
	return &table->any.records[place];
}

/* ---- checks ---- */

struct backend_check *backend_table_check(struct backend_table *table, uint32_t place)
{
	return &table->checker.checks[place];
}

const struct backend_check *backend_table_check_look(const struct backend_table *table, uint32_t place)
{
	return &table->checker.checks[place];
}

void backend_table_beat(struct backend_table *table, uint64_t now_us)
{
	atomic_store_explicit(&table->checker.beat_us, now_us, memory_order_relaxed);
}

uint64_t backend_table_beaten(const struct backend_table *table)
{
	return atomic_load_explicit(&table->checker.beat_us, memory_order_relaxed);
}

void backend_table_count_down(struct backend_table *table)
{
	atomic_fetch_add(&table->checker.downs, 1);
}

uint32_t backend_table_downs(const struct backend_table *table)
{
	return atomic_load_explicit(&table->checker.downs, memory_order_acquire);
}

/* ---- how many ---- */

struct count {
	const struct backend_table *table;
	uint32_t place;
};

static uint64_t count_slots(const void *of, uint64_t key)
{
	const struct count *count = of;
	uint32_t n = table_slots(count->table);
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t open = atomic_load(&count->table->slots[i].open[count->place]);
		sum += open < MOST ? open : MOST;
	}
	return sum;
}

uint64_t backend_table_open(
	const struct backend_table *table, const struct limits *limits, uint32_t place, uint64_t key)
{
	const struct count count = { table, place };
	return limits_sum_up(limits, key, count_slots, &count);
}

uint32_t backend_table_published(const struct backend_table *table, uint32_t place)
{
	return atomic_load_explicit(&table->any.published[place], memory_order_relaxed);
}

const _Atomic uint32_t *backend_table_all_published(const struct backend_table *table)
{
	return table->any.published;
}

static void table_publish(struct backend_table *table, uint32_t place)
{
	const struct count count = { table, place };
	uint64_t sum;
	unsigned tries = 0;

	do {
		sum = count_slots(&count, 0);
		atomic_store(&table->any.published[place], (uint32_t)sum);
	} while (count_slots(&count, 0) != sum && ++tries < TRIES);
}

bool backend_table_enter(struct backend_table *table, const struct limits *limits, unsigned slot, uint32_t place,
	uint64_t key, uint32_t most)
{
	_Atomic uint32_t *open = &table->slots[slot].open[place];

	atomic_fetch_add(open, 1);
	bool enters = backend_table_is_at(table, place, key) &&
		(!most || backend_table_open(table, limits, place, key) <= most);
	if (!enters)
		atomic_fetch_sub(open, 1);
	table_publish(table, place);
	return enters;
}

void backend_table_leave(struct backend_table *table, unsigned slot, uint32_t place)
{
	atomic_fetch_sub(&table->slots[slot].open[place], 1);
	table_publish(table, place);
}

/* ---- the master's ---- */

void backend_table_checker_ended(struct backend_table *table)
{
	atomic_store(&table->checker.is_placing, 0);
}

void backend_table_begin(struct backend_table *table, unsigned slot)
{
	if (atomic_load(&table->n_slots) <= slot)
		atomic_store(&table->n_slots, slot + 1);
}

void backend_table_forget(struct backend_table *table, unsigned slot, uint64_t now_us)
{
	struct backend_slot *own = &table->slots[slot];
	bool counted = false;

	atomic_store(&own->is_placing, 0);
	for (uint32_t place = 0; place < BACKEND_PLACES; place++) {
		if (!backend_table_is_used(table, place))
			continue;
		counted |= atomic_load_explicit(&own->open[place], memory_order_relaxed) != 0;
		backend_health_forget(&table->any.records[place].health, slot, now_us);
	}
	if (!counted)
		return;
	memset(own, 0, sizeof(*own));
	for (uint32_t place = 0; place < BACKEND_PLACES; place++)
		if (backend_table_is_used(table, place))
			table_publish(table, place);
}

/* ---- given back ---- */

static bool is_placing(const struct backend_table *table)
{
	uint32_t n = table_slots(table);

	for (uint32_t i = 0; i < n; i++)
		if (atomic_load(&table->slots[i].is_placing))
			return true;
	return atomic_load(&table->checker.is_placing);
}

/* False: a worker has begun to count there. */
static bool place_give_back(struct backend_table *table, const struct limits *limits, uint32_t place)
{
	_Atomic uint64_t *at = &table->any.keys[place];
	struct backend_record *record = &table->any.records[place];
	uint64_t key = atomic_load(at);

	if (key <= KEY_GIVEN_BACK || backend_order_said(table, place) ||
		backend_table_open(table, limits, place, key) > 0)
		return false;
	atomic_store(at, KEY_GIVEN_BACK);
	if (backend_table_open(table, limits, place, key) > 0) {
		atomic_store(at, key);
		return false;
	}
	atomic_store(&record->health, 0);
	atomic_store(&record->total, 0);
	atomic_store(&record->failed, 0);
	atomic_store(&record->latency_us, 0);
	atomic_store(&record->since_s, 0);
	atomic_store(&record->error, 0);
	atomic_store(&record->turn, 0);
	atomic_store(&table->any.published[place], 0);
	memset(&table->checker.checks[place], 0, sizeof(table->checker.checks[place]));
	return true;
}

/* What nothing is behind any more pushes nothing on, so that who looks for a key need not look at it. */
static void places_shorten(struct backend_table *table)
{
	for (uint32_t place = 2 * BACKEND_PLACES; place-- > 0;) {
		uint32_t next = (place + 1) % BACKEND_PLACES;
		uint64_t given_back = KEY_GIVEN_BACK;
		if (atomic_load(&table->any.keys[next]) == KEY_NONE)
			atomic_compare_exchange_strong(
				&table->any.keys[place % BACKEND_PLACES], &given_back, KEY_NONE);
	}
}

unsigned backend_table_sweep(
	struct backend_table *table, const struct limits *limits, const uint8_t idle[BACKEND_BITS])
{
	unsigned n = 0;

	atomic_store(&table->is_swept, 1);
	if (!is_placing(table)) {
		for (uint32_t place = 0; place < BACKEND_PLACES; place++)
			if (idle[place / 8] >> place % 8 & 1)
				n += place_give_back(table, limits, place);
		if (n)
			places_shorten(table);
	}
	atomic_store(&table->is_swept, 0);
	atomic_fetch_add(&table->edition, 1); /* who found no place meanwhile looks again */
	return n;
}

/* ---- orders ---- */

enum backend_mode backend_order_mode(const struct backend_table *table, uint32_t place)
{
	uint32_t word = atomic_load_explicit(&table->orders[place].word, memory_order_relaxed);
	return (enum backend_mode)(word & ((1U << WEIGHT_BITS) - 1));
}

uint32_t backend_order_weight(const struct backend_table *table, uint32_t place, uint32_t configured)
{
	uint32_t word = atomic_load_explicit(&table->orders[place].word, memory_order_relaxed);
	return word >> WEIGHT_BITS ? (word >> WEIGHT_BITS) - 1 : configured;
}

uint32_t backend_orders_edition(const struct backend_table *table)
{
	return atomic_load_explicit(&table->edition, memory_order_acquire);
}

static void order_write(struct backend_table *table, uint32_t place, uint32_t word, uint32_t said)
{
	atomic_store(&table->orders[place].said, word ? said : 0);
	atomic_store(&table->orders[place].word, word);
	atomic_fetch_add(&table->edition, 1);
}

void backend_order_set(
	struct backend_table *table, uint32_t place, enum backend_mode mode, uint32_t said, uint32_t now_s)
{
	uint32_t word = atomic_load(&table->orders[place].word) >> WEIGHT_BITS << WEIGHT_BITS;

	atomic_store(&table->orders[place].since_s, now_s);
	order_write(table, place, word | mode, said);
}

void backend_order_set_weight(struct backend_table *table, uint32_t place, uint32_t weight, uint32_t said)
{
	uint32_t above = weight == BACKEND_WEIGHT_OF_FILE ? 0 : weight + 1;

	order_write(table, place, above << WEIGHT_BITS | backend_order_mode(table, place), said);
}

void backend_order_drop(struct backend_table *table, uint32_t place)
{
	order_write(table, place, 0, 0);
}

uint32_t backend_order_since(const struct backend_table *table, uint32_t place)
{
	return atomic_load_explicit(&table->orders[place].since_s, memory_order_relaxed);
}

uint32_t backend_order_said(const struct backend_table *table, uint32_t place)
{
	return atomic_load(&table->orders[place].word) ? atomic_load(&table->orders[place].said) : 0;
}
