/* A range of addresses that one process keeps free, another one fills, and the first one then takes over as it is: pointers in it hold
 * in both, because the second is a fork of the first. The memory has no name and is nobody else's. */
#pragma once
#include <stddef.h>

struct region;

/* Keeps a range of addresses free. Costs no memory. NULL: there is none, or no descriptor; errno says why, and
 * failure_text() more. */
struct region *region_new(void);

/* In the process that fills it: a piece of at least `size` bytes, zeroed, on a page of its own. NULL: no room. */
void *region_grow(struct region *region, size_t size);

/* In the process that filled it: done, and nothing of it may be touched there any more. Nobody can write to it from now on. 0 or
 * -errno: -EBUSY where a child still could. */
int region_finish(struct region *region);

/* In a child of the process that fills it, before it does what is not to be trusted: it has a copy. 0 or -errno. */
int region_part(struct region *region);

/* Of what is filled; -1 once it is taken. */
int region_fd(const struct region *region);

/* In the process that made it: what was filled, to be read. 0 or -errno: -EBUSY where region_finish() was not called. */
int region_take(struct region *region);

/* Where the first piece is; NULL: there is none. */
void *region_start(const struct region *region);

/* Writing changes a copy that is this process' own. 0 or -errno. */
int region_own(struct region *region);

/* One more user, and one less: the last one gives the range back. Accepts NULL. */
struct region *region_share(struct region *region);
void region_free(struct region *region);
