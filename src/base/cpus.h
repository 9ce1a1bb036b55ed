/* How many processors this process may use. */
#pragma once

/* Those that it may run on, and no more than the quota of its control groups and of those above them allows (version 2: cpu.max;
 * version 1: cpu.cfs_quota_us), rounded up. At least 1. `own` is /proc/self/cgroup, `mounted` is /sys/fs/cgroup; what is missing or
 * cannot be read limits nothing. */
unsigned cpus_available(const char *own, const char *mounted);
