/* Files of UNIX sockets in folders that others may write to. Mode and group are changed by a descriptor of the file (O_PATH), after
 * it was seen to be the socket that was bound: a link, or a file that was put in its place, is not touched. The folder's owner can still
 * give a socket of ours another name within his own folders.
 *
 * Never waits: a queue that is full answers as well as one that has room. Owns nothing. */
#include "socket_file.h"
#include "fd.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452 /* Linux 6.6 */
#endif

static struct socket_file identity(const struct stat *status)
{
	return (struct socket_file){ status->st_dev, status->st_ino };
}

static bool same(const struct socket_file *a, const struct socket_file *b)
{
	return a->inode && a->inode == b->inode && a->device == b->device;
}

static int address_make(struct sockaddr_un *address, const char *path)
{
	size_t len = strlen(path);

	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (len >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	memcpy(address->sun_path, path, len);
	return 0;
}

/* Nobody has the socket open any more. Of another kind than a stream it is somebody's in any case. */
static bool is_left_over(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool refused = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
		errno == ECONNREFUSED;

	fd_close(fd);
	return refused;
}

/* 0: nothing is in the way any more. */
static int make_way(const struct sockaddr_un *address)
{
	struct stat status;

	if (lstat(address->sun_path, &status) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(status.st_mode))
		return -EEXIST;
	if (status.st_uid != geteuid() || !is_left_over(address))
		return -EADDRINUSE;
	const struct socket_file seen = identity(&status);
	socket_file_remove(address->sun_path, &seen);
	return 0;
}

/* What was bound a moment ago: in a folder of another's it may be gone, or not be what is there. */
static int look(const char *path, struct socket_file *ret)
{
	struct stat status;

	if (lstat(path, &status) < 0)
		return -errno;
	if (!S_ISSOCK(status.st_mode) || status.st_uid != geteuid() || status.st_nlink != 1)
		return -EEXIST;
	*ret = identity(&status);
	return 0;
}

int socket_file_bind(int fd, const char *path, mode_t mode, const gid_t *group, struct socket_file *ret)
{
	struct sockaddr_un address;

	int error = address_make(&address, path);
	if (error == 0)
		error = make_way(&address);
	if (error < 0)
		return error;
	/* bind() makes the file: with the right mode from its birth, or for nobody else until it has its group. */
	mode_t before = umask(group ? 0177 : ~mode & 0777);
	error = bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	umask(before);
	if (error == 0)
		error = look(path, ret);
	if (error == 0 && group) {
		error = socket_file_admit(path, ret, mode, group);
		if (error < 0)
			socket_file_remove(path, ret);
	}
	return error;
}

/* The file that the path names, not opened, where it is the one that is meant. -errno: -ESTALE. */
static int hold(const char *path, const struct socket_file *file)
{
	struct stat status;
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? -ESTALE : -errno;
	int error = fstat(fd, &status) < 0 ? -errno : 0;
	const struct socket_file found = identity(&status);
	if (error == 0 && (!S_ISSOCK(status.st_mode) || !same(&found, file)))
		error = -ESTALE;
	if (error == 0)
		return fd;
	fd_close(fd);
	return error;
}

bool socket_file_stands(const char *path, const struct socket_file *file)
{
	int fd = hold(path, file);

	fd_close(fd);
	return fd >= 0;
}

/* Before Linux 6.6 by way of /proc. */
static int change_mode(int fd, mode_t mode)
{
	char path[32];

	if (syscall(SYS_fchmodat2, fd, "", mode, AT_EMPTY_PATH) == 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return chmod(path, mode) < 0 ? -errno : 0;
}

int socket_file_admit(const char *path, const struct socket_file *file, mode_t mode, const gid_t *group)
{
	int fd = hold(path, file);

	if (fd < 0)
		return fd;
	int error = group && fchownat(fd, "", (uid_t)-1, *group, AT_EMPTY_PATH) < 0 ? -errno : 0;
	if (error == 0)
		error = change_mode(fd, mode);
	fd_close(fd);
	return error;
}

void socket_file_remove(const char *path, const struct socket_file *file)
{
	if (socket_file_stands(path, file))
		unlink(path);
}
