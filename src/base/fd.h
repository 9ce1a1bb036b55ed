/* Descriptors: close-on-exec from birth, -1 when absent, closed exactly once. */
#pragma once
#include <stdbool.h>

/* Closes `fd` unless it is -1 and returns -1, to be assigned: fd = fd_close(fd). */
int fd_close(int fd);

/* Closes a TCP socket so that its peer sees a reset instead of an orderly end (SO_LINGER 0). Returns -1. */
int fd_reset(int fd);

/* 0 or -errno. */
int fd_set_nonblocking(int fd, bool on);
bool fd_is_unix(int fd);                                     /* a UNIX socket */
int fd_set_option(int fd, int level, int option, int value); /* setsockopt with an int */

/* Raises RLIMIT_NOFILE's soft limit to its hard one and returns what may now be opened. */
unsigned long fd_raise_limit(void);

/* Back to what it was before, for a program that is about to be executed: select() cannot watch descriptors past 1023. */
void fd_restore_limit(void);
