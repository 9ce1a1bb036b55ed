/* The watcher: a process that follows the files of a configuration and tells when they have changed. It may wait for file systems, so
 * that the master never does. */
#pragma once
#include <sys/types.h>
#include <time.h>

/* Each message on its channel is one of these bytes. */
#define WATCHER_CHANGED 'c' /* the files differ from those of before, and have been left alone for a moment */
#define WATCHER_LOOKS   'l' /* once: the kernel does not tell of some file; they are looked at every ten seconds */

/* Forks it. Files that have changed since `since` (CLOCK_REALTIME_COARSE), when the caller began to read them, have changed. It ends when
 * its channel is closed and when the caller's process ends. 0, the pid and the caller's end of the channel, or -errno; the caller reaps. */
int watcher_start(const char *file, const struct timespec *since, pid_t *ret_pid, int *ret_channel);
