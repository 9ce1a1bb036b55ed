/* A pid file that cannot be used against its owner: created anew with O_EXCL and O_NOFOLLOW, a stale one replaced,
 * removed at the end only while it still holds our pid. */
#pragma once

/* 0, -EEXIST: a running process holds it (its pid in *ret_pid), or another -errno. */
int pidfile_write(const char *path, long *ret_pid);
void pidfile_remove(const char *path); /* accepts NULL */
