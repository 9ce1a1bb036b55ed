/* Sends and receives one message with descriptors beside it. It queues nothing: what to do when the peer's queue is full is the
 * caller's business, and only ipc_send_waiting() waits. A message of no bytes does not exist, because it
 * would read like the peer's end. */
#include "ipc.h"
#include "failure.h"
#include "fd.h"
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define FDS_OF_A_MESSAGE 253 /* SCM_MAX_FD of the kernel */
#define RETRY_MS         20

/* There is room for as many descriptors as a message can have: what has none the kernel closes, in our time, as it finds it. */
union fds_space {
	struct cmsghdr align;
	char space[CMSG_SPACE(sizeof(int) * FDS_OF_A_MESSAGE)];
};

union control {
	struct cmsghdr align;
	char space[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
};

int ipc_pair(int ret_ends[2])
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		return failure_set(-errno, "cannot start a process: socketpair");
	ret_ends[0] = ends[0];
	ret_ends[1] = ends[1];
	return 0;
}

int ipc_send(int fd, const void *message, size_t len, const int *fds, size_t n_fds)
{
	assert(len > 0 && n_fds <= IPC_FDS_MAX);

	union control control = { 0 };
	struct iovec part = { .iov_base = (void *)message, .iov_len = len };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };

	if (n_fds > 0) {
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(rights), fds, sizeof(int) * n_fds);
	}

	ssize_t sent;
	do
		sent = sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	return 0;
}

bool ipc_error_passes(int error)
{
	return error == -EAGAIN || error == -ENOBUFS || error == -ENOMEM || error == -ETOOMANYREFS;
}

int ipc_send_waiting(int fd, const void *message, size_t len)
{
	int error;

	while (ipc_error_passes(error = ipc_send(fd, message, len, NULL, 0)))
		poll(NULL, 0, RETRY_MS);
	return error;
}

/* A worker may not switch SO_LINGER off. */
static int fd_let_go(int fd)
{
	return fd >= 0 && fd_lingers(fd) ? fd_reset(fd) : fd_close(fd);
}

/* Takes the descriptors out of what came; false where some of them had no place. */
static bool take_fds(struct msghdr *header, struct ipc_fds *ret)
{
	bool all = true;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (ret->n < IPC_FDS_MAX) {
				ret->fd[ret->n++] = fd;
			} else {
				fd_let_go(fd);
				all = false;
			}
		}
	}
	return all;
}

void ipc_close_fds(struct ipc_fds *fds)
{
	for (size_t i = 0; i < IPC_FDS_MAX; i++)
		fds->fd[i] = fd_let_go(fds->fd[i]);
	fds->n = 0;
}

/* As recvmsg(), with the descriptors that came. */
static ssize_t receive(int fd, void *buffer, size_t size, int flags, struct ipc_fds *ret_fds, int *ret_flags)
{
	union fds_space control;
	struct iovec part = { .iov_base = buffer, .iov_len = size };
	struct msghdr header = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	*ret_fds = (struct ipc_fds){ .n = 0 };
	for (size_t i = 0; i < IPC_FDS_MAX; i++)
		ret_fds->fd[i] = -1;
	ssize_t len = recvmsg(fd, &header, flags | MSG_CMSG_CLOEXEC);
	if (len < 0)
		return len;
	/* MSG_CTRUNC also tells that this process may open no more descriptors: the kernel then kept the
	 * rest. */
	ret_fds->lost = !take_fds(&header, ret_fds) || (header.msg_flags & MSG_CTRUNC);
	*ret_flags = header.msg_flags;
	return len;
}

ssize_t ipc_receive(int fd, void *buffer, size_t size, struct ipc_fds *ret_fds)
{
	ssize_t len;
	int flags;

	do
		len = receive(fd, buffer, size, MSG_DONTWAIT, ret_fds, &flags);
	while (len < 0 && errno == EINTR);
	if (len < 0)
		return errno == ECONNRESET ? 0 : -errno;
	if (ret_fds->lost || (flags & MSG_TRUNC))
		ipc_close_fds(ret_fds);
	return flags & MSG_TRUNC ? -EMSGSIZE : len;
}

ssize_t ipc_receive_bytes(int fd, void *buffer, size_t size, int flags, bool *ret_fds)
{
	struct ipc_fds fds;
	int unused;

	*ret_fds = false;
	ssize_t len = receive(fd, buffer, size, flags, &fds, &unused);
	if (len < 0)
		return len;
	*ret_fds = fds.n > 0 || fds.lost;
	if (*ret_fds)
		ipc_close_fds(&fds);
	return len;
}
