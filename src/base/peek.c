/* What one MSG_PEEK shows ends at urgent bytes and at descriptors; from there SO_PEEK_OFF looks on.
 *
 *     S S | H - 2 . 0          H is urgent, or the S before it came with a descriptor
 *     ~~~   ~~~~~~~~~
 *     first  second, with SO_PEEK_OFF 2
 *
 * Refuses to take anything, and to look in more than PIECES_MAX pieces: a client that sends a descriptor with each byte is not to
 * cost a system call for each. Descriptors that are not read are the kernel's. Owns nothing. */
#include "peek.h"
#include "fd.h"
#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>

#define PIECES_MAX 64

/* `ret_stops`: it ends behind bytes with descriptors, which have no room here. */
static ssize_t peek_piece(int fd, void *to, size_t size, bool *ret_stops)
{
	struct iovec iov = { to, size };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	ssize_t n = recvmsg(fd, &message, MSG_PEEK | MSG_DONTWAIT);
	*ret_stops = message.msg_flags & MSG_CTRUNC;
	return n < 0 ? -errno : n;
}

/* The pieces behind the first `len` bytes. How many bytes there are with them. */
static size_t peek_on(int fd, uint8_t *to, size_t len, size_t size, bool *ret_is_cut)
{
	bool stops;
	int pieces = 1;

	*ret_is_cut = fd_set_option(fd, SOL_SOCKET, SO_PEEK_OFF, (int)len) < 0;
	if (*ret_is_cut)
		return len;
	for (ssize_t n; len < size; len += (size_t)n) {
		if (pieces++ == PIECES_MAX) {
			*ret_is_cut = true;
			break;
		}
		n = peek_piece(fd, to + len, size - len, &stops);
		if (n <= 0)
			break;
	}
	fd_set_option(fd, SOL_SOCKET, SO_PEEK_OFF, -1);
	return len;
}

ssize_t peek(int fd, void *to, size_t size, bool is_marked, bool *ret_is_cut)
{
	bool stops;
	ssize_t n = peek_piece(fd, to, size, &stops);

	*ret_is_cut = false;
	if (n <= 0 || (size_t)n == size || !(is_marked || stops))
		return n;
	return (ssize_t)peek_on(fd, to, (size_t)n, size, ret_is_cut);
}

int peek_consume(int fd, void *scratch, size_t size)
{
	while (size > 0) {
		ssize_t n = recv(fd, scratch, size, MSG_DONTWAIT);
		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		size -= (size_t)n;
	}
	return 0;
}
