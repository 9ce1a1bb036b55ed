/* Writes, checks and removes a pid file. It never sends a signal to the pid that it finds, and keeps nothing
 * open.
 *
 * The directory may be one that others can write, so any name in it may at any moment be anything:
 *  - what we write goes into a file that mkostemp() made for us (O_EXCL, unpredictable name), then takes its
 * place by rename, which neither follows nor opens nor changes what stood there, be it a symbolic or a hard
 * link to a file of root's. Nobody ever sees the file half written either.
 *  - what we read is opened with O_NOFOLLOW and O_NONBLOCK, must be a regular file, and is only ever asked
 * one question: does this pid run? The worst that a planted file can do is to make us refuse to start.
 *  - what we remove is a directory entry, which whoever could plant another one there could remove as well.
 */
#include "pidfile.h"
#include "fd.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define ATTEMPTS 8 /* against someone who keeps making and removing the file */

/* The whole text must be a pid and a line end: "12x", "-1" and an empty file hold none. 0 for that. */
static long parse_pid(const char *text, size_t len)
{
	long pid = 0;

	if (len > 0 && text[len - 1] == '\n')
		len--;
	if (len == 0)
		return 0;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9' || pid > INT_MAX / 10 - 1)
			return 0;
		pid = pid * 10 + (text[i] - '0');
	}
	return pid;
}

/* 0 and the pid that the file holds (0: rubbish), or -errno: -ELOOP for a symbolic link, -EINVAL for no
 * regular file. */
static int read_pid(const char *path, long *ret_pid)
{
	char text[32];
	struct stat status;
	int r = 0;

	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENXIO ? -EINVAL : -errno; /* ENXIO: a socket */
	if (fstat(fd, &status) < 0) {
		r = -errno;
		goto out;
	}
	if (!S_ISREG(status.st_mode)) {
		r = -EINVAL;
		goto out;
	}
	ssize_t len = read(fd, text, sizeof(text));
	if (len < 0) {
		r = -errno;
		goto out;
	}
	*ret_pid = (size_t)len < sizeof(text) ? parse_pid(text, (size_t)len) : 0;
out:
	fd_close(fd);
	return r;
}

/* The number may have gone to another program since: then its name, where it can be read, is not ours. */
static bool is_another_program(long pid)
{
	char path[64], name[32] = "", own[32] = "";

	snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, name, sizeof(name) - 1) : -1;
	fd_close(fd);
	name[strcspn(name, "\n")] = '\0';
	prctl(PR_GET_NAME, own);
	return len > 0 && strcmp(name, own) != 0;
}

static bool is_running(long pid)
{
	/* Our own pid in a file that we did not write is left over from a life before this one: in a
	 * container every first process is 1. EPERM is a process that runs as somebody else. */
	return pid > 0 && pid != getpid() && (kill((pid_t)pid, 0) == 0 || errno != ESRCH) && !is_another_program(pid);
}

static int write_temporary(char *path)
{
	char text[32];
	int r = 0;

	int fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	ssize_t written = write(fd, text, (size_t)len);
	if (written != len)
		r = written < 0 ? -errno : -ENOSPC;
	else if (fchmod(fd, 0644) < 0)
		r = -errno;
	fd_close(fd);
	if (r < 0)
		unlink(path);
	return r;
}

/* Gives the temporary file its name. Two that start at the same moment over the same stale file may both get
 * here; the last one's pid stays, and the ports that both want decide who lives. */
static int put_in_place(const char *temporary, const char *path, long *ret_pid)
{
	for (int i = 0; i < ATTEMPTS; i++) {
		/* musl has no function for it. */
		if (syscall(SYS_renameat2, AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST)
			return -errno;
		long pid = 0;
		int r = read_pid(path, &pid);
		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		if (is_running(pid)) {
			*ret_pid = pid;
			return -EEXIST;
		}
		return rename(temporary, path) < 0 ? -errno : 0;
	}
	return -EAGAIN;
}

int pidfile_write(const char *path, long *ret_pid)
{
	char temporary[PATH_MAX];

	int len = snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path);
	if (len < 0 || (size_t)len >= sizeof(temporary))
		return -ENAMETOOLONG;
	int r = write_temporary(temporary);
	if (r < 0)
		return r;
	r = put_in_place(temporary, path, ret_pid);
	if (r < 0)
		unlink(temporary);
	return r;
}

void pidfile_remove(const char *path)
{
	long pid = 0;

	if (path && read_pid(path, &pid) == 0 && pid == getpid())
		unlink(path);
}
