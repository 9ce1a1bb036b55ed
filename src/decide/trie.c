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
	uint8_t *label; /* the bytes that lead here behind the one in the parent's `keys` */
	uint8_t *keys;  /* the next byte, one for each child */
	struct node **children;
};

struct trie {
	struct node root;
};

static uint32_t lower(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static void node_fini(struct node *node)
{
	for (uint32_t i = 0; i < node->n_children; i++) {
		node_fini(node->children[i]);
		free(node->children[i]);
	}
	free(node->children);
	free(node->keys);
	free(node->label);
}

/* NULL: out of memory. */
static struct node *node_new(const uint8_t *label, size_t len)
{
	struct node *node = calloc(1, sizeof(*node));

	if (!node)
		return NULL;
	node->rank = node->below = TRIE_NONE;
	node->label_len = (uint32_t)len;
	if (len == 0)
		return node;
	node->label = malloc(len);
	if (!node->label) {
		free(node);
		return NULL;
	}
	memcpy(node->label, label, len);
	return node;
}

struct trie *trie_new(void)
{
	struct trie *trie = calloc(1, sizeof(*trie));

	if (trie)
		trie->root.rank = trie->root.below = TRIE_NONE;
	return trie;
}

void trie_free(struct trie *trie)
{
	if (!trie)
		return;
	node_fini(&trie->root);
	free(trie);
}

/* Room for one more child, which a failure later on leaves unused. */
static int node_reserve(struct node *node)
{
	uint8_t *keys = realloc(node->keys, node->n_children + 1);

	if (!keys)
		return -ENOMEM;
	node->keys = keys;
	struct node **children = reallocarray(node->children, node->n_children + 1, sizeof(*children));
	if (!children)
		return -ENOMEM;
	node->children = children;
	return 0;
}

static void node_adopt(struct node *node, uint8_t key, struct node *child)
{
	node->keys[node->n_children] = key;
	node->children[node->n_children++] = child;
}

/* Cuts the node's label behind `len` bytes: what is behind moves to a new and only child. */
static int node_split(struct node *node, uint32_t len)
{
	struct node top = { .rank = TRIE_NONE, .below = lower(node->rank, node->below) };
	struct node *tail = node_new(node->label + len + 1, node->label_len - len - 1);

	if (!tail)
		return -ENOMEM;
	if (node_reserve(&top) != 0) {
		free(top.keys);
		node_fini(tail);
		free(tail);
		return -ENOMEM;
	}
	tail->rank = node->rank;
	tail->below = node->below;
	tail->n_children = node->n_children;
	tail->keys = node->keys;
	tail->children = node->children;
	top.label = node->label;
	top.label_len = len;
	node_adopt(&top, node->label[len], tail);
	*node = top;
	return 0;
}

static struct node *node_child(const struct node *node, uint8_t key)
{
	if (node->n_children == 0)
		return NULL;
	const uint8_t *at = memchr(node->keys, key, node->n_children);
	return at ? node->children[at - node->keys] : NULL;
}

/* How many bytes of the label the bytes share. */
static uint32_t label_common(const struct node *node, const uint8_t *bytes, size_t len)
{
	uint32_t n = 0;

	while (n < node->label_len && n < len && node->label[n] == bytes[n])
		n++;
	return n;
}

/* The node where the literal ends, made if need be. */
static int node_reach(struct node **at, const uint8_t *literal, size_t len)
{
	struct node *node = *at;

	while (len > 0) {
		struct node *child = node_child(node, literal[0]);
		if (!child) {
			child = node_new(literal + 1, len - 1);
			if (!child)
				return -ENOMEM;
			if (node_reserve(node) != 0) {
				node_fini(child);
				free(child);
				return -ENOMEM;
			}
			node_adopt(node, literal[0], child);
		}
		uint32_t common = label_common(child, literal + 1, len - 1);
		if (common < child->label_len && node_split(child, common) != 0)
			return -ENOMEM;
		literal += 1 + common;
		len -= 1 + common;
		node = child;
	}
	*at = node;
	return 0;
}

int trie_insert(struct trie *trie, const void *literal, size_t len, uint32_t rank)
{
	const uint8_t *bytes = literal;
	struct node *node = &trie->root, *end = &trie->root;

	assert(len > 0 && len < UINT32_MAX);
	int r = node_reach(&end, bytes, len);
	if (r != 0)
		return r;
	/* The way is there now and nothing can fail: the same walk again, to lower what lies below each node.
	 */
	while (node != end) {
		node->below = lower(node->below, rank);
		node = node_child(node, bytes[0]);
		bytes += 1 + node->label_len;
	}
	end->rank = lower(end->rank, rank);
	return 0;
}

uint32_t trie_walk(const struct trie *trie, const uint8_t *bytes, size_t len,
        void (*found)(void *context, uint32_t rank), void *context)
{
	const struct node *node = &trie->root;

	while (len > 0) {
		node = node_child(node, bytes[0]);
		if (!node)
			return TRIE_NONE;
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
