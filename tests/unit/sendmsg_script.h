/* Stands between the program under test and the kernel's sendmsg, to make happen what the kernel does rarely:
 * a message taken in part, an error at a chosen call. Included once a program: it defines sendmsg(). */
#pragma once
#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the next calls of sendmsg do: fail with -error, or take no more than so many bytes; 0 ends it. */
static int script[8];
static size_t script_at;
static size_t take; /* the same for every call; 0: all */

static void set_script(int first, int second, int third)
{
	script[0] = first;
	script[1] = second;
	script[2] = third;
	script_at = 0;
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	int step = script[script_at] ? script[script_at++] : (int)take;
	struct iovec part = m->msg_iov[0];
	struct msghdr less = *m;

	if (step < 0) {
		errno = -step;
		return -1;
	}
	if (step > 0 && part.iov_len > (size_t)step)
		part.iov_len = (size_t)step;
	less.msg_iov = &part;
	return syscall(SYS_sendmsg, fd, &less, flags);
}
