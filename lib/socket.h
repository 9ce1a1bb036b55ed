/* A listening UNIX socket at a path, and nobody else's at the same one. */
#pragma once
#include <sys/types.h>

struct path_socket {
	int fd;        /* listening, non-blocking, close-on-exec */
	int directory; /* that the path is in, open: what is removed later does not depend on the working
	                  directory */
	char name[108];
	dev_t device;
	ino_t inode;
};

/* As usher_listen() describes; `type` is SOCK_STREAM, or SOCK_DGRAM, which only binds. On failure nothing is left open. */
int path_socket_listen(struct path_socket *ret, const char *path, int type, mode_t mode);

/* Closes it and removes the path if it still leads to this socket. */
void path_socket_close(struct path_socket *s);
