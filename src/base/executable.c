/* Finds and looks at programs. Makes system calls only, so that the child of a vfork may check too. Owns nothing. */
#include "executable.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FOLDERS_PRESET "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Some filters of system calls answer EPERM where an older kernel answers ENOSYS; the kernel itself never does here. Then the real
 * identity decides, which in a program's child is the effective one. */
static int executable_permitted(const char *path)
{
	if (syscall(SYS_faccessat2, AT_FDCWD, path, X_OK, AT_EACCESS) == 0)
		return 0;
	if (errno != ENOSYS && errno != EPERM)
		return -errno;
	return access(path, X_OK) < 0 ? -errno : 0;
}

int executable_check(const char *path)
{
	struct stat status;

	if (stat(path, &status) < 0)
		return -errno;
	if (S_ISDIR(status.st_mode))
		return -EISDIR;
	return S_ISREG(status.st_mode) && executable_permitted(path) == 0 ? 0 : -EACCES;
}

int executable_find(const char *name, char *ret_path, size_t size)
{
	const char *folders = getenv("PATH");
	int error = -ENOENT;

	if (strchr(name, '/'))
		return (size_t)snprintf(ret_path, size, "%s", name) < size ? executable_check(name) : -ENAMETOOLONG;
	if (!folders || !*folders)
		folders = FOLDERS_PRESET;
	for (const char *at = folders; *name && *at; at += strcspn(at, ":"), at += *at == ':') {
		if (*at != '/')
			continue;
		if ((size_t)snprintf(ret_path, size, "%.*s/%s", (int)strcspn(at, ":"), at, name) >= size)
			return -ENAMETOOLONG;
		int r = executable_check(ret_path);
		if (r == 0)
			return 0;
		if (r == -EACCES)
			error = r;
	}
	return error;
}
