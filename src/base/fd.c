/* The few things that every room does with descriptors. Nothing here keeps one: a descriptor belongs to
 * the caller until it is handed in to be closed. */
#include "fd.h"
#include "failure.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int fd_close(int fd)
{
	if (fd < 0)
		return -1;
	int saved = errno;
	/* Linux has freed the number even where close() says EINTR: trying again would close someone else's.
	 * EBADF means that somebody closed it before us, which is a bug of ours and must not be passed over.
	 */
	int r = close(fd);
	assert(r == 0 || errno != EBADF);
	(void)r;
	errno = saved;
	return -1;
}

int fd_reset(int fd)
{
	if (fd < 0)
		return -1;
	int saved = errno;
	/* Not by SO_LINGER, which a worker may not set: with a time in it close() waits, in whoever closes last. Breaking the
	 * association off sends a reset wherever there is somebody to get one. On a socket that is no TCP socket this does
	 * nothing, which is all that can be done. */
	(void)connect(fd, &(struct sockaddr){ .sa_family = AF_UNSPEC }, sizeof(struct sockaddr));
	errno = saved;
	return fd_close(fd);
}

bool fd_lingers(int fd)
{
	struct linger linger;
	socklen_t len = sizeof(linger);
	return getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len) == 0 && linger.l_onoff && linger.l_linger > 0;
}

int fd_close_foreign(int fd)
{
	if (fd < 0)
		return -1;
	int saved = errno;
	if (fd_lingers(fd))
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 0 }, sizeof(struct linger));
	errno = saved;
	return fd_close(fd);
}

int fd_set_nonblocking(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	return fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) < 0 ? -errno : 0;
}

int fd_set_stream_nonblocking(int fd, bool on)
{
	return fcntl(fd, F_SETFL, on ? O_NONBLOCK : 0) < 0 ? -errno : 0;
}

int fd_reopen(int fd, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int own = open(path, flags | O_CLOEXEC);
	return own < 0 ? -errno : own;
}

bool fd_is_unix(int fd)
{
	int domain;
	socklen_t len = sizeof(domain);
	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

int fd_set_option(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* ---- many at once ---- */

#define UNKNOWN_MOST (1u << 20) /* fs.nr_open, as kernels have it unless they are told otherwise */

static void close_one(int fd, bool at_exec)
{
	if (at_exec)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	else
		close(fd);
}

/* As the kernel writes it: getdents64(2). */
struct entry {
	uint64_t inode;
	int64_t offset;
	unsigned short size;
	unsigned char type;
	char name[];
};

static unsigned parse_number(const char *text)
{
	unsigned number = 0;

	for (; *text >= '0' && *text <= '9'; text++)
		number = number * 10 + (unsigned)(*text - '0');
	return number;
}

/* False: there is no /proc. Entries go by number, so those that are closed meanwhile move no other. */
static bool close_listed(unsigned first, unsigned last, bool at_exec)
{
	_Alignas(struct entry) char entries[4096];
	int list = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long n;

	if (list < 0)
		return false;
	while ((n = syscall(SYS_getdents64, list, entries, sizeof(entries))) > 0) {
		for (long at = 0; at < n; at += ((struct entry *)(entries + at))->size) {
			const char *name = ((struct entry *)(entries + at))->name;
			unsigned fd = parse_number(name);
			if (name[0] != '.' && fd >= first && fd <= last && (int)fd != list)
				close_one((int)fd, at_exec);
		}
	}
	close(list);
	return true;
}

static void close_unlisted(unsigned first, unsigned last, bool at_exec)
{
	struct pollfd some[256];
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > UNKNOWN_MOST)
		limit.rlim_cur = UNKNOWN_MOST;
	if (last >= limit.rlim_cur)
		last = (unsigned)limit.rlim_cur - 1;
	for (unsigned next = first; next <= last;) {
		nfds_t n = 0;
		for (; n < sizeof(some) / sizeof(some[0]) && next <= last; next++)
			some[n++] = (struct pollfd){ .fd = (int)next };
		if (poll(some, n, 0) < 0)
			continue;
		for (nfds_t i = 0; i < n; i++)
			if (!(some[i].revents & POLLNVAL))
				close_one(some[i].fd, at_exec);
	}
}

void fd_close_range(unsigned first, unsigned last, bool at_exec)
{
	/* A call too many is refused in several ways: ENOSYS, EPERM, and EINVAL where the flag is not known yet. */
	if (syscall(SYS_close_range, first, last, at_exec ? CLOSE_RANGE_CLOEXEC : 0) == 0)
		return;
	if (!close_listed(first, last, at_exec))
		close_unlisted(first, last, at_exec);
}

int fd_open_null(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	return fd < 0 ? failure_set(-errno, "cannot open /dev/null, which every process needs") : fd;
}

/* ---- their number ---- */

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
