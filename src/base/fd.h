/* Descriptors: close-on-exec from birth, -1 when absent, closed exactly once. */
#pragma once
#include <stdbool.h>

/* Closes `fd` unless it is -1 and returns -1, to be assigned: fd = fd_close(fd). */
int fd_close(int fd);

/* Closes a TCP socket so that its peer sees a reset instead of an orderly end, at once, whoever else holds it. Never waits. Returns -1. */
int fd_reset(int fd);

/* A socket whose close() waits until its peer has taken what is in it (SO_LINGER with a time). */
bool fd_lingers(int fd);

/* Closes one that came from another process, and does not wait for that. Returns -1. */
int fd_close_foreign(int fd);

/* 0 or -errno. A socket or a pipe has no other flags, which saves asking for them. */
int fd_set_nonblocking(int fd, bool on);
int fd_set_stream_nonblocking(int fd, bool on);

/* Another description of the same file, close-on-exec: what is done to the flags of one does not concern the other. `flags` as for
 * open(). Needs /proc. A descriptor or -errno. */
int fd_reopen(int fd, int flags);

bool fd_is_unix(int fd);                                     /* a UNIX socket */
int fd_set_option(int fd, int level, int option, int value); /* setsockopt with an int */

/* Closes the descriptors from `first` to `last` (`last` too), or with `at_exec` has them closed when a program is executed. Where the
 * kernel has no close_range() or a filter refuses it, those that /proc/self/fd shows; without /proc those up to the limit, at most
 * 1,048,576. Makes system calls only: it may be called between vfork and exec. */
void fd_close_range(unsigned first, unsigned last, bool at_exec);

/* /dev/null for reading and writing, close-on-exec, or -errno. */
int fd_open_null(void);

/* Raises RLIMIT_NOFILE's soft limit to its hard one and returns what may now be opened. */
unsigned long fd_raise_limit(void);

/* Back to what it was before, for a program that is about to be executed: select() cannot watch descriptors past 1023. */
void fd_restore_limit(void);
