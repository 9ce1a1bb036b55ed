/* Sessions by their ids, in memory that all workers write, without a lock.
 *
 *	tables:  [ lengths ][ group of ids ] ... [ group of addresses ] ...
 *	group:   [ entry ] x AFFINITY_GROUP
 *	entry:   [ check ][ service ][ backend: 36 bits, kind: 4, noted: 24 ]      check = key ^ service ^ last word, mixed
 *
 * An entry whose words come from two workers, or that was half written, has a check that fits no key, and is not found. Keys are hashes
 * under a secret: 64 bits of them are taken for the id itself. Times are seconds in 24 bits, which begin anew after 194 days.
 *
 * Refuses nothing. Owns the mapping, and the master's descriptor is the caller's. */
#include "affinity.h"
#include "failure.h"
#include "fd.h"
#include "hash.h"
#include "shared_memory.h"
#include "siphash.h"
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#define NOTED_BITS   24
#define NOTED_MASK   ((UINT64_C(1) << NOTED_BITS) - 1)
#define KIND_MASK    (UINT64_C(0xf) << NOTED_BITS)
#define BACKEND_MASK (~(NOTED_MASK | KIND_MASK))
#define AHEAD_S      60          /* that a worker's clock may be behind another's */
#define AMBIGUOUS    UINT64_C(1) /* in place of a service: two places have the id */
#define LENGTHS_MASK ((UINT32_C(2) << AFFINITY_ID_MAX) - (UINT32_C(1) << AFFINITY_ID_MIN))

struct entry {
	_Atomic uint64_t check, service, rest;
};

struct group {
	struct entry entries[AFFINITY_GROUP];
};

struct affinity {
	struct siphash_key secret; /* the master's to write */
	struct tables {
		_Alignas(SHARED_PART) _Atomic uint32_t lengths; /* anybody's, like all below */
		_Alignas(64) struct group ids[AFFINITY_GROUPS], addresses[AFFINITY_GROUPS];
	} tables;
};

/* What an entry said when it was read. */
struct reading {
	uint64_t key, service, rest; /* the key that the check fits */
};

/* ---- the memory ---- */

int affinity_new(struct affinity **ret, int *fd)
{
	bool fresh = *fd < 0;
	void *memory;

	int error = shared_memory_map(fd, sizeof(struct affinity), &memory);
	if (error < 0)
		return error;
	struct affinity *affinity = memory;
	if (fresh && (error = siphash_key_new(&affinity->secret)) < 0) {
		failure_set(error, "no random numbers: getrandom");
		affinity_free(affinity);
		*fd = fd_close(*fd);
		return error;
	}
	*ret = affinity;
	return 0;
}

size_t affinity_size(void)
{
	return sizeof(struct affinity);
}

void affinity_free(struct affinity *affinity)
{
	if (affinity)
		munmap(affinity, sizeof(*affinity));
}

int affinity_view(int fd, struct affinity **ret)
{
	const struct shared_part own = { offsetof(struct affinity, tables), sizeof(struct tables) };
	void *memory;

	int error = shared_memory_view(fd, sizeof(struct affinity), &own, 1, &memory);
	if (error == 0)
		*ret = memory;
	return error;
}

/* ---- keys ---- */

uint64_t affinity_key(const struct affinity *affinity, enum affinity_kind kind, const void *bytes, size_t len)
{
	uint8_t all[1 + AFFINITY_KEY_MAX] = { (uint8_t)kind };
	const struct siphash_key secret = affinity->secret;

	if (len > AFFINITY_KEY_MAX)
		len = AFFINITY_KEY_MAX;
	memcpy(all + 1, bytes, len);
	uint64_t key = siphash(&secret, all, 1 + len);
	return key ? key : 1;
}

uint64_t affinity_backend(const struct address *address)
{
	uint64_t hash;

	if (address->sa.sa_family == AF_INET6)
		hash = hash_bytes(&address->in6.sin6_addr, sizeof(address->in6.sin6_addr)) ^
			address->in6.sin6_scope_id;
	else
		hash = hash_bytes(&address->in.sin_addr, sizeof(address->in.sin_addr));
	hash = hash_mix(hash ^ address_port(address), HASH_GOLDEN) | UINT64_C(1) << 63;
	return hash;
}

bool affinity_is_backend(uint64_t kept, uint64_t backend)
{
	return kept && (kept & BACKEND_MASK) == (backend & BACKEND_MASK);
}

/* ---- entries ---- */

static bool is_id(enum affinity_kind kind)
{
	return kind != AFFINITY_ADDRESS && kind != AFFINITY_HOST;
}

static const struct group *group_of(const struct affinity *affinity, enum affinity_kind kind, uint64_t key)
{
	const struct group *groups = is_id(kind) ? affinity->tables.ids : affinity->tables.addresses;

	return &groups[key % AFFINITY_GROUPS];
}

static uint64_t check_of(uint64_t key, uint64_t service, uint64_t rest)
{
	return key ^ service ^ rest * HASH_GOLDEN;
}

static struct reading entry_read(const struct entry *entry)
{
	uint64_t check = atomic_load_explicit(&entry->check, memory_order_relaxed);
	uint64_t service = atomic_load_explicit(&entry->service, memory_order_relaxed);
	uint64_t rest = atomic_load_explicit(&entry->rest, memory_order_relaxed);

	return (struct reading){ check_of(check, service, rest), service, rest };
}

static void entry_write(struct entry *entry, uint64_t key, uint64_t service, uint64_t rest)
{
	atomic_store_explicit(&entry->check, check_of(key, service, rest), memory_order_relaxed);
	atomic_store_explicit(&entry->service, service, memory_order_relaxed);
	atomic_store_explicit(&entry->rest, rest, memory_order_relaxed);
}

/* Seconds since it was noted, and AHEAD_S. */
static uint64_t age_of(const struct reading *reading, uint64_t now_s)
{
	return (now_s - reading->rest + AHEAD_S) & NOTED_MASK;
}

static bool is_valid(const struct reading *reading, uint64_t now_s)
{
	return reading->service && age_of(reading, now_s) < AFFINITY_KEPT_S + AHEAD_S;
}

bool affinity_find(const struct affinity *affinity, enum affinity_kind kind, uint64_t key, uint64_t now_s,
	struct affinity_place *ret)
{
	const struct group *group = group_of(affinity, kind, key);

	for (size_t i = 0; i < AFFINITY_GROUP; i++) {
		const struct reading reading = entry_read(&group->entries[i]);
		if (reading.key != key || !is_valid(&reading, now_s))
			continue;
		if (reading.service == AMBIGUOUS)
			return false;
		ret->service = reading.service;
		ret->backend = reading.rest & BACKEND_MASK;
		ret->kind = (enum affinity_kind)((reading.rest & KIND_MASK) >> NOTED_BITS);
		if (ret->kind >= AFFINITY_KINDS)
			ret->kind = AFFINITY_NONE;
		return true;
	}
	return false;
}

void affinity_note(struct affinity *affinity, enum affinity_kind kind, uint64_t key,
	const struct affinity_place *place, uint64_t now_s)
{
	struct group *group = (struct group *)group_of(affinity, kind, key);
	uint64_t rest = (place->backend & BACKEND_MASK) | (uint64_t)place->kind << NOTED_BITS | (now_s & NOTED_MASK);
	uint64_t service = place->service, oldest = 0;
	struct entry *to = &group->entries[0];

	for (size_t i = 0; i < AFFINITY_GROUP; i++) {
		const struct reading reading = entry_read(&group->entries[i]);
		bool valid = is_valid(&reading, now_s);
		uint64_t age = valid ? age_of(&reading, now_s) : UINT64_MAX;
		if (valid && reading.key == key) {
			bool same = reading.service == service && !((reading.rest ^ rest) & BACKEND_MASK);
			if (is_id(kind) && !same)
				service = AMBIGUOUS;
			to = &group->entries[i];
			break;
		}
		if (age > oldest) {
			oldest = age;
			to = &group->entries[i];
		}
	}
	entry_write(to, key, service, rest);
}

/* ---- lengths ---- */

void affinity_note_length(struct affinity *affinity, size_t len)
{
	uint32_t bit = len <= AFFINITY_ID_MAX ? (UINT32_C(1) << len) & LENGTHS_MASK : 0;

	if (bit & ~atomic_load_explicit(&affinity->tables.lengths, memory_order_relaxed))
		atomic_fetch_or_explicit(&affinity->tables.lengths, bit, memory_order_relaxed);
}

uint32_t affinity_lengths(const struct affinity *affinity)
{
	return atomic_load_explicit(&affinity->tables.lengths, memory_order_relaxed) & LENGTHS_MASK;
}
