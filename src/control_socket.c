/* Makes the control socket's file, and tells who its clients are (SO_PEERCRED, SO_PEERGROUPS). Refuses to take the place of
 * anything but a socket that nobody answers at, which is what a killed usher left. Owns nothing. */
#include "control_socket.h"
#include "control.h"
#include "fd.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define GROUPS_MAX 256

static bool is_served(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool served =
		fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN);

	fd_close(fd);
	return served;
}

/* In the folder that is made for it where there is none, as /run is emptied when the machine starts. */
static void folder_make(const char *path)
{
	char folder[sizeof(((struct sockaddr_un *)0)->sun_path)];
	const char *slash = strrchr(path, '/');

	snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
	if (slash > path)
		mkdir(folder, 0755);
}

int control_socket_admit(const struct policy *policy)
{
	if (policy->control_has_group && chown(policy->control, (uid_t)-1, policy->control_gid) < 0)
		return -errno;
	return chmod(policy->control, policy->control_mode) < 0 ? -errno : 0;
}

static int socket_bind(const struct policy *policy, const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error = 0;

	if (fd < 0)
		return -errno;
	mode_t before = umask(0177); /* nobody comes in between bind and chmod */
	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		error = -errno;
	umask(before);
	if (error == 0)
		error = control_socket_admit(policy);
	if (error == 0 && listen(fd, CONTROL_CLIENTS) < 0)
		error = -errno;
	if (error == 0)
		return fd;
	fd_close(fd);
	return error;
}

int control_socket_open(const struct policy *policy)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat there;

	folder_make(policy->control);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", policy->control);
	if (is_served(&address))
		return -EADDRINUSE;
	if (lstat(policy->control, &there) == 0 && (!S_ISSOCK(there.st_mode) || unlink(policy->control) < 0))
		return -EEXIST;
	return socket_bind(policy, &address);
}

bool control_socket_trusts(int fd, const gid_t *group)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	gid_t groups[GROUPS_MAX];
	socklen_t groups_len = sizeof(groups);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	if (peer.uid == 0 || peer.uid == geteuid())
		return true;
	if (!group)
		return false;
	if (peer.gid == *group)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &groups_len) < 0)
		return false;
	for (size_t i = 0; i < groups_len / sizeof(gid_t); i++)
		if (groups[i] == *group)
			return true;
	return false;
}
