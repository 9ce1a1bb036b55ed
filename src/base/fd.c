/* The few things that every room does with descriptors. Nothing here opens one, and nothing here keeps one: a
 * descriptor belongs to the caller until it is handed in to be closed. */
#include "fd.h"
#include <assert.h>
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

int fd_close(int fd)
{
	if (fd < 0)
		return -1;
	int saved = errno;
	/* Linux has freed the number even where close() says EINTR: trying again would close someone else's.
	 * EBADF means that somebody closed it before us, which is a bug of ours and must not be passed over.
	 */
	int result = close(fd);
	assert(result == 0 || errno != EBADF);
	(void)result;
	errno = saved;
	return -1;
}

int fd_reset(int fd)
{
	if (fd < 0)
		return -1;
	int saved = errno;
	/* On a socket that is no TCP socket this does nothing, which is all that can be done. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1, .l_linger = 0 }, sizeof(struct linger));
	errno = saved;
	return fd_close(fd);
}

int fd_set_nonblocking(int fd, bool on)
{
	return ioctl(fd, FIONBIO, &(int){ on }) < 0 ? -errno : 0; /* of any file, in one call */
}

bool fd_is_unix(int fd)
{
	int domain;
	socklen_t len = sizeof(domain);
	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

int fd_set_option(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof value) < 0 ? -errno : 0;
}

static struct rlimit limit_at_start;

void fd_restore_limit(void)
{
	if (limit_at_start.rlim_max)
		setrlimit(RLIMIT_NOFILE, &limit_at_start);
}

unsigned long fd_raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1024;
	if (!limit_at_start.rlim_max)
		limit_at_start = limit;
	struct rlimit raised = { .rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max };
	if (limit.rlim_cur != limit.rlim_max && setrlimit(RLIMIT_NOFILE, &raised) == 0)
		return raised.rlim_cur;
	return limit.rlim_cur;
}
