/* Looking at what a stream socket has received without taking it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Copies the unread bytes to `to`, at most `size`, and leaves them where they are. How many, 0 at the end of the stream, or -errno.
 *
 * A read stops before urgent bytes of TCP and behind bytes that came with descriptors; `is_marked`: look past urgent ones. The
 * socket has SO_OOBINLINE. Past more than 64 such places nothing is seen, nor past an urgent byte of TCP where the kernel has no
 * SO_PEEK_OFF for TCP (before 6.9): then *ret_is_cut. */
ssize_t peek(int fd, void *to, size_t size, bool is_marked, bool *ret_is_cut);

/* Takes `size` bytes that peek() has shown. 0 or -errno. */
int peek_consume(int fd, void *scratch, size_t size);
