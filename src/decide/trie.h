/* Literal prefixes: which of thousands of byte strings begin the evidence, found in one walk over it. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct arena;
struct trie;

#define TRIE_NONE UINT32_MAX

/* In the arena, and freed with it, or without one (NULL) on the heap. */
struct trie *trie_new(struct arena *arena);
void trie_free(struct trie *trie); /* accepts NULL */

/* `rank` orders the literals (lowest first); a literal given twice keeps its lowest. len >= 1. 0 or
 * -ENOMEM. */
int trie_insert(struct trie *trie, const void *literal, size_t len, uint32_t rank);

/* Makes walks among many literals shorter; to be called behind the last trie_insert(). 0 or -ENOMEM, which
 * does no harm. */
int trie_index(struct trie *trie);

struct trie_match {
	uint32_t yes;  /* lowest rank of a literal that is a whole prefix of the bytes; TRIE_NONE */
	uint32_t more; /* lowest rank of a longer literal that the bytes are a true prefix of; TRIE_NONE */
};
void trie_match(const struct trie *trie, const uint8_t *bytes, size_t len, struct trie_match *ret);

/* The same walk, with `found` called for every literal that is a whole prefix of the bytes, shortest first.
 * Returns what trie_match() puts into `more`. */
uint32_t trie_walk(const struct trie *trie, const uint8_t *bytes, size_t len,
	void (*found)(void *context, uint32_t rank), void *context);
