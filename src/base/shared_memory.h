/* Memory that processes share, over fork and by its descriptor over execve as well. */
#pragma once
#include <stddef.h>

/* *fd -1: new memory, all zero, used up page by page as it is written, and *fd becomes its descriptor (close-on-exec). Else what is
 * behind *fd, which must be of that size. 0 or -errno. */
int shared_memory_map(int *fd, size_t size, void **ret);
