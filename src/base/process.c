/* What a process does to itself. Owns the copy of the environment that process_keep_title() makes room with, for the
 * life of the process. */
#include "process.h"
#include "failure.h"
#include "fd.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
	char *start;
	size_t size;
	char *copies;
} title;

static char **own_argv;
static const char *other_name; /* NULL: usher's own */

/* Absolute, because a daemon changes its folder; not /proc/self/exe where it can be helped, for that is the file of old even when
 * another has taken its place. */
static char *program_path(const char *name)
{
	char folder[PATH_MAX], path[2 * PATH_MAX];

	if (name[0] == '/')
		return strdup(name);
	if (strchr(name, '/') && getcwd(folder, sizeof(folder))) {
		snprintf(path, sizeof(path), "%s/%s", folder, name);
		return strdup(path);
	}
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	return n > 0 ? strndup(path, (size_t)n) : strdup(name);
}

static void keep_argv(int argc, char **argv)
{
	own_argv = calloc((size_t)argc + 1, sizeof(*own_argv));
	if (!own_argv)
		return;
	memcpy(own_argv, argv, (size_t)argc * sizeof(*own_argv));
	char *path = program_path(argv[0]);
	if (path)
		own_argv[0] = path;
}

char **process_argv(void)
{
	return own_argv;
}

/* argv and the environment lie in one block, argv first. The strings are copied elsewhere, so that the block can be
 * overwritten from its start. */
void process_keep_title(int argc, char **argv)
{
	char *end = argv[argc - 1] + strlen(argv[argc - 1]) + 1;
	char *start = argv[0];
	size_t size = 0;

	for (int i = 0; environ[i]; i++) {
		if (environ[i] == end)
			end += strlen(environ[i]) + 1;
		size += strlen(environ[i]) + 1;
	}
	for (int i = 0; i < argc; i++)
		size += strlen(argv[i]) + 1;
	/* One block, held by `title`: unsetenv() drops pointers into it and nothing is lost. */
	char *to = title.copies = malloc(size + 1);
	if (!to)
		return;
	for (int i = 0; environ[i]; i++) {
		char *from = environ[i];
		environ[i] = to;
		to = stpcpy(to, from) + 1;
	}
	for (int i = 0; i < argc; i++) {
		char *from = argv[i];
		argv[i] = to;
		to = stpcpy(to, from) + 1;
	}
	keep_argv(argc, argv);
	title.start = start;
	title.size = (size_t)(end - start);
}

void process_go_by(const char *name)
{
	other_name = name;
}

const char *process_program_name(void)
{
	return other_name ? other_name : "usher";
}

void process_rename(const char *role)
{
	char name[64];
	int written = snprintf(name, sizeof(name), "%s: %s", process_program_name(), role);
	size_t len = strnlen(name, (size_t)written);

	prctl(PR_SET_NAME, other_name ? other_name : name);
	if (!title.size)
		return;
	if (len >= title.size)
		len = title.size - 1;
	memcpy(title.start, name, len);
	memset(title.start + len, 0, title.size - len);
}

/* The starting process: its exit status is the news. */
static void __attribute__((noreturn)) daemon_wait(pid_t child, int ready_fd)
{
	char byte;
	ssize_t n;
	do
		n = read(ready_fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(0);
	int status = 0;
	waitpid(child, &status, 0);
	_exit(WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1);
}

int process_daemonize(int *ret_ready_fd)
{
	int ready[2];
	if (pipe2(ready, O_CLOEXEC) < 0)
		return -errno;
	pid_t child = fork();
	if (child < 0) {
		int error = -errno;
		fd_close(ready[0]);
		fd_close(ready[1]);
		return error;
	}
	if (child > 0) {
		close(ready[1]);
		daemon_wait(child, ready[0]);
	}
	close(ready[0]);
	if (setsid() < 0)
		return -errno;
	*ret_ready_fd = ready[1];
	return 0;
}

void process_fill_stdio(void)
{
	int fd;
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= 2);
	fd_close(fd);
}

void process_silence(void)
{
	int null = fd_open_null();
	if (null < 0)
		return;
	for (int fd = 0; fd <= 2; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
}

void process_ready(int ready_fd)
{
	if (ready_fd < 0)
		return;
	process_silence();
	ssize_t n = write(ready_fd, "", 1);
	(void)n; /* whoever started us may have gone: nobody to tell */
	close(ready_fd);
}

#define HELP_IDENTITY "needs CAP_SETUID and CAP_SETGID, or usher started as the user that it is to be"

static int become(uid_t uid, gid_t gid)
{
	const char *call = setgroups(0, NULL) < 0 ? "setgroups"
		: setresgid(gid, gid, gid) < 0    ? "setresgid"
		: setresuid(uid, uid, uid) < 0    ? "setresuid"
						  : NULL;

	return call ? failure_set(-errno, "uid %u cannot become uid %u and gid %u (" HELP_IDENTITY "): %s", geteuid(),
			      uid, gid, call)
		    : 0;
}

int process_drop_privileges(bool identity, uid_t uid, gid_t gid)
{
	int error = identity ? become(uid, gid) : 0;
	cap_t none = error == 0 ? cap_init() : NULL;

	if (error < 0)
		return error;
	if (!none)
		return -errno;
	if (cap_set_proc(none) < 0)
		error = failure_set(-errno, "uid %u cannot give up its capabilities: capset", geteuid());
	cap_free(none);
	if (error < 0)
		return error;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return failure_set(-errno, "cannot refuse new privileges: prctl(PR_SET_NO_NEW_PRIVS)");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return failure_set(-errno, "cannot hide its memory: prctl(PR_SET_DUMPABLE)");
	return 0;
}

pid_t process_ended(int *ret_status, bool wait)
{
	siginfo_t end = { .si_pid = 0 };

	if (waitid(P_ALL, 0, &end, WEXITED | WNOWAIT | (wait ? 0 : WNOHANG)) < 0 || end.si_pid == 0)
		return 0;
	*ret_status = end.si_code == CLD_EXITED ? (end.si_status & 0xff) << 8
		: end.si_code == CLD_DUMPED     ? end.si_status | 0x80
						: end.si_status;
	return end.si_pid;
}

void process_bury(pid_t pid)
{
	waitpid(pid, NULL, WNOHANG);
}

static int compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

void process_keep_only(int *fds, size_t n)
{
	int next = 3;

	qsort(fds, n, sizeof(*fds), compare_fds);
	for (size_t i = 0; i < n; i++) {
		if (fds[i] > next)
			fd_close_range((unsigned)next, (unsigned)fds[i] - 1, false);
		if (fds[i] >= next)
			next = fds[i] + 1;
	}
	fd_close_range((unsigned)next, ~0U, false);
}
