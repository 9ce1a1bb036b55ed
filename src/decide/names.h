/* Host-like names in a hash table: exact ones, and "*.example.org" for one or more labels to the left of
 * example.org. Case is folded (ASCII). Each name carries a list of numbers in ascending order. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct names;

struct names *names_new(void);
void names_free(struct names *names); /* accepts NULL */

/* 0, -EINVAL (empty, longer than 255 bytes, `*` elsewhere than as the whole first label), -ENOMEM. Numbers of
 * one name must come in ascending order; the same number again is ignored. */
int names_insert(struct names *names, const char *name, uint32_t number);

/* Calls `found` for the exact name and then for each suffix that has a wildcard, longest first, with its
 * numbers. */
void names_lookup(const struct names *names, const uint8_t *name, size_t len,
	void (*found)(void *context, const uint32_t *numbers, size_t count), void *context);

/* Does one pattern (exact or "*.suffix") cover the name? */
bool name_matches(const char *pattern, const uint8_t *name, size_t len);
