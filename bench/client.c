/* What the load generators share. Refuses to talk to anything but 127.0.0.1; owns no memory. */
#include "client.h"
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SOURCE_ADDRESSES 250
#define DATAGRAM_PORT    10000 /* the first of the clients' own, */
#define DATAGRAM_PORTS   1000  /* and how many of each address */
#define BUFFER_BYTES     (8 << 20)

void errors_add(struct errors *errors, const char *what, int error)
{
	if (errors->count++ > 0)
		return;
	if (error != 0)
		snprintf(errors->first, sizeof(errors->first), "%s: %s", what, strerror(error));
	else
		snprintf(errors->first, sizeof(errors->first), "%s", what);
}

void errors_print(const struct errors *errors)
{
	printf("\"errors\": %lu, \"first_error\": \"%s\"", errors->count, errors->first);
}

uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int poll_new(void)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (epoll < 0)
		err(1, "epoll_create1");
	return epoll;
}

void poll_add(int epoll, int fd, void *owner)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = owner };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		err(1, "epoll_ctl");
}

void files_raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

unsigned long number_parse(const char *text, const char *what, unsigned long max)
{
	char *end;
	unsigned long number;

	errno = 0;
	number = strtoul(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || number == 0 || number > max)
		errx(2, "%s: expected a number from 1 to %lu, not %s", what, max, text);
	return number;
}

static int client_bind(int fd, unsigned long index)
{
	struct sockaddr_in source = { .sin_family = AF_INET };

	source.sin_addr.s_addr = htonl(0x7f000101 + (uint32_t)(index % SOURCE_ADDRESSES));
	/* The port is chosen by connect(), which knows the other end, so that only whole tuples must differ.
	 */
	if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){ 1 }, sizeof(int)) < 0)
		return -1;
	return bind(fd, (struct sockaddr *)&source, sizeof(source));
}

int client_connect(in_port_t port, unsigned long index)
{
	struct sockaddr_in server = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error;

	if (fd < 0)
		return -1;
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (client_bind(fd, index) == 0 &&
		(connect(fd, (struct sockaddr *)&server, sizeof(server)) == 0 || errno == EINPROGRESS))
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

int client_datagrams(in_port_t port, unsigned long index)
{
	struct sockaddr_in server = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in source = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error;

	if (fd < 0)
		return -1;
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	source.sin_addr.s_addr = htonl(0x7f000101 + (uint32_t)(index / DATAGRAM_PORTS % SOURCE_ADDRESSES));
	source.sin_port = htons((in_port_t)(DATAGRAM_PORT + index % DATAGRAM_PORTS));
	if (bind(fd, (struct sockaddr *)&source, sizeof(source)) == 0 &&
		connect(fd, (struct sockaddr *)&server, sizeof(server)) == 0)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

void socket_buffers_raise(int fd)
{
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &(int){ BUFFER_BYTES }, sizeof(int)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){ BUFFER_BYTES }, sizeof(int));
}

int client_error(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return errno;
	return error;
}

int client_send(int fd, const char *request, size_t len)
{
	ssize_t sent = send(fd, request, len, MSG_NOSIGNAL);

	if (sent < 0)
		return errno;
	return (size_t)sent == len ? 0 : EMSGSIZE;
}
