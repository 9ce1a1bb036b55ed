/* A trie of byte strings with runs of single children pressed into one node, so that a walk touches about as
 * many nodes as it takes bytes to tell the literals apart.
 *
 *     node "SERVICE-0" -> '0' node "01 "  rank 3
 *                      -> '1' node ""     rank 8, -> ...
 *
 * Refuses nothing but lack of memory, after which all that was inserted before is still found. Owns copies of
 * the literals. */
#include "trie.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct node {
	uint32_t rank;  /* of the literal that ends here */
	uint32_t below; /* lowest of the literals that end further down */
	uint32_t label_len;
	uint32_t n_children;
	uint8_t keys[];
	/* In one piece, for the sake of the cache:
	 *   uint8_t keys[n_children], rounded up   the next byte, one for each child
	 *   struct node *children[n_children]
	 *   uint8_t label[label_len]               the bytes that lead here behind the one in the parent's
	 * keys */
};

struct trie {
	struct node *root;
};

static uint32_t lower(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static size_t keys_size(size_t n_children)
{
	return (n_children + sizeof(void *) - 1) / sizeof(void *) * sizeof(void *);
}

static struct node **node_children(const struct node *node)
{
	return (struct node **)(node->keys + keys_size(node->n_children));
}

static uint8_t *node_label(const struct node *node)
{
	return (uint8_t *)(node_children(node) + node->n_children);
}

/* NULL: out of memory. The caller fills keys and children. */
static struct node *node_new(const uint8_t *label, size_t len, size_t n_children)
{
	struct node *node =
	        malloc(sizeof(*node) + keys_size(n_children) + n_children * sizeof(struct node *) + len);

	if (!node)
		return NULL;
	node->rank = node->below = TRIE_NONE;
	node->label_len = (uint32_t)len;
	node->n_children = (uint32_t)n_children;
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

struct trie *trie_new(void)
{
	struct trie *trie = malloc(sizeof(*trie));

	if (!trie)
		return NULL;
	trie->root = node_new(NULL, 0, 0);
	if (!trie->root) {
		free(trie);
		return NULL;
	}
	return trie;
}

void trie_free(struct trie *trie)
{
	if (!trie)
		return;
	node_free(trie->root);
	free(trie);
}

/* Gives the node one more child, a leaf. The node moves. */
static int node_grow(struct node **at, uint8_t key, const uint8_t *label, size_t len)
{
	struct node *old = *at, *leaf = node_new(label, len, 0);
	struct node *node = node_new(node_label(old), old->label_len, old->n_children + 1);

	if (!leaf || !node) {
		free(leaf);
		free(node);
		return -ENOMEM;
	}
	node_inherit(node, old, old->n_children);
	node->keys[old->n_children] = key;
	node_children(node)[old->n_children] = leaf;
	free(old);
	*at = node;
	return 0;
}

/* Cuts the node's label behind `len` bytes: what is behind moves to a new and only child. The node moves. */
static int node_split(struct node **at, uint32_t len)
{
	struct node *old = *at;
	const uint8_t *label = node_label(old);
	struct node *tail = node_new(label + len + 1, old->label_len - len - 1, old->n_children);
	struct node *top = node_new(label, len, 1);

	if (!tail || !top) {
		free(tail);
		free(top);
		return -ENOMEM;
	}
	node_inherit(tail, old, old->n_children);
	top->below = lower(old->rank, old->below);
	top->keys[0] = label[len];
	node_children(top)[0] = tail;
	free(old);
	*at = top;
	return 0;
}

/* Where the parent keeps the child for this byte; NULL: there is none. */
static struct node **node_child(const struct node *node, uint8_t key)
{
	const uint8_t *at = memchr(node->keys, key, node->n_children);

	return at ? &node_children(node)[at - node->keys] : NULL;
}

/* How many bytes of the label the bytes share. */
static uint32_t label_common(const struct node *node, const uint8_t *bytes, size_t len)
{
	const uint8_t *label = node_label(node);
	uint32_t n = 0;

	while (n < node->label_len && n < len && label[n] == bytes[n])
		n++;
	return n;
}

/* Makes the way to the node where the literal ends, as far as it is not there. */
static int way_make(struct node **at, const uint8_t *literal, size_t len)
{
	while (len > 0) {
		struct node **child = node_child(*at, literal[0]);
		if (!child)
			return node_grow(at, literal[0], literal + 1, len - 1);
		uint32_t common = label_common(*child, literal + 1, len - 1);
		if (common < (*child)->label_len && node_split(child, common) != 0)
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
	if (way_make(&trie->root, literal, len) != 0)
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

uint32_t trie_walk(const struct trie *trie, const uint8_t *bytes, size_t len,
        void (*found)(void *context, uint32_t rank), void *context)
{
	const struct node *node = trie->root;

	while (len > 0) {
		struct node *const *child = node_child(node, bytes[0]);
		if (!child)
			return TRIE_NONE;
		node = *child;
		uint32_t common = label_common(node, bytes + 1, len - 1);
		if (common < node->label_len)
			return common == len - 1 ? lower(node->rank, node->below) : TRIE_NONE;
		bytes += 1 + common;
		len -= 1 + common;
		if (node->rank != TRIE_NONE)
			found(context, node->rank);
	}
	return node->below;
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
