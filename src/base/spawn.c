/* Runs a program. Between vfork and exec the child lives in the caller's memory: it makes system calls only, straight to
 * the kernel where the C library would do more (its setuid() talks to threads), and tells what failed through one word. */
#include "spawn.h"
#include "executable.h"
#include "fd.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* 0, 1 and 2 are filled from descriptors that may themselves be 0, 1 or 2: first all out of the way, then into place. */
static int child_place_stdio(const struct spawn *spawn)
{
	const int given[3] = { spawn->in, spawn->out, spawn->err };
	int high[3];
	for (int i = 0; i < 3; i++) {
		int fd = given[i] >= 0 ? given[i] : open("/dev/null", O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return -1;
		high[i] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (high[i] < 0)
			return -1;
	}
	for (int i = 0; i < 3; i++)
		if (dup2(high[i], i) < 0)
			return -1;
	/* Everything of ours is close-on-exec; this is for what we inherited and do not know of. */
	fd_close_range(3, ~0U, true);
	return 0;
}

static int child_take_identity(const struct spawn *spawn)
{
	/* They would stay over exec, of whatever program: the master was given them, not what it runs. */
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return -1;
	if (!spawn->own_identity)
		return 0;
	if (syscall(SYS_setgroups, spawn->n_groups, spawn->groups) < 0)
		return -1;
	if (syscall(SYS_setresgid, spawn->gid, spawn->gid, spawn->gid) < 0)
		return -1;
	return (int)syscall(SYS_setresuid, spawn->uid, spawn->uid, spawn->uid);
}

/* As the kernel has it. */
struct disposition {
	void *handler;
	unsigned long flags;
	void *restorer;
	uint64_t mask;
};

/* What we ignore, one bit a signal: exec() resets the others by itself. Asked once, when the first program is run: by then a
 * process ignores what it ever will, and asking takes as many calls as there are signals. Straight to the kernel: the C
 * library will not touch the two signals that it uses itself, and whoever started us may have had it ignore them in us
 * (posix_spawn() does). */
static uint64_t signals_ignored(void)
{
	static bool known;
	static uint64_t ignored;
	struct disposition now;

	for (int i = 1; i < NSIG && !known; i++)
		if (syscall(SYS_rt_sigaction, i, NULL, &now, sizeof(now.mask)) == 0 && now.handler == (void *)SIG_IGN)
			ignored |= UINT64_C(1) << (i - 1);
	known = true;
	return ignored;
}

static void child_reset_signals(void)
{
	const struct disposition standard = { 0 };
	uint64_t ignored = signals_ignored();

	for (int i = 1; i < NSIG; i++)
		if (ignored & UINT64_C(1) << (i - 1))
			syscall(SYS_rt_sigaction, i, &standard, NULL, sizeof(standard.mask));
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int child_greet(const struct spawn *spawn)
{
	if (!spawn->greeting)
		return 0;
	if (executable_check(spawn->argv[0]) < 0)
		return -1;
	/* A client that does not take it any more will be noticed by the program. */
	(void)send(1, spawn->greeting, strlen(spawn->greeting), MSG_DONTWAIT | MSG_NOSIGNAL);
	*spawn->ret_greeted = true;
	return 0;
}

/* Who owns the file may have the kernel hold up whoever opens it, to execute it too, and with it the process that waits for us: a lease is
 * not waited for. What cannot be read cannot be looked at. */
static int child_look(const char *path)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return errno == EAGAIN ? -1 : 0;
	close(fd);
	return 0;
}

static void __attribute__((noreturn)) child_run(const struct spawn *spawn, volatile int *ret_error)
{
	child_reset_signals();
	fd_restore_limit();
	if (setsid() >= 0 && child_place_stdio(spawn) == 0 && (!spawn->terminal || ioctl(0, TIOCSCTTY, 0) == 0) &&
		child_take_identity(spawn) == 0 && (!spawn->directory || chdir(spawn->directory) == 0) &&
		child_look(spawn->argv[0]) == 0 && child_greet(spawn) == 0)
		execve(spawn->argv[0], spawn->argv, spawn->env);
	*ret_error = -errno;
	_exit(127);
}

int spawn_program(const struct spawn *spawn, pid_t *ret_pid)
{
	volatile int error = 0;
	sigset_t all, before;

	signals_ignored(); /* the child only looks at the answer */
	/* No handler of the parent may run on the shared stack. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	/* What fork() costs grows with the caller's memory. The child writes to nothing but `error`, and calls what is safe in a
	 * signal handler. NOLINTNEXTLINE(clang-analyzer-security.insecureAPI.vfork) */
	pid_t pid = vfork();
	if (pid == 0) {
		/* It executes or exits, and never returns. NOLINTNEXTLINE(clang-analyzer-unix.Vfork) */
		child_run(spawn, &error);
	}
	if (pid < 0)
		error = -errno;
	sigprocmask(SIG_SETMASK, &before, NULL);

	if (pid > 0 && error == 0)
		*ret_pid = pid;
	return error;
}
