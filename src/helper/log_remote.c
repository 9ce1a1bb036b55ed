/* Sends log lines to a server. Over TCP the connection is made with the first line and after each break, not more often than once a second;
 * lines that come meanwhile are not sent, which the caller counts. Refuses to read what the server says: there is nothing that it may
 * say (RFC 6587 3.1), so that only its end is looked for. Owns the socket. */
#include "log_remote.h"
#include "fd.h"
#include "timer.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define AGAIN_US  1000000
#define FRAME_MAX 640 /* the length of a message and its header, with the longest host name */

void log_remote_init(struct log_remote *remote, const char *to, pid_t pid)
{
	*remote = (struct log_remote){ .fd = -1, .pid = pid };
	address_parse_remote(&remote->to, &remote->transport, to);
	if (gethostname(remote->host, sizeof(remote->host) - 1) < 0 || !remote->host[0])
		strcpy(remote->host, "-");
}

static void forget(struct log_remote *remote)
{
	int error = errno;

	remote->fd = fd_close(remote->fd);
	errno = error;
}

static bool wait_for(int fd, short events)
{
	struct pollfd one = { .fd = fd, .events = events };
	int n = poll(&one, 1, LOG_REMOTE_WAIT_S * 1000);

	if (n == 0)
		errno = ETIMEDOUT;
	return n > 0;
}

static bool connected(int fd, const struct address *to)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (connect(fd, &to->sa, to->len) == 0)
		return true;
	if (errno != EINPROGRESS || !wait_for(fd, POLLOUT))
		return false;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	errno = error;
	return error == 0;
}

static bool log_remote_open(struct log_remote *remote)
{
	if (remote->fd >= 0)
		return true;
	if (clock_monotonic_us() < remote->again_us) {
		errno = remote->error;
		return false;
	}
	int type = remote->transport == TRANSPORT_DATAGRAM ? SOCK_DGRAM : SOCK_STREAM;
	remote->fd = socket(remote->to.sa.sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (remote->fd >= 0 && connected(remote->fd, &remote->to))
		return true;
	forget(remote);
	remote->error = errno;
	remote->again_us = clock_monotonic_us() + AGAIN_US;
	return false;
}

/* What is sent to a server that has closed its end is lost without a word. */
static bool has_ended(const struct log_remote *remote)
{
	char byte;
	ssize_t n = recv(remote->fd, &byte, sizeof(byte), MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

/* The header of RFC 5424, with the time of now: a line is here a moment after it was written. */
static size_t header_write(const struct log_remote *remote, int priority, char ret[FRAME_MAX])
{
	struct timespec now;
	struct tm utc;
	char time[32];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%S", &utc);
	return (size_t)snprintf(ret, FRAME_MAX, "<%d>1 %s.%06ldZ %s usher %d - - ", priority, time,
		now.tv_nsec / 1000, remote->host, (int)remote->pid);
}

static bool send_all(const struct log_remote *remote, struct iovec *parts, size_t n)
{
	while (n > 0) {
		const struct msghdr message = { .msg_iov = parts, .msg_iovlen = n };
		ssize_t sent = sendmsg(remote->fd, &message, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && (errno != EAGAIN || !wait_for(remote->fd, POLLOUT)))
			return false;
		for (size_t done = sent < 0 ? 0 : (size_t)sent; n > 0;) {
			size_t of_this = done < parts->iov_len ? done : parts->iov_len;
			parts->iov_base = (char *)parts->iov_base + of_this;
			parts->iov_len -= of_this;
			done -= of_this;
			if (parts->iov_len > 0)
				break;
			parts++;
			n--;
		}
	}
	return true;
}

/* A report of a datagram before this one is no failure of this one. */
static bool send_datagram(const struct log_remote *remote, struct iovec *parts, size_t n)
{
	const struct msghdr message = { .msg_iov = parts, .msg_iovlen = n };

	if (sendmsg(remote->fd, &message, MSG_NOSIGNAL) >= 0)
		return true;
	if (errno == EAGAIN && !wait_for(remote->fd, POLLOUT))
		return false;
	return sendmsg(remote->fd, &message, MSG_NOSIGNAL) >= 0;
}

bool log_remote_send(struct log_remote *remote, int priority, const char *text, size_t len)
{
	char header[FRAME_MAX], length[16];

	if (remote->transport == TRANSPORT_STREAM && remote->fd >= 0 && has_ended(remote))
		forget(remote);
	if (!log_remote_open(remote))
		return false;
	size_t header_len = header_write(remote, priority, header);
	int digits = snprintf(length, sizeof(length), "%zu ", header_len + len);
	struct iovec parts[] = {
		{ .iov_base = length, .iov_len = (size_t)digits },
		{ .iov_base = header, .iov_len = header_len },
		{ .iov_base = (char *)text, .iov_len = len },
	};
	if (remote->transport == TRANSPORT_DATAGRAM ? send_datagram(remote, parts + 1, 2)
						    : send_all(remote, parts, 3))
		return true;
	forget(remote); /* the rest of a message would be missing there */
	return false;
}
