/* Memory that processes share, over fork and by its descriptor over execve as well. */
#pragma once
#include <stddef.h>

/* Parts that a process may write begin and end at multiples of it: the largest page that a machine of ours has. */
#define SHARED_PART 65536

/* *fd -1: new memory, all zero, used up page by page as it is written, and *fd becomes its descriptor (close-on-exec). Else what is
 * behind *fd, which must be of that size. It never changes its size. 0 or -errno. */
int shared_memory_map(int *fd, size_t size, void **ret);

struct shared_part {
	size_t at, size; /* multiples of SHARED_PART; size 0: none */
};

/* For a process that is not to be trusted: all of it, to be read, and `parts` to be written. Where there is a /proc, the rest cannot be
 * made writable again by who has closed `fd` and may not call mremap(). 0 or -errno. */
int shared_memory_view(int fd, size_t size, const struct shared_part *parts, size_t n_parts, void **ret);
