/* The resolver: a process that keeps asking for the addresses of the policy's backends and writes them into the shared table,
 * so that nobody else ever waits for DNS.
 *
 * Each name is asked for again when the lowest TTL of its answer is over, but at least after 300 s and at most every 5 s; every
 * 10 s where the answer has none (the hosts file). A name that fails is asked for again after 1 s, doubling up to 60 s, and
 * its last good answer stays. Changes of a name's answer are logged as notices, the begin of a failure as a warning. */
#pragma once
#include "log.h"
#include "resolved.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct shared;

/* Forks it. `names` are those of the table, n > 0; it logs to log_fd as `log` says; `drop`: it becomes uid and gid. It ends on SIGTERM, and when the
 * caller's process ends. `shared` (NULL: none) has a slot for it. 0 and the pid, or -errno; the caller reaps. */
int resolver_start(pid_t *ret_pid, const char *const *names, size_t n, struct resolved *table, int log_fd,
	const struct log_settings *log, bool drop, uid_t uid, gid_t gid, const struct shared *shared);
