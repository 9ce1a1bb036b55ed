/* A hash table in memory that one process writes. An entry is in one of the LIVE_WINDOW places behind that of its hash.
 *
 *	place:  [ until ][ service ][ the prefix: two words ][ its length ]
 *
 * until 0: never used, and nothing is behind it in a window; 1: used once. A place changes in this order: until 1, the rest, until. Hashes
 * are under a secret: who chooses addresses cannot fill a window.
 *
 * Refuses more than LIVE_LIST_MAX entries. Owns the mapping; the descriptor is the caller's. */
#include "live_list.h"
#include "failure.h"
#include "fd.h"
#include "shared_memory.h"
#include "siphash.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PLACES     (2 * LIVE_LIST_MAX)
#define WINDOW     64
#define V4_BITS    96 /* in front of an IPv4 address, in its mapped form */
#define NEVER_USED 0
#define USED_ONCE  1

struct place {
	_Atomic uint64_t until_us, service, high, low;
	_Atomic uint32_t bits;
};

struct live_list {
	struct siphash_key secret;
	_Atomic uint32_t n;          /* those whose time is over included, until their place is wanted */
	_Atomic uint64_t lengths[3]; /* of prefixes, a bit for each from 0 to 128 */
	struct place places[PLACES];
};

struct words {
	uint64_t high, low;
};

/* ---- addresses ---- */

static struct words words_of(const uint8_t bytes[16])
{
	uint64_t word[2] = { 0 };

	for (size_t i = 0; i < 16; i++)
		word[i / 8] |= (uint64_t)bytes[i] << (56 - i % 8 * 8);
	return (struct words){ word[0], word[1] };
}

static struct words words_masked(struct words words, unsigned bits)
{
	if (bits < 64)
		words.high &= bits ? ~UINT64_C(0) << (64 - bits) : 0;
	if (bits < 128)
		words.low &= bits > 64 ? ~UINT64_C(0) << (128 - bits) : 0;
	return words;
}

static void map_v4(uint8_t ret[16], const void *v4)
{
	memset(ret, 0, 10);
	ret[10] = ret[11] = 0xff;
	memcpy(ret + 12, v4, 4);
}

static int length_parse(const char *text, unsigned most, unsigned *ret)
{
	char *end;

	if (!text) {
		*ret = most;
		return 0;
	}
	if (*text < '0' || *text > '9')
		return -EINVAL;
	unsigned long length = strtoul(text, &end, 10);
	*ret = (unsigned)length;
	return *end || length > most ? -EINVAL : 0;
}

int live_source_parse(struct live_source *ret, const char *text)
{
	char address[INET6_ADDRSTRLEN] = "";
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	struct in_addr v4;
	unsigned bits = 0;

	if (len >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, len);
	if (inet_pton(AF_INET, address, &v4) == 1) {
		map_v4(ret->bytes, &v4);
		if (length_parse(slash ? slash + 1 : NULL, 32, &bits) < 0)
			return -EINVAL;
		bits += V4_BITS;
	} else if (inet_pton(AF_INET6, address, ret->bytes) != 1 ||
		length_parse(slash ? slash + 1 : NULL, 128, &bits) < 0) {
		return -EINVAL;
	}
	struct words words = words_of(ret->bytes), masked = words_masked(words, bits);
	ret->bits = (uint8_t)bits;
	return words.high == masked.high && words.low == masked.low ? 0 : -EINVAL;
}

const char *live_source_format(const struct live_source *source, char text[LIVE_SOURCE_MAX])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	bool is_v4 = source->bits >= V4_BITS && memcmp(source->bytes, mapped, sizeof(mapped)) == 0;
	unsigned bits = is_v4 ? source->bits - V4_BITS : source->bits, most = is_v4 ? 32 : 128;

	inet_ntop(is_v4 ? AF_INET : AF_INET6, source->bytes + (is_v4 ? 12 : 0), text, LIVE_SOURCE_MAX);
	size_t len = strlen(text);
	if (bits < most)
		snprintf(text + len, LIVE_SOURCE_MAX - len, "/%u", bits);
	return text;
}

/* ---- the memory ---- */

int live_list_new(struct live_list **ret, int *fd)
{
	bool fresh = *fd < 0;
	void *memory;

	int error = shared_memory_map(fd, sizeof(struct live_list), &memory);
	if (error < 0)
		return error;
	struct live_list *list = memory;
	if (fresh && (error = siphash_key_new(&list->secret)) < 0) {
		failure_set(error, "no random numbers: getrandom");
		live_list_free(list);
		*fd = fd_close(*fd);
		return error;
	}
	*ret = list;
	return 0;
}

size_t live_list_size(void)
{
	return sizeof(struct live_list);
}

void live_list_free(struct live_list *list)
{
	if (list)
		munmap(list, sizeof(*list));
}

int live_list_view(int fd, struct live_list **ret)
{
	void *memory;

	int error = shared_memory_view(fd, sizeof(struct live_list), NULL, 0, &memory);
	if (error == 0)
		*ret = memory;
	return error;
}

/* ---- places ---- */

static uint32_t load_n(const struct live_list *list)
{
	return atomic_load_explicit(&list->n, memory_order_relaxed);
}

static uint64_t load(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static const struct place *window_place(const struct live_list *list, uint64_t hash, size_t i)
{
	return &list->places[(hash + i) % PLACES];
}

static uint64_t place_hash(const struct live_list *list, uint64_t service, struct words words, unsigned bits)
{
	const uint64_t bytes[] = { service, words.high, words.low, bits };

	return siphash(&list->secret, bytes, sizeof(bytes));
}

static bool place_is(const struct place *place, uint64_t service, struct words words, unsigned bits)
{
	return load(&place->service) == service && load(&place->high) == words.high &&
		load(&place->low) == words.low && atomic_load_explicit(&place->bits, memory_order_relaxed) == bits;
}

/* Only the one that is valid now. */
static const struct place *list_find(
	const struct live_list *list, uint64_t service, struct words words, unsigned bits, uint64_t now_us)
{
	uint64_t hash = place_hash(list, service, words, bits);

	for (size_t i = 0; i < WINDOW; i++) {
		const struct place *place = window_place(list, hash, i);
		uint64_t until_us = atomic_load_explicit(&place->until_us, memory_order_acquire);
		if (until_us == NEVER_USED)
			return NULL;
		if (until_us > now_us && place_is(place, service, words, bits))
			return place;
	}
	return NULL;
}

bool live_list_has(const struct live_list *list, uint64_t service, const struct address *address, uint64_t now_us)
{
	uint8_t bytes[16];

	if (load_n(list) == 0 || !address_is_ip(address))
		return false;
	if (address->sa.sa_family == AF_INET)
		map_v4(bytes, &address->in.sin_addr);
	else
		memcpy(bytes, &address->in6.sin6_addr, sizeof(bytes));
	struct words words = words_of(bytes);
	for (unsigned part = 0; part < 3; part++)
		for (uint64_t left = load(&list->lengths[part]); left; left &= left - 1) {
			unsigned bits = part * 64 + (unsigned)__builtin_ctzll(left);
			if (bits <= 128 && list_find(list, service, words_masked(words, bits), bits, now_us))
				return true;
		}
	return false;
}

/* ---- the master's ---- */

/* Forgets what is over: the count and the lengths are those of the rest. */
static void list_sweep(struct live_list *list, uint64_t now_us)
{
	uint64_t lengths[3] = { 0 };
	uint32_t n = 0;

	for (size_t i = 0; i < PLACES; i++) {
		struct place *place = &list->places[i];
		uint64_t until_us = load(&place->until_us);
		if (until_us > now_us) {
			unsigned bits = place->bits;
			lengths[bits / 64] |= UINT64_C(1) << bits % 64;
			n++;
		} else if (until_us != NEVER_USED) {
			atomic_store(&place->until_us, USED_ONCE);
		}
	}
	for (size_t i = 0; i < 3; i++)
		atomic_store(&list->lengths[i], lengths[i]);
	atomic_store(&list->n, n);
}

/* NULL: all of its window are taken. */
static struct place *list_free_place(struct live_list *list, uint64_t hash, uint64_t now_us)
{
	for (size_t i = 0; i < WINDOW; i++) {
		struct place *place = &list->places[(hash + i) % PLACES];
		if (load(&place->until_us) <= now_us)
			return place;
	}
	return NULL;
}

int live_list_put(struct live_list *list, uint64_t service, const struct live_source *source, uint64_t until_us,
	uint64_t now_us)
{
	struct words words = words_of(source->bytes);
	uint64_t hash = place_hash(list, service, words, source->bits);
	struct place *place = (struct place *)list_find(list, service, words, source->bits, now_us);

	if (place) {
		atomic_store(&place->until_us, until_us);
		return 0;
	}
	place = list_free_place(list, hash, now_us);
	if (!place || load_n(list) >= LIVE_LIST_MAX) {
		list_sweep(list, now_us);
		place = list_free_place(list, hash, now_us);
	}
	if (!place || load_n(list) >= LIVE_LIST_MAX)
		return -ENOSPC;
	if (load(&place->until_us) <= USED_ONCE)
		atomic_fetch_add(&list->n, 1);
	atomic_store(&place->until_us, USED_ONCE);
	place->service = service;
	place->high = words.high;
	place->low = words.low;
	place->bits = source->bits;
	atomic_fetch_or(&list->lengths[source->bits / 64], UINT64_C(1) << source->bits % 64);
	atomic_store(&place->until_us, until_us);
	return 0;
}

bool live_list_remove(struct live_list *list, uint64_t service, const struct live_source *source, uint64_t now_us)
{
	struct place *place = (struct place *)list_find(list, service, words_of(source->bytes), source->bits, now_us);

	if (!place)
		return false;
	atomic_store(&place->until_us, USED_ONCE);
	if (atomic_fetch_sub(&list->n, 1) == 1)
		list_sweep(list, now_us);
	return true;
}

bool live_list_next(const struct live_list *list, size_t *at, uint64_t now_us, struct live_entry *ret)
{
	for (; *at < PLACES; ++*at) {
		const struct place *place = &list->places[*at];
		if (load(&place->until_us) <= now_us)
			continue;
		*ret = (struct live_entry){ .service = place->service, .until_us = place->until_us };
		ret->source.bits = (uint8_t)place->bits;
		for (size_t i = 0; i < 16; i++)
			ret->source.bytes[i] = (uint8_t)((i < 8 ? place->high : place->low) >> (56 - i % 8 * 8));
		++*at;
		return true;
	}
	return false;
}
