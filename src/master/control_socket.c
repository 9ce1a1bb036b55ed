/* Makes the control socket, and tells who its clients are (SO_PEERCRED, SO_PEERGROUPS). Owns nothing. */
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

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* of most architectures; unknown elsewhere, which is not an error here */
#endif

/* In the folder that is made for it where there is none, as /run is emptied when the machine starts. */
static void folder_make(const char *path)
{
	char folder[sizeof(((struct sockaddr_un *)0)->sun_path)];
	const char *slash = strrchr(path, '/');

	snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
	if (slash > path)
		mkdir(folder, 0755);
}

static const gid_t *group_of(const struct policy *policy)
{
	return policy->control_group ? &policy->control_gid : NULL;
}

int control_socket_admit(const struct policy *policy, const struct socket_file *file)
{
	return socket_file_admit(policy->control, file, policy->control_mode, group_of(policy));
}

int control_socket_open(const struct policy *policy, struct socket_file *ret)
{
	folder_make(policy->control);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* Where the kernel knows it (6.16), nobody can send us descriptors at all: those that are queued when a socket is closed are
	 * closed with it, in our time. Accepted sockets inherit it. */
	fd_set_option(fd, SOL_SOCKET, SO_PASSRIGHTS, 0);
	int error = socket_file_bind(fd, policy->control, policy->control_mode, group_of(policy), ret);
	if (error == 0 && listen(fd, CONTROL_CLIENTS) < 0) {
		error = -errno;
		socket_file_remove(policy->control, ret);
	}
	if (error == 0)
		return fd;
	fd_close(fd);
	return error;
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
