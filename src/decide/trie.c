/* A trie of byte strings with runs of single children pressed into one node, so that a walk touches about as
 * many nodes as it takes bytes to tell the literals apart.
 *
 *     node "SERVICE-0" -> '0' node "01 "  rank 3
 *                      -> '1' node ""     rank 8, -> ...
 *
 * An index may lead past the first nodes at once.
 *
 * Refuses nothing but lack of memory, after which all that was inserted before is still found. Owns copies of
 * the literals, or its arena does. */
#include "trie.h"

#include "arena.h"
#include "hash.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_NODES_MIN 32 /* below that the walk is as short */

struct node {
	uint32_t rank;  /* of the literal that ends here */
	uint32_t below; /* lowest of the literals that end further down */
	uint32_t label_len;
	uint16_t n_children, room;
	uint8_t keys[];
	/* In one piece, for the sake of the cache:
	 *   uint8_t keys[room], rounded up         the next byte, one for each child
	 *   struct node *children[room]
	 *   uint8_t label[label_len]                       what leads here behind its key */
};

struct trie {
	struct arena *arena;
	struct node *root;
	struct jump *index; /* NULL: none */
	size_t index_len;
	size_t n_index; /* a power of two, at least twice what is in it */
};

static uint32_t lower(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static size_t keys_size(size_t room)
{
	return (room + sizeof(void *) - 1) / sizeof(void *) * sizeof(void *);
}

static struct node **node_children(const struct node *node)
{
	return (struct node **)(node->keys + keys_size(node->room));
}

static uint8_t *node_label(const struct node *node)
{
	return (uint8_t *)(node_children(node) + node->room);
}

/* NULL: out of memory. The caller fills keys and children. */
static struct node *node_new(
	const struct trie *trie, const uint8_t *label, size_t len, size_t n_children, size_t room)
{
	size_t size = sizeof(struct node) + keys_size(room) + room * sizeof(struct node *) + len;
	struct node *node = arena_take(trie->arena, size);

	if (!node)
		return NULL;
	node->rank = node->below = TRIE_NONE;
	node->label_len = (uint32_t)len;
	node->n_children = (uint16_t)n_children;
	node->room = (uint16_t)room;
	if (len > 0)
		memcpy(node_label(node), label, len);
	return node;
}

/* Takes over ranks and the first `n` children. */
static void node_inherit(struct node *node, const struct node *old, size_t n)
{
	node->rank = old->rank;
	node->below = old->below;
	memcpy(node->keys, old->keys, n);
	memcpy(node_children(node), node_children(old), n * sizeof(struct node *));
}

static void node_free(struct node *node)
{
	for (uint32_t i = 0; i < node->n_children; i++)
		node_free(node_children(node)[i]);
	free(node);
}

struct trie *trie_new(struct arena *arena)
{
	struct trie *trie = arena_take(arena, sizeof(*trie));

	if (!trie)
		return NULL;
	*trie = (struct trie){ .arena = arena };
	trie->root = node_new(trie, NULL, 0, 0, 0);
	if (!trie->root) {
		arena_drop(arena, trie);
		return NULL;
	}
	return trie;
}

void trie_free(struct trie *trie)
{
	if (!trie || trie->arena)
		return;
	node_free(trie->root);
	free(trie->index);
	free(trie);
}

/* Gives the node one more child, a leaf. The node may move. */
static int node_grow(const struct trie *trie, struct node **at, uint8_t key, const uint8_t *label, size_t len)
{
	struct node *old = *at, *node = old, *leaf = node_new(trie, label, len, 0, 0);

	if (leaf && old->n_children == old->room) {
		node = node_new(
			trie, node_label(old), old->label_len, old->n_children, old->room ? 2U * old->room : 1);
		if (node)
			node_inherit(node, old, old->n_children);
	}
	if (!leaf || !node) {
		arena_drop(trie->arena, leaf);
		return -ENOMEM;
	}
	node->keys[node->n_children] = key;
	node_children(node)[node->n_children++] = leaf;
	if (node != old)
		arena_drop(trie->arena, old);
	*at = node;
	return 0;
}

/* Cuts the node's label behind `len` bytes: what is behind moves to a new and only child. The node moves. */
static int node_split(const struct trie *trie, struct node **at, uint32_t len)
{
	struct node *old = *at;
	const uint8_t *label = node_label(old);
	struct node *tail =
		node_new(trie, label + len + 1, old->label_len - len - 1, old->n_children, old->n_children);
	struct node *top = node_new(trie, label, len, 1, 2);

	if (!tail || !top) {
		arena_drop(trie->arena, tail);
		arena_drop(trie->arena, top);
		return -ENOMEM;
	}
	node_inherit(tail, old, old->n_children);
	top->below = lower(old->rank, old->below);
	top->keys[0] = label[len];
	node_children(top)[0] = tail;
	arena_drop(trie->arena, old);
	*at = top;
	return 0;
}

/* Where the parent keeps the child for this byte; NULL: there is none. */
static struct node **node_child(const struct node *node, uint8_t key)
{
	const uint8_t *at = memchr(node->keys, key, node->n_children);

	return at ? &node_children(node)[at - node->keys] : NULL;
}

/* How many bytes the label has in common with the bytes from `at` on. */
static uint32_t label_common(const struct node *node, uint32_t at, const uint8_t *bytes, size_t len)
{
	const uint8_t *label = node_label(node) + at;
	uint32_t n = 0;

	while (n < node->label_len - at && n < len && label[n] == bytes[n])
		n++;
	return n;
}

/* Makes the way to the node where the literal ends, as far as it is not there. */
static int way_make(const struct trie *trie, struct node **at, const uint8_t *literal, size_t len)
{
	while (len > 0) {
		struct node **child = node_child(*at, literal[0]);
		if (!child)
			return node_grow(trie, at, literal[0], literal + 1, len - 1);
		uint32_t common = label_common(*child, 0, literal + 1, len - 1);
		if (common < (*child)->label_len && node_split(trie, child, common) != 0)
			return -ENOMEM;
		literal += 1 + common;
		len -= 1 + common;
		at = child;
	}
	return 0;
}

int trie_insert(struct trie *trie, const void *literal, size_t len, uint32_t rank)
{
	const uint8_t *bytes = literal, *end = bytes + len;

	assert(len > 0 && len < UINT32_MAX);
	/* Nodes are about to move. */
	arena_drop(trie->arena, trie->index);
	trie->index = NULL;
	if (way_make(trie, &trie->root, literal, len) != 0)
		return -ENOMEM;
	/* Nothing can fail any more: the same way again, to lower what lies below each node. */
	struct node *node = trie->root;
	while (bytes < end) {
		node->below = lower(node->below, rank);
		node = *node_child(node, bytes[0]);
		bytes += 1 + node->label_len;
	}
	node->rank = lower(node->rank, rank);
	return 0;
}

/* ---- the index: one step for the first bytes ---- */

/* What the first trie->index_len bytes of a literal lead to. */
struct jump {
	uint64_t key[2];
	const struct node *node; /* NULL: the slot is free */
	uint32_t label_at;       /* so much of its label belongs to the key */
};

static const uint8_t index_lens[] = { 2, 4, 8, 16 }; /* loads of one or two words */

static void jump_key(uint64_t key[2], const uint8_t *bytes, size_t len)
{
	key[0] = key[1] = 0;
	switch (len) {
	case 2:
		memcpy(key, bytes, 2);
		break;
	case 4:
		memcpy(key, bytes, 4);
		break;
	case 8:
		memcpy(key, bytes, 8);
		break;
	default:
		memcpy(key, bytes, 16);
		break;
	}
}

/* The slot that has the key, or the free one where it belongs. */
static struct jump *jump_find(const struct trie *trie, const uint64_t key[2])
{
	for (size_t i = hash_mix(key[0] ^ HASH_GOLDEN, key[1] ^ UINT64_C(0xd6e8feb86659fd93));; i++) {
		struct jump *jump = &trie->index[i & (trie->n_index - 1)];
		if (!jump->node || (jump->key[0] == key[0] && jump->key[1] == key[1]))
			return jump;
	}
}

/* A walk over all nodes, for one length of the index. */
struct survey {
	struct trie *trie;
	size_t index_len;
	size_t n_nodes; /* that an index would lead to */
	size_t saving;  /* steps that it would save, over all literals */
	bool is_built;  /* put them in */
	uint8_t path[16];
};

/* `depth`: bytes of literals before the node's own, its key among them; `level`: nodes before it. Returns the
 * number of literals here and below. A literal that ends in the first bytes would be jumped over: no index
 * for what is below it. */
static size_t survey_node(struct survey *survey, const struct node *node, size_t depth, size_t level)
{
	size_t end = depth + node->label_len, n = node->rank != TRIE_NONE;
	bool is_crossing = depth <= survey->index_len && survey->index_len <= end;

	if (depth < sizeof(survey->path))
		memcpy(survey->path + depth, node_label(node),
			end <= sizeof(survey->path) ? node->label_len : sizeof(survey->path) - depth);
	for (uint32_t i = 0; i < node->n_children; i++) {
		bool is_passed = is_crossing || (node->rank != TRIE_NONE && end < survey->index_len);
		if (end < sizeof(survey->path))
			survey->path[end] = node->keys[i];
		/* Behind the key nothing crosses any more. */
		n += survey_node(survey, node_children(node)[i], is_passed ? SIZE_MAX / 2 : end + 1, level + 1);
	}
	if (!is_crossing)
		return n;
	survey->n_nodes++;
	survey->saving += n * level;
	if (survey->is_built) {
		uint64_t key[2];
		jump_key(key, survey->path, survey->index_len);
		*jump_find(survey->trie, key) =
			(struct jump){ { key[0], key[1] }, node, (uint32_t)(survey->index_len - depth) };
	}
	return n;
}

int trie_index(struct trie *trie)
{
	struct survey best = { .saving = 0 };

	arena_drop(trie->arena, trie->index);
	trie->index = NULL;
	for (size_t i = 0; i < sizeof(index_lens); i++) {
		struct survey survey = { .trie = trie, .index_len = index_lens[i] };
		survey_node(&survey, trie->root, 0, 0);
		if (survey.saving > best.saving)
			best = survey;
	}
	if (best.n_nodes < INDEX_NODES_MIN)
		return 0;
	for (trie->n_index = 1; trie->n_index < best.n_nodes * 2;)
		trie->n_index *= 2;
	trie->index = arena_take(trie->arena, trie->n_index * sizeof(*trie->index));
	if (!trie->index)
		return -ENOMEM;
	memset(trie->index, 0, trie->n_index * sizeof(*trie->index));
	trie->index_len = best.index_len;
	best.is_built = true;
	survey_node(&best, trie->root, 0, 0);
	return 0;
}

/* ---- looking up ---- */

uint32_t trie_walk(const struct trie *trie, const uint8_t *bytes, size_t len,
	void (*found)(void *context, uint32_t rank), void *context)
{
	const struct node *node = trie->root;
	uint32_t label_at = 0;
	size_t at = 0;

	if (trie->index && len >= trie->index_len) {
		uint64_t key[2];
		jump_key(key, bytes, trie->index_len);
		const struct jump *jump = jump_find(trie, key);
		if (jump->node) {
			node = jump->node;
			label_at = jump->label_at;
			at = trie->index_len;
		}
	}
	for (;;) {
		uint32_t common = label_common(node, label_at, bytes + at, len - at);
		at += common;
		if (label_at + common < node->label_len)
			return at == len ? lower(node->rank, node->below) : TRIE_NONE;
		if (node->rank != TRIE_NONE)
			found(context, node->rank);
		if (at == len)
			return node->below;
		struct node *const *child = node_child(node, bytes[at]);
		if (!child)
			return TRIE_NONE;
		node = *child;
		label_at = 0;
		at++;
	}
}

static void keep_lowest(void *context, uint32_t rank)
{
	uint32_t *lowest = context;

	*lowest = lower(*lowest, rank);
}

void trie_match(const struct trie *trie, const uint8_t *bytes, size_t len, struct trie_match *ret)
{
	ret->yes = TRIE_NONE;
	ret->more = trie_walk(trie, bytes, len, keep_lowest, &ret->yes);
}
