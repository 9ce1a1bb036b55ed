/* Reads regular files alone. A FIFO waits for its writer, a terminal for its user, and a device may do anything when it is opened:
 * so the path is looked at before it is opened, opened without waiting, and looked at again. Owns nothing. */
#include "file.h"
#include "fd.h"
#include <errno.h>
#include <fcntl.h>
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

/* Up to `most` bytes and one more, which tells that there are more. */
static int read_all(int fd, size_t most, char **ret_text, size_t *ret_len)
{
	size_t room = ROOM_FIRST, len = 0;
	char *text = malloc(room);
	ssize_t n = 1;

	while (text && n > 0) {
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
	int error = !text ? -ENOMEM : n < 0 ? -errno : len > most ? -EFBIG : n > 0 ? -ENOMEM : 0;
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
	int error = read_all(fd, most, ret_text, ret_len);
	fd_close(fd);
	return error;
}

const char *file_error(int error)
{
	switch (-error) {
	case EMEDIUMTYPE:
		return "it is not a regular file";
	case EAGAIN:
		return "somebody holds a lease on it";
	default:
		return strerrordesc_np(-error);
	}
}
