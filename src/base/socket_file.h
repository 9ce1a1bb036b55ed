/* The file of a UNIX socket: made, given to others, and removed as the one that it is, whatever somebody puts in its place. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct socket_file {
	uint64_t device, inode; /* 0: there is none */
};

/* Binds a socket, not listening yet, to this path, with this mode and (NULL: the process's own) group. A socket that an ended
 * process of the same user left there is replaced. 0 or -errno: -EADDRINUSE: a socket of somebody's is there; -EEXIST:
 * something else is, a symbolic link too. */
int socket_file_bind(int fd, const char *path, mode_t mode, const gid_t *group, struct socket_file *ret);

/* Is it what the path names? */
bool socket_file_stands(const char *path, const struct socket_file *file);

/* Another mode and group. 0 or -errno; -ESTALE: the path names another file, which was not touched. */
int socket_file_admit(const char *path, const struct socket_file *file, mode_t mode, const gid_t *group);

/* Removes it where it still has this name. */
void socket_file_remove(const char *path, const struct socket_file *file);
