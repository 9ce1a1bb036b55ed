/* Whatever comes on a channel of libusher-handover, in whatever pieces and with whatever descriptors: no
 * crash, no descriptor lost or left, and what is returned is well formed.
 *
 * Input: for each piece a byte that says how long it is, one that says how many descriptors go with it, and
 * the piece. */
#include "fuzz.h"
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <usher/handover.h>

static struct usher_receiver *receiver;
static struct sockaddr_un address = { .sun_family = AF_UNIX };

static void receiver_close(void)
{
	usher_close(receiver);
	*strrchr(address.sun_path, '/') = '\0';
	(void)rmdir(address.sun_path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char directory[] = "/tmp/usher-fuzz-XXXXXX";

	if (!mkdtemp(directory))
		abort();
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", directory);
	if (usher_listen(address.sun_path, 0600, &receiver) < 0)
		abort();
	atexit(receiver_close);
	return 0;
}

static void piece_send(int channel, const uint8_t *bytes, size_t len, size_t n_fds)
{
	const int fd = STDIN_FILENO;
	struct iovec part = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = len };
	union {
		char bytes[CMSG_SPACE(sizeof(int) * 32)];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };

	if (n_fds) {
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(int) * n_fds), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS
		};
		for (size_t i = 0; i < n_fds; i++)
			memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)) + i * sizeof(fd), &fd, sizeof(fd));
	}
	(void)sendmsg(channel, &m, MSG_NOSIGNAL); /* fails once the channel is closed */
}

static void text_check(const char *text)
{
	assert(strnlen(text, USHER_ATTRIBUTE_MAX + 1) <= USHER_ATTRIBUTE_MAX);
}

static void receive_all(void)
{
	static uint8_t early[256];
	struct usher_connection c;
	int error;

	while ((error = usher_accept(receiver, &c)) == 0) {
		text_check(c.service);
		text_check(c.protocol);
		text_check(c.sni);
		text_check(c.alpn);
		text_check(c.host);
		text_check(c.client);
		text_check(c.local);
		assert((c.early >= 0) == ((c.flags & USHER_FLAG_DATAGRAMS) != 0));
		while (usher_early(&c, early, sizeof(early), NULL) >= 0)
			;
		assert(c.early < 0);
		if (close(c.fd) < 0)
			abort();
	}
	assert(error == -EAGAIN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd_before = lowest_free_fd();
	int channel = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (channel < 0 || connect(channel, (struct sockaddr *)&address, sizeof(address)) < 0)
		abort();
	while (size > 2) {
		size_t len = data[0];
		size_t how = data[1];

		data += 2;
		size -= 2;
		if (len == 0 || len > size)
			len = size;
		/* Mostly one descriptor or none; at times more than one call of the library takes off. */
		piece_send(channel, data, len, how < 128 ? how & 1 : how % 33);
		if (how & 2)
			receive_all();
		data += len;
		size -= len;
	}
	close(channel);
	receive_all();
	if (lowest_free_fd() != fd_before)
		abort();
	return 0;
}
