/* Messages between processes of usher over a SOCK_SEQPACKET pair: one call, one message, with descriptors beside it. */
#pragma once
#include <stddef.h>
#include <sys/types.h>

#define IPC_FDS_MAX 8

/* Both ends close-on-exec and non-blocking. 0 or -errno. */
int ipc_pair(int ret_ends[2]);

/* 0 or -errno (-EAGAIN: the peer's queue is full; -EPIPE: it is gone). The descriptors stay the caller's. */
int ipc_send(int fd, const void *message, size_t len, const int *fds, size_t n_fds);

/* Length of the message, 0 when the peer is gone, or -errno: -EAGAIN, nothing there; -EMSGSIZE, the message did not fit;
 * -EMFILE, its descriptors did not (too many, or this process may open no more): none is kept, the message is there.
 * Fills `ret_fds` (IPC_FDS_MAX of them) with what came, -1 where none; they are the caller's now, close-on-exec. */
ssize_t ipc_receive(int fd, void *buffer, size_t size, int ret_fds[IPC_FDS_MAX]);
