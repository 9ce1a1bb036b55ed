/* A question to a running usher that is not waited for. Refuses to read what it says. Owns the connection and the answer. */
#include "top_asked.h"
#include "control_client.h"
#include "fd.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PIECE ((size_t)64 * 1024)

int top_asked_begin(struct top_asked *asked, const char *path, const char *request)
{
	int fd = control_connect(path);
	if (fd < 0)
		return fd;
	int r = control_send(fd, request);
	if (r == 0 || r == -EPIPE) /* it may have said why it has closed */
		r = fd_set_nonblocking(fd, true);
	if (r < 0) {
		fd_close(fd);
		return r;
	}
	*asked = (struct top_asked){ .fd = fd };
	return 0;
}

int top_asked_read(struct top_asked *asked)
{
	for (;;) {
		if (asked->size - asked->len <= PIECE) {
			size_t size = asked->size * 2 + 2 * PIECE;
			char *text = realloc(asked->text, size);
			if (!text)
				return -ENOMEM;
			asked->text = text;
			asked->size = size;
		}
		ssize_t n = read(asked->fd, asked->text + asked->len, PIECE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		asked->len += (size_t)n;
		if (n == 0) {
			asked->text[asked->len] = '\0';
			return 1;
		}
	}
}

void top_asked_end(struct top_asked *asked)
{
	asked->fd = fd_close(asked->fd);
	free(asked->text);
	asked->text = NULL;
}
