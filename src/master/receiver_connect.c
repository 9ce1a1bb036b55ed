/* Connects to a receiver by the rights of the master. Refuses to follow a link. The channel is the caller's. */
#include "receiver_connect.h"
#include "fd.h"
#include "handover_channel.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int receiver_connect(const struct address *receiver)
{
	struct address place = { .len = sizeof(place.un), .un.sun_family = AF_UNIX };
	char path[sizeof(receiver->un.sun_path) + 1] = "";
	struct stat st;

	memcpy(path, receiver->un.sun_path, sizeof(receiver->un.sun_path));
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int error = fstat(fd, &st) < 0 ? -errno : S_ISSOCK(st.st_mode) ? 0 : -EACCES;
	if (error == 0) {
		snprintf(place.un.sun_path, sizeof(place.un.sun_path), "/proc/self/fd/%d", fd);
		error = channel_connect(&place);
	}
	fd_close(fd);
	return error;
}
