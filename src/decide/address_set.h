/* Sets of IPv4 and IPv6 prefixes: who may come in, who may not. A binary trie in one flat array, without the nodes that do
 * not branch: a look-up visits at most as many nodes as the address has bits, however many prefixes there are, and
 * allocates nothing.
 *
 * Accepted text: "192.0.2.0/24", "192.0.2.7", "2001:db8::/32", "2001:db8::7". An IPv4 address that is written as a v4-mapped IPv6 one
 * (RFC 4291 2.5.5.2) is the IPv4 address, in the set and when it is looked up; "::/0" is every IPv6 address and no IPv4
 * one. "fe80::1%eth0" and "fe80::%eth0/10" are those of one interface, which this machine must have; without a zone link-local addresses are
 * those of every interface. Not accepted: names, ports, brackets, netmasks, and bits set behind the prefix. */
#pragma once
#include "address.h"
#include "arena.h"
#include <stdbool.h>
#include <stddef.h>

#define ADDRESS_SET_WHY_MAX 384

struct address_set;

struct address_set *address_set_new(void);      /* aborts without memory: for the time when a configuration is read */
void address_set_free(struct address_set *set); /* accepts NULL */

/* 0, or -EINVAL with what is wrong and what was expected in `ret_why`. A prefix that is there already, alone or within a
 * wider one, is no error. */
int address_set_insert(struct address_set *set, const char *text, char ret_why[ADDRESS_SET_WHY_MAX]);

/* The set in one piece of the arena's memory, for good; `set` may be freed then. */
const struct address_set *address_set_keep(const struct address_set *set, struct arena *arena);

/* False for an address that is neither IPv4 nor IPv6. */
bool address_set_contains(const struct address_set *set, const struct address *address);

size_t address_set_count(const struct address_set *set); /* entries inserted */
