/* Reads regular files alone. A FIFO waits for its writer, a terminal for its user, and a device may do anything when it is opened:
 * so the path is looked at before it is opened, opened without waiting, and looked at again. Owns nothing. */
#include "file.h"
#include "fd.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define ROOM_FIRST 16384

/* 0 or -errno. The null device is an empty file, and always there. */
static int check_kind(const struct stat *status)
{
	if (S_ISREG(status->st_mode) || (S_ISCHR(status->st_mode) && status->st_rdev == makedev(1, 3)))
		return 0;
	return S_ISDIR(status->st_mode) ? -EISDIR : -EMEDIUMTYPE;
}

int file_open(const char *path)
{
	struct stat status;

	int error = stat(path, &status) < 0 ? -errno : check_kind(&status);
	if (error < 0)
		return error;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	error = fstat(fd, &status) < 0 ? -errno : check_kind(&status);
	if (error == 0)
		return fd;
	fd_close(fd);
	return error;
}

/* ---- appending ---- */

#define LINKS_MAX 8

/* By name: without /proc there is no link that would say it. */
static int descriptor_named(const char *path)
{
	static const char *const streams[] = { "/dev/stdin", "/dev/stdout", "/dev/stderr" };
	static const char *const folders[] = { "/dev/fd/", "/proc/self/fd/" };

	for (int i = 0; i < 3; i++)
		if (strcmp(path, streams[i]) == 0)
			return i;
	for (size_t i = 0; i < 2; i++) {
		const char *number = path + strlen(folders[i]);
		if (strncmp(path, folders[i], strlen(folders[i])) == 0 && *number &&
			strspn(number, "0123456789") == strlen(number) && strlen(number) < 8)
			return atoi(number);
	}
	return -1;
}

/* One link further: 0, -errno, or -ENOLINK: it is none. What it says is read from the link itself, which stays what it was looked at
 * as, whatever takes its place. */
static int follow(char path[PATH_MAX])
{
	char target[PATH_MAX];
	struct stat status;
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	int error = fstat(fd, &status) < 0                         ? -errno
		: !S_ISLNK(status.st_mode)                         ? -ENOLINK
		: status.st_uid != 0 && status.st_uid != geteuid() ? -ELOOP
								   : 0;
	ssize_t len = error == 0 ? readlinkat(fd, "", target, sizeof(target) - 1) : 0;
	if (len < 0)
		error = -errno;
	fd_close(fd);
	if (error < 0)
		return error;
	target[len] = '\0';
	char *name = target[0] == '/' ? path : strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	if ((size_t)snprintf(name, PATH_MAX - (size_t)(name - path), "%s", target) >=
		PATH_MAX - (size_t)(name - path))
		return -ENAMETOOLONG;
	return 0;
}

int file_follow(const char *path, char ret[PATH_MAX])
{
	int error = (size_t)snprintf(ret, PATH_MAX, "%s", path) >= PATH_MAX ? -ENAMETOOLONG : 0;

	for (int i = 0; error == 0; i++) {
		if (descriptor_named(ret) >= 0)
			return 0;
		error = i < LINKS_MAX ? follow(ret) : -ELOOP;
	}
	return error == -ENOLINK ? 0 : error;
}

int file_descriptor(const char *path)
{
	char place[PATH_MAX];

	return file_follow(path, place) == 0 ? descriptor_named(place) : -1;
}

int file_append(const char *path, mode_t mode)
{
	char place[PATH_MAX];
	int error = file_follow(path, place);

	if (error < 0 && error != -ENOENT)
		return error;
	int number = descriptor_named(place);
	int fd = number >= 0
		? fcntl(number, F_DUPFD_CLOEXEC, 3)
		: open(place, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	struct stat status;
	error = number >= 0                                      ? 0
		: fstat(fd, &status) < 0                         ? -errno
		: S_ISREG(status.st_mode) && status.st_nlink > 1 ? -EMLINK
								 : 0;
	if (error == 0)
		return fd;
	fd_close(fd);
	return error;
}

/* ---- reading ---- */

/* Up to `most` bytes and one more, which tells that there are more. */
int file_read_rest(int fd, size_t most, char **ret_text, size_t *ret_len)
{
	size_t room = ROOM_FIRST, len = 0;
	char *text = malloc(room);
	ssize_t n = 1;

	if (!text)
		return -ENOMEM;
	while (n > 0) {
		if (len + 1 == room) {
			char *grown = realloc(text, room *= 2);
			if (!grown)
				break;
			text = grown;
		}
		n = read(fd, text + len, room - 1 - len);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			len += (size_t)n;
		if (len > most)
			break;
	}
	int error = n < 0 ? -errno : len > most ? -EFBIG : n > 0 ? -ENOMEM : 0;
	if (error < 0) {
		free(text);
		return error;
	}
	text[len] = '\0';
	*ret_text = text;
	*ret_len = len;
	return 0;
}

int file_read(const char *path, size_t most, char **ret_text, size_t *ret_len)
{
	int fd = file_open(path);

	if (fd < 0)
		return fd;
	int error = file_read_rest(fd, most, ret_text, ret_len);
	fd_close(fd);
	return error;
}

const char *file_error(int error)
{
	switch (-error) {
	case EMEDIUMTYPE:
		return "it is not a regular file";
	case EAGAIN:
		return "another process holds a lease on it";
	default:
		return strerrordesc_np(-error);
	}
}
