/* Makes a forked process one of its own: it lets go of what its parent had, in the order in which that works. Refuses nothing, and owns
 * nothing. */
#include "helper_process.h"
#include "failure.h"
#include "fd.h"
#include "ipc.h"
#include "process.h"
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

pid_t helper_process_fork(int *ret_channel)
{
	int ends[2];
	int error = ipc_pair(ends);

	if (error < 0)
		return error;
	pid_t pid = fork();
	if (pid >= 0) {
		fd_close(ends[pid > 0]);
		*ret_channel = ends[pid == 0];
		return pid;
	}
	error = failure_set(-errno, "cannot start a process: fork");
	fd_close(ends[0]);
	fd_close(ends[1]);
	return error;
}

static void signals_set(const struct helper_process *helper)
{
	sigset_t none;

	for (int i = 1; helper->ignored && i < NSIG; i++)
		signal(i, SIG_DFL);
	for (size_t i = 0; helper->ignored && i < helper->n_ignored; i++)
		signal(helper->ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int streams_close(int n)
{
	int null = n > 0 ? fd_open_null() : -1;

	if (n > 0 && null < 0)
		return null;
	for (int fd = 0; fd < n; fd++)
		if (dup2(null, fd) < 0)
			return failure_set(-errno, "cannot close its standard streams: dup2");
	return 0; /* what is above 2 is closed with all others */
}

int helper_process_begin(const struct helper_process *helper)
{
	if (helper->role)
		process_rename(helper->role);
	signals_set(helper);
	int r = streams_close(helper->n_null);
	if (r < 0)
		return r;
	process_keep_only(helper->keep, helper->n_keep);
	if (helper->drop_privileges)
		r = process_drop_privileges(helper->drop_identity, helper->uid, helper->gid);
	if (r < 0 || !helper->parent)
		return r;
	/* A change of identity would have cleared this. A parent that ended before this is not the parent any more. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return failure_set(-errno, "cannot end with its parent: prctl(PR_SET_PDEATHSIG)");
	if (getppid() != helper->parent)
		_exit(1);
	return 0;
}
