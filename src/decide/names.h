/* Names of services, hosts, paths, users in a hash table, exact or as globs. Each carries a list of numbers in ascending
 * order.
 *
 * In a glob `*` is any run of bytes, also none, `?` one byte, `[a-z]` and `[!a-z]` one byte of a set, `\\` takes the next byte
 * as it is. "*.example.org" of hosts and "/shop/" with `*` at the end of either kind are found as fast as exact names; any other
 * glob is compared with each value. "[2001:db8::1]" is a host, not a set. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is the same name. */
enum name_kind {
	NAME_HOST, /* case is folded (ASCII); the `*` of "*.example.org" is one or more labels */
	NAME_TEXT, /* byte by byte */
};

struct arena;
struct names;

/* In the arena, and freed with it, or without one (NULL) on the heap. */
struct names *names_new(struct arena *arena, enum name_kind kind);
void names_free(struct names *names); /* accepts NULL */

/* Could it be inserted? */
bool name_is_valid(enum name_kind kind, const char *name);

/* Makes room for so many. 0 or -ENOMEM, which does no harm. */
int names_reserve(struct names *names, size_t n);

/* 0, -EINVAL (empty, longer than 255 bytes, a set or a backslash without its end), -ENOMEM. Numbers of one name must come
 * in ascending order; the same number again is ignored. */
int names_insert(struct names *names, const char *name, uint32_t number);

/* Calls `found` for the exact name and then for each glob that covers it, with its numbers. */
void names_lookup(const struct names *names, const uint8_t *name, size_t len,
	void (*found)(void *context, const uint32_t *numbers, size_t count), void *context);

/* Does one pattern, as names_insert() takes it, cover the name? */
bool name_matches(enum name_kind kind, const char *pattern, const uint8_t *name, size_t len);

/* Can it be inserted, as far as its sets and backslashes go? */
bool name_is_whole(enum name_kind kind, const char *pattern);

/* Does it stand for other names than the one that it is? */
bool name_is_glob(enum name_kind kind, const char *pattern);
