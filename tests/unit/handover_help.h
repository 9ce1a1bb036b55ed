/* What the tests of both ends of a handover share: a directory, descriptors counted, raw messages. */
#pragma once
#include "fds_open.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <usher/handover.h>

#include <cmocka.h> /* needs what is above */

struct place {
	char directory[32];
	char path[64];
	int fds_before;
};

static inline void place_init(struct place *place)
{
	strcpy(place->directory, "/tmp/usher-test-XXXXXX");
	assert_non_null(mkdtemp(place->directory));
	snprintf(place->path, sizeof(place->path), "%s/s", place->directory);
	place->fds_before = fds_open();
}

static inline void place_fini(struct place *place)
{
	assert_int_equal(fds_open(), place->fds_before);
	(void)unlink(place->path);
	assert_int_equal(rmdir(place->directory), 0);
}

static inline struct sockaddr_un place_address(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strcpy(address.sun_path, path);
	return address;
}

static inline int channel_to(const char *path)
{
	struct sockaddr_un address = place_address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static inline ssize_t raw_send(int channel, const void *bytes, size_t len, const int *fds, size_t n_fds)
{
	struct iovec part = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = len };
	union {
		char bytes[CMSG_SPACE(sizeof(int) * 64)];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };

	if (n_fds) {
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		CMSG_FIRSTHDR(&m)->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		CMSG_FIRSTHDR(&m)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&m)->cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), fds, sizeof(int) * n_fds);
	}
	return sendmsg(channel, &m, MSG_NOSIGNAL);
}

/* In the order of the network. */
static inline uint64_t number_at(const uint8_t *bytes)
{
	uint64_t n = 0;

	for (int i = 0; i < 8; i++)
		n = n << 8 | bytes[i];
	return n;
}

/* A client's end and the server's end of a connection, with `text` sent but not yet read. */
static inline void client_open(int ends[2], const char *text)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(write(ends[0], text, strlen(text)), (ssize_t)strlen(text));
}

static inline void assert_reads(int fd, const char *text)
{
	char buffer[64] = "";

	assert_int_equal(read(fd, buffer, sizeof(buffer) - 1), (ssize_t)strlen(text));
	assert_string_equal(buffer, text);
}

/* What a receiver that acknowledges says first, and then. */
static inline void assert_hello(int channel)
{
	uint8_t bytes[8];

	assert_int_equal(recv(channel, bytes, sizeof(bytes), MSG_DONTWAIT), sizeof(bytes));
	assert_memory_equal(bytes, "USHR\1\1\0\10", 8);
}

static inline void assert_acknowledges(int channel, uint8_t n)
{
	const uint8_t expected[] = { 'U', 'S', 'H', 'R', 1, 2, 0, 16, 0, 0, 0, 0, 0, 0, 0, n };
	uint8_t bytes[sizeof(expected)];

	assert_int_equal(recv(channel, bytes, sizeof(bytes), MSG_DONTWAIT), sizeof(bytes));
	assert_memory_equal(bytes, expected, sizeof(bytes));
}

static inline void assert_names(const struct usher_connection *c, const char *const names[7])
{
	assert_string_equal(c->service, names[0]);
	assert_string_equal(c->protocol, names[1]);
	assert_string_equal(c->sni, names[2]);
	assert_string_equal(c->alpn, names[3]);
	assert_string_equal(c->host, names[4]);
	assert_string_equal(c->client, names[5]);
	assert_string_equal(c->local, names[6]);
}
