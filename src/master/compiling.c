/* A fork that reads and compiles, into memory that is then taken over where it is (base/region.h). So nothing that happens there
 * happens here: a file system or a name service that hangs, memory that runs out, in libraries too, a fault. What is left of the
 * configuration's text and of what libconfig makes of it goes with the process.
 *
 * Refuses to take a policy from a process that did not end well. Owns the process and the region until it is taken. */
#include "compiling.h"
#include "arena.h"
#include "failure.h"
#include "fd.h"
#include "helper_process.h"
#include "policy.h"
#include "process.h"
#include "region.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct line {
	enum complaint_kind kind;
	const char *text;
};

/* At the start of the region. */
struct result {
	int error;
	struct policy *policy;
	struct line *lines;
	size_t n_lines;
};

/* ---- in the process that compiles ---- */

/* Where memory runs out for all, this is who can be done without. */
static void offer_to_be_killed(void)
{
	static const char most[] = "1000";
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	ssize_t n = write(fd, most, sizeof(most) - 1);
	(void)n; /* where it cannot be said the kernel finds out by itself */
	close(fd);
}

struct keeper {
	struct arena *arena;
	struct result *result;
};

static void line_keep(void *context, const struct complaint *complaint, const char *line)
{
	struct keeper *keeper = context;
	struct line *kept = &keeper->result->lines[keeper->result->n_lines++];

	*kept = (struct line){ complaint->kind, arena_strdup(keeper->arena, line) };
}

static void __attribute__((noreturn))
child_run(struct region *region, const struct master_options *options, pid_t parent)
{
	struct complaints complaints = { 0 };

	/* Nobody else would take what it makes. A connection that the master closes is closed then, and a worker whose master is gone sees it. */
	int error = helper_process_begin(&(struct helper_process){
		.role = "compiler",
		.parent = parent,
		.keep = (int[]){ region_fd(region) },
		.n_keep = 1,
	});
	if (error < 0)
		_exit(1);
	offer_to_be_killed();
	struct result *result = region_grow(region, sizeof(*result));
	if (!result)
		_exit(1);
	struct keeper keeper = { arena_in(region), result };
	result->error = options->load(options->context, keeper.arena, &result->policy, &complaints);
	result->lines = arena_alloc(keeper.arena, complaints.count * sizeof(*result->lines));
	complaints_each(&complaints, line_keep, &keeper);
	/* What is on the heap goes with the process. */
	_exit(region_finish(region) < 0);
}

/* ---- in who wants to know ---- */

int compiling_start(struct compiling *compiling, const struct master_options *options)
{
	pid_t parent = getpid();
	struct region *region = region_new();

	if (!region)
		return -errno;
	fflush(NULL); /* or it is written twice */
	pid_t pid = fork();
	if (pid == 0)
		child_run(region, options, parent);
	if (pid < 0) {
		int error = failure_set(-errno, "cannot start the process that compiles the configuration: fork");
		region_free(region);
		return error;
	}
	*compiling = (struct compiling){ .pid = pid, .region = region, .since = time(NULL) };
	return 0;
}

bool compiling_reap(struct compiling *compiling, pid_t pid, int status)
{
	if (pid <= 0 || pid != compiling->pid)
		return false;
	compiling->pid = 0;
	compiling->status = status;
	return true;
}

void compiling_cancel(struct compiling *compiling)
{
	if (compiling->pid > 0)
		kill(compiling->pid, SIGKILL);
	region_free(compiling->region);
	*compiling = (struct compiling){ 0 };
}

/* An abort is what the libraries and ours do where there is no memory. */
static int fail_with_end(int status)
{
	char text[FAILURE_MAX];

	if (WIFSIGNALED(status))
		snprintf(text, sizeof(text),
			"the process that compiles the configuration was killed by signal %d (%s)%s",
			WTERMSIG(status), strsignal(WTERMSIG(status)),
			WTERMSIG(status) == SIGABRT ? ", as it is where memory runs out" : "");
	else
		snprintf(text, sizeof(text), "the process that compiles the configuration ended with status %d",
			WEXITSTATUS(status));
	return failure_take(-ECHILD, text);
}

static int result_take(
	const struct compiling *compiling, struct policy **ret, compiling_complaint_function *found, void *context)
{
	const struct result *result = region_start(compiling->region);

	for (size_t i = 0; i < result->n_lines; i++)
		found(context, result->lines[i].kind, result->lines[i].text);
	if (result->error < 0)
		return -EINVAL;
	*ret = policy_adopt(result->policy, region_share(compiling->region));
	return *ret ? 0 : failure_set(-ENOMEM, "the configuration");
}

int compiling_take(
	struct compiling *compiling, struct policy **ret, compiling_complaint_function *found, void *context)
{
	bool ended_well = WIFEXITED(compiling->status) && WEXITSTATUS(compiling->status) == 0;
	int error = ended_well ? region_take(compiling->region) : fail_with_end(compiling->status);

	if (error < 0 && ended_well)
		failure_set(error, "the compiled configuration cannot be taken over");
	if (error == 0)
		error = result_take(compiling, ret, found, context);
	region_free(compiling->region);
	*compiling = (struct compiling){ 0 };
	return error;
}

/* -1: they are not blocked, and do what they do. */
static int ends_watch(void)
{
	sigset_t ends, blocked;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_SETMASK, NULL, &blocked);
	return sigismember(&blocked, SIGTERM) ? signalfd(-1, &ends, SFD_CLOEXEC) : -1;
}

#define LOOK_MS 20 /* where the kernel has no descriptors of processes (before 5.3) */

static int child_wait(pid_t pid, int *ret_status)
{
	struct pollfd fds[] = {
		{ .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN },
		{ .fd = ends_watch(), .events = POLLIN },
	};
	bool ended, told = false;

	while (!(ended = waitpid(pid, ret_status, WNOHANG) != 0) && !told)
		if (poll(fds, 2, fds[0].fd < 0 ? LOOK_MS : -1) > 0)
			told = fds[1].revents;
	fd_close(fds[0].fd);
	fd_close(fds[1].fd);
	return ended ? 0 : -EINTR;
}

int compiling_wait(
	const struct master_options *options, struct policy **ret, compiling_complaint_function *found, void *context)
{
	struct compiling compiling = { 0 };

	int error = compiling_start(&compiling, options);
	if (error < 0)
		return error;
	error = child_wait(compiling.pid, &compiling.status);
	if (error < 0) {
		compiling_cancel(&compiling); /* and whoever reaps the caller's children reaps it */
		return error;
	}
	compiling.pid = 0;
	return compiling_take(&compiling, ret, found, context);
}
