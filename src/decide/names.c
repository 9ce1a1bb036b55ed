/* Host-like names in an open hash table. A wildcard is filed under its suffix, so a lookup costs one step for
 * the name and one for each of its dots, however many names there are. The hash runs from the last byte to
 * the first: all suffixes come out of one pass.
 *
 * Refuses names that no client could say. The table is the operator's, so no client can make it collide. Owns
 * copies of the names and their numbers. */
#include "names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN  255
#define SLOTS_MIN     16 /* a power of two */
#define HASH_SEED     UINT32_C(0x811c9dc5)
#define WILDCARD_SALT UINT32_C(0x9e3779b9)

struct entry {
	uint32_t hash;
	uint8_t len; /* 0: the slot is free */
	bool is_wildcard;
	uint32_t count, room;
	uint8_t *name; /* lower case, a wildcard without its "*." */
	uint32_t *numbers;
};

struct names {
	struct entry *slots;
	size_t n_slots, n_used;
	bool has_wildcards;
};

static uint8_t to_lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

/* One more byte to the left. */
static uint32_t hash_step(uint32_t hash, uint8_t c)
{
	return (hash ^ c) * UINT32_C(0x01000193);
}

static uint32_t hash_finish(uint32_t hash, bool is_wildcard)
{
	if (is_wildcard)
		hash ^= WILDCARD_SALT;
	hash ^= hash >> 15;
	hash *= UINT32_C(0x2c1b3c6d);
	return hash ^ hash >> 13;
}

/* The slot that holds the name or the free one where it belongs. */
static struct entry *slot_find(
	const struct names *names, uint32_t hash, const uint8_t *name, size_t len, bool is_wildcard)
{
	for (size_t i = hash;; i++) {
		struct entry *entry = &names->slots[i & (names->n_slots - 1)];
		if (entry->len == 0)
			return entry;
		if (entry->hash == hash && entry->len == len && entry->is_wildcard == is_wildcard &&
			memcmp(entry->name, name, len) == 0)
			return entry;
	}
}

struct names *names_new(void)
{
	struct names *names = calloc(1, sizeof(*names));

	if (!names)
		return NULL;
	names->n_slots = SLOTS_MIN;
	names->slots = calloc(names->n_slots, sizeof(*names->slots));
	if (!names->slots) {
		free(names);
		return NULL;
	}
	return names;
}

void names_free(struct names *names)
{
	if (!names)
		return;
	for (size_t i = 0; i < names->n_slots; i++) {
		free(names->slots[i].name);
		free(names->slots[i].numbers);
	}
	free(names->slots);
	free(names);
}

static int names_grow(struct names *names)
{
	struct names grown = { .n_slots = names->n_slots * 2 };

	grown.slots = calloc(grown.n_slots, sizeof(*grown.slots));
	if (!grown.slots)
		return -ENOMEM;
	for (size_t i = 0; i < names->n_slots; i++) {
		const struct entry *entry = &names->slots[i];
		if (entry->len > 0)
			*slot_find(&grown, entry->hash, entry->name, entry->len, entry->is_wildcard) = *entry;
	}
	free(names->slots);
	names->slots = grown.slots;
	names->n_slots = grown.n_slots;
	return 0;
}

static int entry_add(struct entry *entry, uint32_t number)
{
	if (entry->count > 0 && entry->numbers[entry->count - 1] == number)
		return 0;
	if (entry->count == entry->room) {
		uint32_t room = entry->room > 0 ? entry->room * 2 : 1;
		uint32_t *numbers = reallocarray(entry->numbers, room, sizeof(*numbers));
		if (!numbers)
			return -ENOMEM;
		entry->numbers = numbers;
		entry->room = room;
	}
	entry->numbers[entry->count++] = number;
	return 0;
}

int names_insert(struct names *names, const char *name, uint32_t number)
{
	bool is_wildcard = name[0] == '*' && name[1] == '.';
	size_t len = strlen(name);
	uint8_t folded[NAME_MAX_LEN];
	uint32_t hash = HASH_SEED;

	if (len > NAME_MAX_LEN)
		return -EINVAL;
	if (is_wildcard) {
		name += 2;
		len -= 2;
	}
	if (len == 0 || strchr(name, '*'))
		return -EINVAL;
	for (size_t i = len; i-- > 0;) {
		folded[i] = to_lower((uint8_t)name[i]);
		hash = hash_step(hash, folded[i]);
	}
	hash = hash_finish(hash, is_wildcard);
	/* At most half full: a miss ends after a step or two. */
	if ((names->n_used + 1) * 2 > names->n_slots && names_grow(names) != 0)
		return -ENOMEM;
	struct entry *entry = slot_find(names, hash, folded, len, is_wildcard);
	if (entry->len == 0) {
		struct entry fresh = { .hash = hash, .len = (uint8_t)len, .is_wildcard = is_wildcard };
		fresh.name = malloc(len);
		if (!fresh.name)
			return -ENOMEM;
		memcpy(fresh.name, folded, len);
		*entry = fresh;
		names->n_used++;
		names->has_wildcards |= is_wildcard;
	}
	return entry_add(entry, number);
}

void names_lookup(const struct names *names, const uint8_t *name, size_t len,
	void (*found)(void *context, const uint32_t *numbers, size_t count), void *context)
{
	uint8_t folded[NAME_MAX_LEN];
	struct {
		uint32_t hash;
		uint8_t at;
	} suffix[NAME_MAX_LEN];
	size_t n_suffixes = 0;
	uint32_t hash = HASH_SEED;
	const struct entry *entry;

	if (len == 0 || len > NAME_MAX_LEN)
		return;
	for (size_t i = len; i-- > 0;) {
		if (name[i] == '.' && i > 0 && i + 1 < len) {
			suffix[n_suffixes].hash = hash;
			suffix[n_suffixes++].at = (uint8_t)(i + 1);
		}
		folded[i] = to_lower(name[i]);
		hash = hash_step(hash, folded[i]);
	}
	entry = slot_find(names, hash_finish(hash, false), folded, len, false);
	if (entry->count > 0)
		found(context, entry->numbers, entry->count);
	for (size_t i = names->has_wildcards ? n_suffixes : 0; i-- > 0;) {
		size_t at = suffix[i].at;
		entry = slot_find(names, hash_finish(suffix[i].hash, true), folded + at, len - at, true);
		if (entry->count > 0)
			found(context, entry->numbers, entry->count);
	}
}

static bool folds_equal(const char *pattern, const uint8_t *name, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (to_lower((uint8_t)pattern[i]) != to_lower(name[i]))
			return false;
	return true;
}

bool name_matches(const char *pattern, const uint8_t *name, size_t len)
{
	size_t pattern_len = strlen(pattern);

	if (pattern[0] != '*' || pattern[1] != '.')
		return pattern_len == len && folds_equal(pattern, name, len);
	/* ".example.org" and at least one byte to the left of it. */
	pattern++;
	pattern_len--;
	if (pattern_len < 2 || len <= pattern_len)
		return false;
	return folds_equal(pattern, name + len - pattern_len, pattern_len);
}
