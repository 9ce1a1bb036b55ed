/* Sends back what it reads: a program for usher to run on a connection, by `exec` with any stdio (socket,
 * pipe, pty).
 *
 * Reads standard input until its end and only then exits: a client that half-closes still gets everything.
 * Does not interpret its input; while a client does not read, its bytes are not read either. The
 * buffer is static. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* The socket may be non-blocking: it was usher's, and the flag is the socket's, not the descriptor's. */
static int wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, -1) < 0 && errno != EINTR ? -errno : 0;
}

static int write_all(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, bytes, len);

		if (n >= 0) {
			bytes += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			int error = wait_for(fd, POLLOUT);

			if (error < 0)
				return error;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

int main(void)
{
	static char buffer[65536];
	int error = 0;

	(void)signal(SIGPIPE, SIG_IGN);
	while (error == 0) {
		ssize_t n = read(STDIN_FILENO, buffer, sizeof(buffer));

		if (n > 0)
			error = write_all(STDOUT_FILENO, buffer, (size_t)n);
		else if (n == 0)
			break;
		else if (errno == EAGAIN)
			error = wait_for(STDIN_FILENO, POLLIN);
		else if (errno != EINTR)
			error = -errno;
	}
	/* Another program may hold the socket too: the client must see the end
	 * nevertheless. */
	if (error == 0)
		(void)shutdown(STDOUT_FILENO, SHUT_WR);
	return error < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
