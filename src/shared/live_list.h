/* What the operator has said of clients while usher runs: who is banned, and for whom a service is open. Each entry is an address or a
 * prefix, for a time or until it is taken back.
 *
 * The master writes, everybody else reads, without a lock: a reader that meets an entry which is just being written finds the one before or
 * the one after. At most LIVE_LIST_MAX entries at a time; those whose time is over make room. A look-up costs one probe for each length of
 * prefix that is in use, and none while the list is empty.
 *
 * It outlives reloads and upgrades, not the master. */
#pragma once
#include "address.h"
#include <stdbool.h>
#include <stdint.h>

#define LIVE_LIST_MAX   32768
#define LIVE_LIST_EVER  UINT64_MAX  /* no end */
#define LIVE_SOURCE_MAX 50          /* bytes of a source's text, with the zero */
#define LIVE_BAN        UINT64_C(0) /* in place of a service: nobody serves them */

/* Addresses whose first `bits` bits are these. An IPv4 address is the IPv6 one that it is mapped to (RFC 4291 2.5.5.2). */
struct live_source {
	uint8_t bytes[16];
	uint8_t bits;
};

/* "192.0.2.7", "192.0.2.0/24", "2001:db8::/32". -EINVAL: it is neither, or has bits behind its prefix. */
int live_source_parse(struct live_source *ret, const char *text);
const char *live_source_format(const struct live_source *source, char text[LIVE_SOURCE_MAX]);

struct live_list;

/* 0 or -errno. `fd` as shared_memory_map() has it. */
int live_list_new(struct live_list **ret, int *fd);
size_t live_list_size(void);
void live_list_free(struct live_list *list);        /* accepts NULL */
int live_list_view(int fd, struct live_list **ret); /* to be read. 0 or -errno */

/* The master's. `service`: hash_name() of its name, or LIVE_BAN. What is said last of a source counts. 0 or -ENOSPC. */
int live_list_put(struct live_list *list, uint64_t service, const struct live_source *source, uint64_t until_us,
	uint64_t now_us);
bool live_list_remove(struct live_list *list, uint64_t service, const struct live_source *source,
	uint64_t now_us); /* false: it is not there */

/* Is the address of one of the sources? False for one that is neither IPv4 nor IPv6. */
bool live_list_has(const struct live_list *list, uint64_t service, const struct address *address, uint64_t now_us);

/* All of it, one after the other, from *at 0 on. False: there are no more. */
struct live_entry {
	uint64_t service, until_us;
	struct live_source source;
};
bool live_list_next(const struct live_list *list, size_t *at, uint64_t now_us, struct live_entry *ret);
