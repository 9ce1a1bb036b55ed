/* Messages between processes of usher over a SOCK_SEQPACKET pair: one call, one message, with descriptors beside it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define IPC_FDS_MAX 8

/* Bytes of a UNIX socket that a stranger writes to. Descriptors that come along are closed here: the kernel would do that too, but wait
 * for as long as a socket among them lingers (SO_LINGER), and we with it. `ret_fds`: there were some, and more bytes may be behind
 * them. As recv(). */
ssize_t ipc_receive_bytes(int fd, void *buffer, size_t size, int flags, bool *ret_fds);

/* Both ends close-on-exec and non-blocking. 0 or -errno. */
int ipc_pair(int ret_ends[2]);

/* 0 or -errno (-EAGAIN: the peer's queue is full; -EPIPE: it is gone). The descriptors stay the caller's. */
int ipc_send(int fd, const void *message, size_t len, const int *fds, size_t n_fds);

/* An error of ipc_send() that passes: the peer's queue is full (-EAGAIN), the kernel has no memory (-ENOBUFS, -ENOMEM), or as many
 * descriptors are under way as may be (-ETOOMANYREFS). Only the first one's end is an event of the channel. */
bool ipc_error_passes(int error);

/* For a process that may wait: until it is sent. 0, or -errno that does not pass. */
int ipc_send_waiting(int fd, const void *message, size_t len);

/* What came beside a message. */
struct ipc_fds {
	int fd[IPC_FDS_MAX]; /* -1 where none; the caller's now, close-on-exec */
	size_t n;            /* that are there */
	bool lost;           /* more came than fit (too many, or this process may open no more): none is kept */
};

/* Length of the message, 0 when the peer is gone or has sent a message of no bytes, or -errno: -EAGAIN, nothing there; -EMSGSIZE, the
 * message did not fit, and neither it nor its descriptors are kept. */
ssize_t ipc_receive(int fd, void *buffer, size_t size, struct ipc_fds *ret_fds);

/* Those that nobody has taken (and set to -1). Does not wait for a socket's peer: one that would is reset. */
void ipc_close_fds(struct ipc_fds *fds);
