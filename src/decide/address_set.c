/* A path-compressed binary trie. Each node stands for a prefix and either is in the set or is where two longer ones part;
 * below a prefix that is in the set there is nothing, because that one covers it already.
 *
 *	node 0: the root of IPv4, node 1: of IPv6, node 2: of link-local addresses with a zone (prefixes of no bits)
 *	child[b]: the longer prefix that goes on with bit b, 0: none
 *
 * Addresses are two words in host order; an IPv4 address is the upper half of the first. One with a zone has the zone in place of its
 * first half, which is the same in all of them (RFC 4291 2.5.6). Refuses text that is not exactly
 * a prefix. Nodes belong to the set, or once kept to the arena. */
#include "address_set.h"
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct words {
	uint64_t high, low;
};

struct node {
	struct words prefix;
	uint32_t child[2];
	uint8_t bits;
	bool here;
};

struct address_set {
	struct node *nodes;
	uint32_t n_nodes, room;
	size_t count;
};

enum { ROOT_V4, ROOT_V6, ROOT_ZONED, ROOTS };

#define LINK_LOCAL_HIGH 0xfe80000000000000ULL

static struct words words_masked(struct words words, unsigned bits)
{
	if (bits < 64)
		words.high &= bits ? ~0ULL << (64 - bits) : 0;
	if (bits < 128)
		words.low &= bits > 64 ? ~0ULL << (128 - bits) : 0;
	return words;
}

static bool words_equal(struct words a, struct words b)
{
	return a.high == b.high && a.low == b.low;
}

static unsigned words_bit(struct words words, unsigned bit)
{
	return (bit < 64 ? words.high >> (63 - bit) : words.low >> (127 - bit)) & 1;
}

/* How many bits the two have in common from the first, 128 at most. */
static unsigned words_common(struct words a, struct words b)
{
	if (a.high != b.high)
		return (unsigned)__builtin_clzll(a.high ^ b.high);
	return a.low != b.low ? 64 + (unsigned)__builtin_clzll(a.low ^ b.low) : 128;
}

/* 4 or 16 bytes of an address, in network order. */
static struct words words_from(const uint8_t *bytes, size_t n)
{
	uint64_t word[2] = { 0 };
	for (size_t i = 0; i < n; i++)
		word[i / 8] |= (uint64_t)bytes[i] << (56 - i % 8 * 8);
	return (struct words){ word[0], word[1] };
}

/* ---- look-up ---- */

static bool set_contains(const struct address_set *set, uint32_t root, struct words address, unsigned width)
{
	const struct node *node = &set->nodes[root];

	for (;;) {
		if (!words_equal(words_masked(address, node->bits), node->prefix))
			return false;
		if (node->here)
			return true;
		if (node->bits == width)
			return false;
		uint32_t next = node->child[words_bit(address, node->bits)];
		if (!next)
			return false;
		node = &set->nodes[next];
	}
}

bool address_set_contains(const struct address_set *set, const struct address *address)
{
	if (!address_is_ip(address))
		return false;
	if (address->sa.sa_family == AF_INET)
		return set_contains(set, ROOT_V4, words_from((const uint8_t *)&address->in.sin_addr, 4), 32);
	const uint8_t *bytes = address->in6.sin6_addr.s6_addr;
	if (IN6_IS_ADDR_V4MAPPED(&address->in6.sin6_addr))
		return set_contains(set, ROOT_V4, words_from(bytes + 12, 4), 32);
	struct words words = words_from(bytes, 16);
	if (set_contains(set, ROOT_V6, words, 128))
		return true;
	return words.high == LINK_LOCAL_HIGH &&
		set_contains(set, ROOT_ZONED, (struct words){ address->in6.sin6_scope_id, words.low }, 128);
}

size_t address_set_count(const struct address_set *set)
{
	return set->count;
}

/* ---- insertion ---- */

static uint32_t set_node(struct address_set *set, struct words prefix, unsigned bits, bool here)
{
	if (set->n_nodes == set->room) {
		set->room = set->room ? set->room * 2 : 16;
		set->nodes = reallocarray(set->nodes, set->room, sizeof(*set->nodes));
		if (!set->nodes)
			abort();
	}
	set->nodes[set->n_nodes] =
		(struct node){ .prefix = words_masked(prefix, bits), .bits = (uint8_t)bits, .here = here };
	return set->n_nodes++;
}

static void node_take(struct node *node)
{
	node->here = true;
	node->child[0] = node->child[1] = 0; /* covered */
}

/* Puts a node between `parent` and its child, where `prefix` leaves the way to it after `common` bits. */
static void set_split(struct address_set *set, uint32_t parent, struct words prefix, unsigned bits, unsigned common)
{
	uint32_t child = set->nodes[parent].child[words_bit(prefix, set->nodes[parent].bits)];
	uint32_t middle = set_node(set, prefix, common, common == bits);

	if (common < bits) {
		uint32_t leaf = set_node(set, prefix, bits, true);
		set->nodes[middle].child[words_bit(prefix, common)] = leaf;
		set->nodes[middle].child[!words_bit(prefix, common)] = child;
	}
	set->nodes[parent].child[words_bit(prefix, set->nodes[parent].bits)] = middle;
}

static void set_insert(struct address_set *set, uint32_t at, struct words prefix, unsigned bits)
{
	for (;;) {
		struct node *node = &set->nodes[at];
		if (node->here)
			return;
		if (node->bits == bits) {
			node_take(node);
			return;
		}
		unsigned way = words_bit(prefix, node->bits);
		uint32_t child = node->child[way];
		if (!child) {
			uint32_t leaf = set_node(set, prefix, bits, true);
			set->nodes[at].child[way] = leaf;
			return;
		}
		unsigned common = words_common(prefix, set->nodes[child].prefix);
		if (common > bits)
			common = bits;
		if (common < set->nodes[child].bits) {
			set_split(set, at, prefix, bits, common);
			return;
		}
		at = child;
	}
}

/* ---- text ---- */

#define EXPECTED "expected an address or a prefix such as 192.0.2.0/24 or 2001:db8::/32"

struct prefix {
	struct words words;
	unsigned bits, width; /* 32 or 128 */
	uint32_t zone;        /* 0: none */
};

static bool length_parse(const char *text, unsigned *ret)
{
	size_t len = strlen(text);

	if (len < 1 || len > 3 || strspn(text, "0123456789") != len)
		return false;
	*ret = (unsigned)strtoul(text, NULL, 10);
	return true;
}

static void prefix_format(const struct prefix *prefix, char *ret, size_t size)
{
	uint8_t bytes[16];
	char host[INET6_ADDRSTRLEN];

	for (int i = 0; i < 16; i++)
		bytes[i] = (uint8_t)((i < 8 ? prefix->words.high : prefix->words.low) >> (56 - i % 8 * 8));
	inet_ntop(prefix->width == 32 ? AF_INET : AF_INET6, bytes, host, sizeof(host));
	if (prefix->bits == prefix->width)
		snprintf(ret, size, "%s", host);
	else
		snprintf(ret, size, "%s/%u", host, prefix->bits);
}

/* The part before the slash, of which the zone is cut. 0 or as address_parse_zone(). */
static int host_parse(char *host, struct prefix *ret)
{
	char *zone = strchr(host, '%');
	uint8_t bytes[16];

	if (zone)
		*zone++ = '\0';
	if (!zone && inet_pton(AF_INET, host, bytes) == 1)
		*ret = (struct prefix){ words_from(bytes, 4), 32, 32, 0 };
	else if (inet_pton(AF_INET6, host, bytes) == 1)
		*ret = (struct prefix){ words_from(bytes, 16), 128, 128, 0 };
	else
		return -EINVAL;
	if (zone && ret->words.high != LINK_LOCAL_HIGH)
		return -EINVAL;
	return zone ? address_parse_zone(zone, &ret->zone) : 0;
}

/* What somebody who wrote this probably meant. */
static const char *host_hint(const char *text)
{
	struct address address;

	if (text[0] == '[')
		return " without brackets";
	if (address_parse(&address, text) == 0)
		return address_is_ip(&address) ? " without a port" : "";
	if (strchr(text, '%'))
		return ", or a link-local one such as fe80::1%eth0";
	if (text[0] && strspn(text, "0123456789./") == strlen(text))
		return " with four numbers from 0 to 255";
	return strchr(text, ':') ? "" : ", names are not looked up";
}

static void prefix_unmap(struct prefix *prefix)
{
	if (prefix->width != 128 || prefix->bits < 96 || prefix->words.high != 0 || prefix->words.low >> 32 != 0xffff)
		return;
	*prefix = (struct prefix){ { prefix->words.low << 32, 0 }, prefix->bits - 96, 32, 0 };
}

static int prefix_parse(const char *text, struct prefix *ret, char *ret_why)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char host[INET6_ADDRSTRLEN + IF_NAMESIZE] = "", meant[64], alone[64];

	if (len < sizeof(host))
		memcpy(host, text, len);
	int error = len < sizeof(host) ? host_parse(host, ret) : -EINVAL;
	if (error == -ENODEV) {
		snprintf(ret_why, ADDRESS_SET_WHY_MAX,
			"`%.80s' names an interface that is not there, expected one of this machine's", text);
		return -EINVAL;
	}
	if (error < 0) {
		snprintf(
			ret_why, ADDRESS_SET_WHY_MAX, "`%.80s' is no address, " EXPECTED "%s", text, host_hint(text));
		return -EINVAL;
	}
	if (slash && (!length_parse(slash + 1, &ret->bits) || ret->bits > ret->width)) {
		snprintf(ret_why, ADDRESS_SET_WHY_MAX,
			"`%.80s' has no proper length behind its `/', expected a number of bits from 0 to %u", text,
			ret->width);
		return -EINVAL;
	}
	struct prefix masked = { words_masked(ret->words, ret->bits), ret->bits, ret->width, 0 };
	if (!words_equal(masked.words, ret->words)) {
		prefix_format(&masked, meant, sizeof(meant));
		prefix_format(&(struct prefix){ ret->words, ret->width, ret->width, 0 }, alone, sizeof(alone));
		snprintf(ret_why, ADDRESS_SET_WHY_MAX,
			"`%.80s' has bits set behind the first %u, expected %s for the whole network or %s for the "
			"one address",
			text, ret->bits, meant, alone);
		return -EINVAL;
	}
	prefix_unmap(ret);
	return 0;
}

int address_set_insert(struct address_set *set, const char *text, char ret_why[ADDRESS_SET_WHY_MAX])
{
	struct prefix prefix;
	int error = prefix_parse(text, &prefix, ret_why);

	if (error < 0)
		return error;
	if (prefix.zone)
		set_insert(set, ROOT_ZONED, (struct words){ prefix.zone, prefix.words.low },
			prefix.bits > 64 ? prefix.bits : 64);
	else
		set_insert(set, prefix.width == 32 ? ROOT_V4 : ROOT_V6, prefix.words, prefix.bits);
	set->count++;
	return 0;
}

/* ---- life ---- */

struct address_set *address_set_new(void)
{
	struct address_set *set = calloc(1, sizeof(*set));

	if (!set)
		abort();
	for (int i = 0; i < ROOTS; i++)
		set_node(set, (struct words){ 0 }, 0, false);
	return set;
}

void address_set_free(struct address_set *set)
{
	if (!set)
		return;
	free(set->nodes);
	free(set);
}

const struct address_set *address_set_keep(const struct address_set *set, struct arena *arena)
{
	struct address_set *kept = arena_memdup(arena, set, sizeof(*set));

	kept->nodes = arena_memdup(arena, set->nodes, set->n_nodes * sizeof(*set->nodes));
	kept->room = kept->n_nodes;
	return kept;
}
