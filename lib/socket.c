/* A listening UNIX socket at a path, in place of one that a dead process left there.
 *
 * Never removes what is not a socket, nor a socket that somebody listens on. Whoever looks at or changes the
 * path holds a lock on its directory meanwhile (flock: it leaves no file behind), or two that start at once
 * could each take the other's new socket for a stale one. Owns the two descriptors in struct path_socket.
 *
 * usher's own files (src/base/socket_file.c) follow other rules: the master waits for no lock, starts once, and gives its files a mode and a
 * group in folders of other users. A server knows its folder and may be started again before its predecessor ends. */
#include "socket.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LOCK_TRIES      100
#define LOCK_PAUSE_NSEC (10 * 1000 * 1000)

/* Bounded: in a directory open to all, any process may hold this lock for as long as it likes. */
static int directory_lock(int directory)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NSEC };

	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(directory, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		(void)nanosleep(&pause, NULL);
	}
	return -EBUSY;
}

/* Opens the directory of `path` and copies the last component to `name`. */
static int directory_open(const char *path, char *name, size_t size)
{
	const char *slash = strrchr(path, '/');
	char directory[sizeof(((struct sockaddr_un *)NULL)->sun_path)] = ".";
	const char *last = slash ? slash + 1 : path;

	if (strlen(path) >= sizeof(directory))
		return -ENAMETOOLONG;
	if (!*last || strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
		return -EINVAL;
	if (slash) {
		size_t len = slash == path ? 1 : (size_t)(slash - path);

		memcpy(directory, path, len);
		directory[len] = '\0';
	}
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	snprintf(name, size, "%s", last);
	return fd;
}

/* 0: nothing is at the path now. */
static int stale_remove(int directory, const char *name, const struct sockaddr_un *address)
{
	struct stat st;

	if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int error = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? errno : 0;
	close(fd);
	if (error == 0 || error == EAGAIN || error == EPROTOTYPE)
		return -EADDRINUSE;
	if (error != ECONNREFUSED)
		return -error; /* EACCES: cannot be told from here, so it stays */
	return unlinkat(directory, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* The lock is held. */
static int socket_bind(struct path_socket *s, const char *path, int type, mode_t mode)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	int error = stale_remove(s->directory, s->name, &address);
	if (error < 0)
		return error;
	s->fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return -errno;
	/* bind() creates the file with the socket's own mode, less the umask: at no moment more open than
	 * asked for. */
	if (fchmod(s->fd, mode) < 0 || bind(s->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	if (fchmodat(s->directory, s->name, mode, 0) < 0 || (type == SOCK_STREAM && listen(s->fd, SOMAXCONN) < 0) ||
		fstatat(s->directory, s->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		error = -errno;
		(void)unlinkat(s->directory, s->name, 0);
		return error;
	}
	s->device = st.st_dev;
	s->inode = st.st_ino;
	return 0;
}

int path_socket_listen(struct path_socket *ret, const char *path, int type, mode_t mode)
{
	struct path_socket s = { .fd = -1 };

	s.directory = directory_open(path, s.name, sizeof(s.name));
	if (s.directory < 0)
		return s.directory;
	int error = directory_lock(s.directory);
	if (error < 0)
		goto out;
	error = socket_bind(&s, path, type, mode & 0777);
	if (error < 0)
		goto out;
	(void)flock(s.directory, LOCK_UN);
	*ret = s;
	return 0;
out:
	if (s.fd >= 0)
		close(s.fd);
	close(s.directory); /* and with it the lock */
	return error;
}

void path_socket_close(struct path_socket *s)
{
	struct stat st;

	/* Without the lock it stays: a stale socket does less harm than one taken from its new owner. */
	if (directory_lock(s->directory) == 0 && fstatat(s->directory, s->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		st.st_dev == s->device && st.st_ino == s->inode)
		(void)unlinkat(s->directory, s->name, 0);
	close(s->fd);
	close(s->directory);
}
