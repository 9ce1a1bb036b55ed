/* Names in an open hash table. A wildcard label is filed under its suffix, a glob that is a prefix under that, so a lookup
 * costs one step for the name, one for each of its dots and one for each length that a prefix has, however many names there
 * are. The hash of names and suffixes runs from the last byte to the first: all suffixes come out of one pass; that of prefixes
 * runs the other way.
 *
 * Refuses names that no client could say. The table is the operator's, so no client can make it collide. Owns
 * copies of the names and their numbers, or its arena does. */
#include "names.h"

#include "arena.h"
#include "hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 255
#define SLOTS_MIN    16 /* a power of two */

/* How a name is filed. */
enum form { FORM_EXACT, FORM_SUFFIX, FORM_PREFIX, FORM_GLOB };

struct entry {
	uint32_t hash;
	uint8_t len; /* 0: the slot is free */
	uint8_t form;
	uint32_t count, room;
	uint8_t *name; /* folded; a suffix without its "*.", a prefix without its "*"; a glob with a NUL behind it */
	union {
		uint32_t number; /* where there is but one: most names have one */
		uint32_t *numbers;
	};
};

struct names {
	struct arena *arena;
	enum name_kind kind;
	struct entry *slots;
	size_t n_slots, n_used;
	bool has_suffixes;
	uint32_t prefix_lens[(NAME_MAX_LEN + 32) / 32]; /* bit set */
	struct entry *globs;                            /* those of no other form */
	size_t n_globs;
};

static uint8_t to_lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

static uint32_t hash_finish(uint64_t hash, enum form form)
{
	return (uint32_t)hash_mix(hash + form, HASH_GOLDEN);
}

/* The slot that holds the name or the free one where it belongs. */
static struct entry *slot_find(
	const struct names *names, uint32_t hash, const uint8_t *name, size_t len, enum form form)
{
	for (size_t i = hash;; i++) {
		struct entry *entry = &names->slots[i & (names->n_slots - 1)];
		if (entry->len == 0)
			return entry;
		if (entry->hash == hash && entry->len == len && entry->form == form &&
			memcmp(entry->name, name, len) == 0)
			return entry;
	}
}

static struct entry *slots_new(struct arena *arena, size_t n)
{
	struct entry *slots = arena_take(arena, n * sizeof(*slots));

	if (slots)
		memset(slots, 0, n * sizeof(*slots));
	return slots;
}

struct names *names_new(struct arena *arena, enum name_kind kind)
{
	struct names *names = arena_take(arena, sizeof(*names));

	if (!names)
		return NULL;
	*names = (struct names){ .arena = arena, .kind = kind, .n_slots = SLOTS_MIN };
	names->slots = slots_new(arena, names->n_slots);
	if (!names->slots) {
		arena_drop(arena, names);
		return NULL;
	}
	return names;
}

static const uint32_t *entry_numbers(const struct entry *entry)
{
	return entry->room > 1 ? entry->numbers : &entry->number;
}

static void entry_free(struct entry *entry)
{
	free(entry->name);
	if (entry->room > 1)
		free(entry->numbers);
}

void names_free(struct names *names)
{
	if (!names || names->arena)
		return;
	for (size_t i = 0; i < names->n_slots; i++)
		entry_free(&names->slots[i]);
	for (size_t i = 0; i < names->n_globs; i++)
		entry_free(&names->globs[i]);
	free(names->globs);
	free(names->slots);
	free(names);
}

static int names_resize(struct names *names, size_t n_slots)
{
	struct names grown = { .n_slots = n_slots };

	grown.slots = slots_new(names->arena, grown.n_slots);
	if (!grown.slots)
		return -ENOMEM;
	for (size_t i = 0; i < names->n_slots; i++) {
		const struct entry *entry = &names->slots[i];
		if (entry->len > 0)
			*slot_find(&grown, entry->hash, entry->name, entry->len, entry->form) = *entry;
	}
	arena_drop(names->arena, names->slots);
	names->slots = grown.slots;
	names->n_slots = grown.n_slots;
	return 0;
}

int names_reserve(struct names *names, size_t n)
{
	size_t n_slots = names->n_slots;

	while (n_slots < 2 * n)
		n_slots *= 2;
	return n_slots > names->n_slots ? names_resize(names, n_slots) : 0;
}

static int entry_add(const struct names *names, struct entry *entry, uint32_t number)
{
	if (entry->count > 0 && entry_numbers(entry)[entry->count - 1] == number)
		return 0;
	if (entry->count == 0) {
		entry->number = number;
		entry->room = entry->count = 1;
		return 0;
	}
	if (entry->count == entry->room) {
		uint32_t *numbers = arena_take(names->arena, 2 * (size_t)entry->room * sizeof(*numbers));
		if (!numbers)
			return -ENOMEM;
		memcpy(numbers, entry_numbers(entry), entry->count * sizeof(*numbers));
		if (entry->room > 1)
			arena_drop(names->arena, entry->numbers);
		entry->numbers = numbers;
		entry->room *= 2;
	}
	entry->numbers[entry->count++] = number;
	return 0;
}

/* ---- globs ---- */

bool name_is_glob(enum name_kind kind, const char *pattern)
{
	bool is_address = kind == NAME_HOST && pattern[0] == '[' && strchr(pattern, ':');

	return !is_address && strpbrk(pattern, "*?[\\");
}

/* Behind the set's bracket; NULL: it has none. A bracket that comes first is one of the set. */
static const char *set_end(const char *set)
{
	const char *at = set + 1;

	if (*at == '!')
		at++;
	if (*at == ']')
		at++;
	at = strchr(at, ']');
	return at ? at + 1 : NULL;
}

static bool set_has(const char *set, const char *end, uint8_t c, enum name_kind kind)
{
	const char *at = set + 1;
	bool negated = *at == '!', found = false;

	for (at += negated; at < end - 1; at++) {
		uint8_t low = (uint8_t)*at, high = low;
		if (at[1] == '-' && at + 2 < end - 1) {
			high = (uint8_t)at[2];
			at += 2;
		}
		found |= c >= low && c <= high;
		if (kind == NAME_HOST && c >= 'a' && c <= 'z')
			found |= c - 'a' + 'A' >= low && c - 'a' + 'A' <= high;
	}
	return found != negated;
}

static uint8_t name_fold(enum name_kind kind, uint8_t c)
{
	return kind == NAME_HOST ? to_lower(c) : c;
}

/* One step of the pattern that takes one byte; NULL: it does not take this one. */
static const char *glob_step(enum name_kind kind, const char *pattern, uint8_t c)
{
	c = name_fold(kind, c);
	if (*pattern == '?')
		return pattern + 1;
	if (*pattern == '[') {
		const char *end = set_end(pattern);
		return end && set_has(pattern, end, c, kind) ? end : NULL;
	}
	if (*pattern == '\\')
		pattern++;
	return *pattern && name_fold(kind, (uint8_t)*pattern) == c ? pattern + 1 : NULL;
}

/* What a `*` takes is tried shortest first; only the last one needs to be tried again. */
static bool glob_match(enum name_kind kind, const char *pattern, const uint8_t *name, size_t len)
{
	const char *star = NULL;
	size_t at = 0, star_at = 0;

	for (;;) {
		if (*pattern == '*') {
			star = ++pattern;
			star_at = at;
			continue;
		}
		if (at == len && !*pattern)
			return true;
		const char *next = at < len ? glob_step(kind, pattern, name[at]) : NULL;
		if (next) {
			pattern = next;
			at++;
		} else if (star && star_at < len) {
			pattern = star;
			at = ++star_at;
		} else {
			return false;
		}
	}
}

/* Sets have ends, and a backslash has something behind it. */
static bool glob_is_whole(const char *pattern)
{
	for (const char *at = pattern; *at; at++) {
		if (*at == '\\' && !*++at)
			return false;
		if (*at != '[')
			continue;
		at = set_end(at);
		if (!at)
			return false;
		at--;
	}
	return true;
}

bool name_is_whole(enum name_kind kind, const char *pattern)
{
	return !name_is_glob(kind, pattern) || glob_is_whole(pattern);
}

static enum form form_find(enum name_kind kind, const char *name, size_t len)
{
	if (!name_is_glob(kind, name))
		return FORM_EXACT;
	if (kind == NAME_HOST && name[0] == '*' && name[1] == '.' && !name_is_glob(kind, name + 1))
		return FORM_SUFFIX;
	return len > 1 && strcspn(name, "*?[\\") == len - 1 && name[len - 1] == '*' ? FORM_PREFIX : FORM_GLOB;
}

/* ---- insertion ---- */

static int entry_name(const struct names *names, struct entry *entry, const uint8_t *name, size_t len)
{
	entry->name = arena_take(names->arena, len + 1);
	if (!entry->name)
		return -ENOMEM;
	memcpy(entry->name, name, len);
	entry->name[len] = '\0';
	entry->len = (uint8_t)len;
	return 0;
}

static int globs_grow(struct names *names)
{
	size_t n = names->n_globs;
	struct entry *more = slots_new(names->arena, n ? 2 * n : 1);

	if (!more)
		return -ENOMEM;
	if (n)
		memcpy(more, names->globs, n * sizeof(*more));
	arena_drop(names->arena, names->globs);
	names->globs = more;
	return 0;
}

static int glob_insert(struct names *names, const char *name, size_t len, uint32_t number)
{
	for (size_t i = 0; i < names->n_globs; i++)
		if (strcmp((const char *)names->globs[i].name, name) == 0)
			return entry_add(names, &names->globs[i], number);
	/* Full at 0 and every power of two. */
	if ((names->n_globs & (names->n_globs - 1)) == 0 && globs_grow(names) != 0)
		return -ENOMEM;
	struct entry *entry = &names->globs[names->n_globs];
	*entry = (struct entry){ .form = FORM_GLOB };
	if (entry_name(names, entry, (const uint8_t *)name, len) != 0)
		return -ENOMEM;
	names->n_globs++;
	return entry_add(names, entry, number);
}

static uint64_t hash_forward(const uint8_t *name, size_t len)
{
	uint64_t hash = HASH_START;

	for (size_t i = 0; i < len; i++)
		hash = hash_byte(hash, name[i]);
	return hash;
}

bool name_is_valid(enum name_kind kind, const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len <= NAME_MAX_LEN && name_is_whole(kind, name) &&
		(len > 2 || form_find(kind, name, len) != FORM_SUFFIX);
}

int names_insert(struct names *names, const char *name, uint32_t number)
{
	size_t len = strlen(name);
	enum form form = form_find(names->kind, name, len);
	uint8_t folded[NAME_MAX_LEN];
	uint64_t hash = HASH_START;

	if (!name_is_valid(names->kind, name))
		return -EINVAL;
	if (form == FORM_GLOB)
		return glob_insert(names, name, len, number);
	if (form == FORM_SUFFIX)
		name += 2;
	len -= form == FORM_SUFFIX ? 2 : form == FORM_PREFIX ? 1 : 0;
	for (size_t i = len; i-- > 0;) {
		folded[i] = name_fold(names->kind, (uint8_t)name[i]);
		hash = hash_byte(hash, folded[i]);
	}
	uint32_t finished = hash_finish(form == FORM_PREFIX ? hash_forward(folded, len) : hash, form);
	/* At most half full: a miss ends after a step or two. */
	if ((names->n_used + 1) * 2 > names->n_slots && names_resize(names, names->n_slots * 2) != 0)
		return -ENOMEM;
	struct entry *entry = slot_find(names, finished, folded, len, form);
	if (entry->len == 0) {
		struct entry fresh = { .hash = finished, .form = (uint8_t)form };
		if (entry_name(names, &fresh, folded, len) != 0)
			return -ENOMEM;
		*entry = fresh;
		names->n_used++;
		names->has_suffixes |= form == FORM_SUFFIX;
		if (form == FORM_PREFIX)
			names->prefix_lens[len / 32] |= UINT32_C(1) << len % 32;
	}
	return entry_add(names, entry, number);
}

/* ---- looking up ---- */

typedef void found_function(void *context, const uint32_t *numbers, size_t count);

/* `is_whole`: it is the name, not only the end of one. */
static void exact_and_suffixes_lookup(const struct names *names, const uint8_t *folded, size_t len, bool is_whole,
	found_function *found, void *context)
{
	struct {
		uint64_t hash;
		uint8_t at;
	} suffix[NAME_MAX_LEN];
	size_t n_suffixes = 0;
	uint64_t hash = HASH_START;

	for (size_t i = len; i-- > 0;) {
		if (folded[i] == '.' && i > 0 && i + 1 < len) {
			suffix[n_suffixes].hash = hash;
			suffix[n_suffixes++].at = (uint8_t)(i + 1);
		}
		hash = hash_byte(hash, folded[i]);
	}
	const struct entry *entry = slot_find(names, hash_finish(hash, FORM_EXACT), folded, len, FORM_EXACT);
	if (is_whole && entry->count > 0)
		found(context, entry_numbers(entry), entry->count);
	for (size_t i = names->has_suffixes ? n_suffixes : 0; i-- > 0;) {
		size_t at = suffix[i].at;
		entry = slot_find(
			names, hash_finish(suffix[i].hash, FORM_SUFFIX), folded + at, len - at, FORM_SUFFIX);
		if (entry->count > 0)
			found(context, entry_numbers(entry), entry->count);
	}
}

static void prefixes_lookup(
	const struct names *names, const uint8_t *folded, size_t len, found_function *found, void *context)
{
	uint64_t hash = HASH_START;

	for (size_t i = 1; i <= len; i++) {
		hash = hash_byte(hash, folded[i - 1]);
		if (!(names->prefix_lens[i / 32] >> i % 32 & 1))
			continue;
		const struct entry *entry = slot_find(names, hash_finish(hash, FORM_PREFIX), folded, i, FORM_PREFIX);
		if (entry->count > 0)
			found(context, entry_numbers(entry), entry->count);
	}
}

static bool has_prefixes(const struct names *names)
{
	uint32_t any = 0;

	for (size_t i = 0; i < sizeof(names->prefix_lens) / sizeof(names->prefix_lens[0]); i++)
		any |= names->prefix_lens[i];
	return any != 0;
}

static void fold(const struct names *names, const uint8_t *name, size_t len, uint8_t *ret)
{
	for (size_t i = 0; i < len; i++)
		ret[i] = name_fold(names->kind, name[i]);
}

void names_lookup(const struct names *names, const uint8_t *name, size_t len, found_function *found, void *context)
{
	uint8_t folded[NAME_MAX_LEN];
	size_t kept = len < NAME_MAX_LEN ? len : NAME_MAX_LEN; /* a longer one still has its suffixes and prefixes */

	if (len == 0)
		return;
	fold(names, name + len - kept, kept, folded);
	exact_and_suffixes_lookup(names, folded, kept, kept == len, found, context);
	if (has_prefixes(names)) {
		fold(names, name, kept, folded);
		prefixes_lookup(names, folded, kept, found, context);
	}
	for (size_t i = 0; i < names->n_globs; i++)
		if (glob_match(names->kind, (const char *)names->globs[i].name, name, len))
			found(context, entry_numbers(&names->globs[i]), names->globs[i].count);
}

bool name_matches(enum name_kind kind, const char *pattern, const uint8_t *name, size_t len)
{
	size_t pattern_len = strlen(pattern);

	if (!name_is_glob(kind, pattern)) {
		for (size_t i = 0; i < len && len == pattern_len; i++)
			if (name_fold(kind, (uint8_t)pattern[i]) != name_fold(kind, name[i]))
				return false;
		return len == pattern_len;
	}
	/* A label has at least one byte: "*.example.org" is no ".example.org". */
	if (form_find(kind, pattern, pattern_len) == FORM_SUFFIX && len < pattern_len)
		return false;
	return glob_match(kind, pattern, name, len);
}
