/* Preloaded into usher (LD_PRELOAD), says so on standard error when a process signals one that is not a child of its own, ended and not
 * waited for at the most: the number of one that was waited for may be a stranger's. Signal 0, which only asks, is let through. */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static void complain(void)
{
	static const char text[] = "a signal to a stranger\n";
	ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);
	(void)n;
}

int kill(pid_t pid, int number)
{
	siginfo_t info;
	int (*next)(pid_t, int) = (int (*)(pid_t, int))dlsym(RTLD_NEXT, "kill");

	if (number != 0 && pid != getpid() && waitid(P_PID, (id_t)abs(pid), &info, WEXITED | WNOHANG | WNOWAIT) < 0 &&
		errno == ECHILD)
		complain();
	return next(pid, number);
}
